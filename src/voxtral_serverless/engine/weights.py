"""Where the model is: a folder, RunPod's cached model, the Hugging Face cache, or downloaded into that.

Promises: what is found is a whole Voxtral in Mistral's format; a copy in a cache that is damaged is passed over, and
the log says so. Leaves out: the files in Hugging Face's format (the repositories hold the weights twice).
"""

from __future__ import annotations

from voxtral_serverless.engine.checkpoint import FILES, Weights, check_names, read_weights
from voxtral_serverless.hub.cache import find_copy, named_folder
from voxtral_serverless.hub.download import download
from voxtral_serverless.hub.repository import Family, Repository, hub_token
from voxtral_serverless.settings import Settings

PINNED = {
    "mistralai/Voxtral-Mini-3B-2507": "3060fe34b35ba5d44202ce9ff3c097642914f8f3",
    "mistralai/Voxtral-Small-24B-2507": "da5b42409f279fdd92febee0511a6c32828569c1",
}
"""Commits that are known to work."""
VOXTRAL = Family(
    log_name="weights",
    setting="VOXTRAL_MODEL",
    revision_setting="VOXTRAL_REVISION",
    ways="VOXTRAL_MODEL may also name a folder, or let RunPod cache the model (the endpoint's setting 'Model')",
)


def find_weights(settings: Settings) -> Weights:
    """The model that the settings name, downloaded where it is nowhere on this machine. Blocks.

    Raises:
        ModelUnavailable: it cannot be had, is damaged, or is no Voxtral in Mistral's format.
    """
    wanted = wanted_weights(settings)
    return weights_here(settings) or read_weights(download([wanted])[0], wanted.name)


def weights_here(settings: Settings) -> Weights | None:
    """The model as it is on this machine; None where it has to be downloaded.

    Raises:
        ModelUnavailable: it is a folder, and is damaged, or no Voxtral in Mistral's format.
    """
    if folder := named_folder(settings.voxtral_model):
        return read_weights(folder, folder.name)
    return find_copy(wanted_weights(settings), settings.runpod_model_cache, read_weights)


def wanted_weights(settings: Settings) -> Repository:
    """The repository that the settings name."""
    name, chosen = settings.voxtral_model, settings.voxtral_revision
    revision = chosen or PINNED.get(name, "main")
    return Repository(name, revision, chosen is not None, hub_token(settings), VOXTRAL, FILES, check_names)
