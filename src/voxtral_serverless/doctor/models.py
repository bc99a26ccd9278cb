"""Checks of the models: Voxtral's weights, pyannote and its networks, the aligners, and what the Hub says to downloads."""

from __future__ import annotations

from voxtral_serverless.doctor.findings import Finding, amount, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.hub.cache import named_folder, offline
from voxtral_serverless.interpreters import Python, ask_python
from voxtral_serverless.settings import Settings

PYANNOTE = ("pyannote.audio", "torch", "transformers")
TESTED_PYANNOTE = "4."


def weights_check(situation: Situation) -> Finding:
    """Where the Voxtral is, and that it is whole."""
    from voxtral_serverless.engine.weights import weights_here

    settings = situation.settings
    if not situation.own_engine:
        return skipped("no vLLM of ours runs here.")
    if weights := weights_here(settings):
        found = f"{weights.name} is whole, {amount(weights.bytes)}, in {_place(weights, settings)}."
        return ok(found).with_details(str(weights.folder))
    if offline():
        return problem(
            f"{settings.voxtral_model} is not here, and HF_HUB_OFFLINE is set.",
            "Unset it, or set VOXTRAL_MODEL to a folder.",
        )
    known = KNOWN.get(settings.voxtral_model)
    size = f" ({amount(known.bytes)})" if known else ""
    return warning(
        f"{settings.voxtral_model}{size} is not here: the first start downloads it.",
        "On RunPod choose it as the endpoint's cached model; else let HF_HOME lie on a volume that stays.",
    )


def _place(weights: Weights, settings: Settings) -> str:
    if named_folder(settings.voxtral_model):
        return "the folder of VOXTRAL_MODEL"
    cached = weights.folder.is_relative_to(settings.runpod_model_cache)
    return "RunPod's model cache" if cached else "the Hugging Face cache"


def pyannote_check(situation: Situation) -> Finding:
    """Whether there is a Python with pyannote."""
    from voxtral_serverless.torch_parts import find_python

    chosen = situation.settings.diarization_python
    if not situation.diarizes:
        return skipped("pyannote is not used.")
    python = find_python(chosen)
    if python is None:
        wanted = f"{chosen!r} (DIARIZATION_PYTHON)" if chosen else "a Python with pyannote"
        return problem(
            f"{wanted} is not found.",
            "Install pyannote.audio 4 and set DIARIZATION_PYTHON to the Python that has it, or choose DIARIZER=embedded (the "
            "self-test one) or DIARIZER=none.",
        )
    answer = ask_python(python, PYANNOTE)
    if answer is None:
        return problem(
            "the Python for pyannote does not answer.", "Try it: set DIARIZATION_PYTHON to one that works."
        ).with_details(python)
    return pyannote_finding(answer, gpu=bool(situation.gpus)).with_details(python)


def pyannote_finding(python: Python, *, gpu: bool) -> Finding:
    """What the libraries of pyannote's Python mean, on a machine with or without a GPU. Pure."""
    pyannote, torch, transformers = (python.versions.get(name) for name in PYANNOTE)
    if pyannote is None or torch is None:
        missing = "pyannote.audio" if pyannote is None else "torch"
        return problem(
            f"the Python for pyannote has no {missing}.", "In its environment: pip install 'pyannote.audio>=4,<5'."
        )
    found = f"pyannote.audio {pyannote}, torch {torch}, " + (
        f"transformers {transformers}" if transformers else "no transformers"
    )
    if not pyannote.startswith(TESTED_PYANNOTE):
        return problem(f"{found}: another pyannote than 4.", "In its environment: pip install 'pyannote.audio>=4,<5'.")
    if gpu and python.cuda is None:
        return warning(f"{found}: it does not use the GPU.", "Install torch's build for CUDA there.")
    return ok(f"{found}.")


def pipeline_check(situation: Situation) -> Finding:
    """Where pyannote's models are."""
    from voxtral_serverless.diarization.models import missing_repositories

    name = situation.settings.diarization_model
    if not situation.diarizes:
        return skipped("pyannote is not used.")
    missing = missing_repositories(situation.settings)
    if not missing:
        shown = folder.name if (folder := named_folder(name)) else name
        return ok(f"{shown} is whole on this machine.")
    names = ", ".join(each.name for each in missing)
    if offline():
        return problem(
            f"{names} are not here, and HF_HUB_OFFLINE is set.", "Unset it, or set DIARIZATION_MODEL to a folder."
        )
    return warning(
        f"{names} {'is' if len(missing) == 1 else 'are'} not here: the first start downloads them.",
        "See the line `Hugging Face`.",
    )


def aligners_check(situation: Situation) -> Finding:
    """Which languages have an aligner, and whether something can run it."""
    from voxtral_serverless.torch_parts import find_python
    from voxtral_serverless.transcription.aligner_models import aligners_here

    settings = situation.settings
    if not situation.served:
        return skipped("the embedded engine tells the times of words itself.")
    found, missing = aligners_here(settings)
    if not found and not missing:
        return _without_aligner(settings)
    python = find_python(settings.diarization_python)
    answer = ask_python(python, PYANNOTE) if python else None
    if not (answer and answer.versions["torch"] and answer.versions["transformers"]):
        what = "aligners are wanted" if missing or settings.alignment_languages else "aligners are here"
        told = problem if missing or settings.alignment_languages else warning
        return told(
            f"{what}, and no Python with torch and transformers.", "Set DIARIZATION_PYTHON to one that has them."
        )
    if missing:
        names = ", ".join(each.name for each in missing.values())
        return warning(
            f"{names} {'is' if len(missing) == 1 else 'are'} not here: the first start downloads them.",
            "See the line `Hugging Face`.",
        )
    return ok(f"words are aligned in {', '.join(found)}.").with_details(*(f"{each.name}" for each in found.values()))


def _without_aligner(settings: Settings) -> Finding:
    if settings.transcription_plan == "windows":
        return problem(
            "TRANSCRIPTION_PLAN=windows needs an aligner, and none is here.", "Set ALIGNMENT_LANGUAGES, e.g. fr,en."
        )
    return skipped("none is here or asked for (ALIGNMENT_LANGUAGES): each turn is transcribed by itself.")


def hub_check(situation: Situation) -> Finding:
    """Whether the Hub gives us what has to be downloaded."""
    token = "set" if situation.settings.hf_token else "not set"
    downloads = situation.downloads()
    if not downloads.repositories:
        return ok(f"nothing has to be downloaded; HF_TOKEN is {token}.")
    if situation.offline:
        return skipped(f"not asked (--offline); to be downloaded are {downloads.names}; HF_TOKEN is {token}.")
    if downloads.refusals:
        return problem(" ".join(downloads.refusals)).with_details(f"HF_TOKEN is {token}.")
    return ok(f"the Hub gives us {downloads.names}: {amount(downloads.bytes or 0)}; HF_TOKEN is {token}.")
