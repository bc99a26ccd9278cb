"""Where the model is: a folder, RunPod's cached model, the Hugging Face cache, or downloaded into that.

Promises: what is found is a whole Voxtral in Mistral's format; a copy in a cache that is damaged is passed over, and
the log says so. Leaves out: the files in Hugging Face's format (the repositories hold the weights twice).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from voxtral_serverless.engine.checkpoint import Weights, read_weights
from voxtral_serverless.engine.download import Repository, cache_folder, download, expanded, folder_name, offline
from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

PINNED = {
    "mistralai/Voxtral-Mini-3B-2507": "3060fe34b35ba5d44202ce9ff3c097642914f8f3",
    "mistralai/Voxtral-Small-24B-2507": "da5b42409f279fdd92febee0511a6c32828569c1",
}
"""Commits that are known to work."""


def find_weights(settings: Settings) -> Weights:
    """The model that the settings name, downloaded where it is nowhere on this machine. Blocks.

    Raises:
        ModelUnavailable: it cannot be had, is damaged, or is no Voxtral in Mistral's format.
    """
    model = settings.voxtral_model
    if model.startswith(("/", "./", "../", "~")) or model in {".", ".."} or Path(model).is_dir():
        folder = expanded(model).absolute()
        return read_weights(folder, folder.name)
    wanted = _wanted(settings)
    found = _cached_by_runpod(wanted, settings.runpod_model_cache) or _cached(wanted)
    return found or read_weights(download(wanted), wanted.name)


def _wanted(settings: Settings) -> Repository:
    name, chosen = settings.voxtral_model, settings.voxtral_revision
    token = settings.hf_token.get_secret_value().strip() if settings.hf_token else None
    return Repository(name, chosen or PINNED.get(name, "main"), chosen is not None, token)


def _cached_by_runpod(wanted: Repository, root: Path) -> Weights | None:
    """RunPod's copy, at whichever commit it is, unless the operator chose one."""
    revision = wanted.revision if wanted.chosen else "main"
    return _whole(_snapshot(root, wanted.name, revision), wanted.name, "RunPod's cached model")


def _cached(wanted: Repository) -> Weights | None:
    """The copy in the Hugging Face cache; at another commit than the pinned one only where nothing can be downloaded."""
    cache, place = cache_folder(), "the copy in the Hugging Face cache"
    found = _whole(_snapshot(cache, wanted.name, wanted.revision), wanted.name, place)
    if found or wanted.chosen or not offline():
        return found
    return _whole(_snapshot(cache, wanted.name, "main"), wanted.name, f"{place}, not at the pinned commit,")


def _snapshot(cache: Path, name: str, revision: str) -> Path | None:
    """The folder of a repository's revision in a cache; a single snapshot is `main` without saying so."""
    repository = _repository(cache, name)
    try:
        commit = (repository / "refs" / revision).read_text().strip() or revision
    except (OSError, ValueError):
        commit = revision
    found = [folder for folder in (repository / "snapshots").glob("*") if folder.is_dir()]
    named = [folder for folder in found if folder.name == commit]
    if revision == "main" and not named and len(found) == 1:
        named = found
    return named[0] if named else None


def _repository(cache: Path, name: str) -> Path:
    """The folder of a repository in a cache. RunPod may write its name in lower case."""
    exact = cache / folder_name(name)
    with suppress(OSError):
        alike = (folder for folder in cache.iterdir() if folder.name.lower() == exact.name.lower())
        return exact if exact.exists() else next(alike, exact)
    return exact


def _whole(snapshot: Path | None, name: str, place: str) -> Weights | None:
    """What is in a snapshot; None where it is not whole. The log says which it is."""
    if snapshot is None:
        return None
    try:
        weights = read_weights(snapshot, name)
    except ModelUnavailable as error:
        log.warning("weights: %s is passed over: %s", place, error.message)
        return None
    log.info("weights: %s is used, %s at %s", place, name, snapshot.name)
    return weights
