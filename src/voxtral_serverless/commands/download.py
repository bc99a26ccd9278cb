"""`voxtral-serverless download`: the models that the settings name, onto this machine before the first job needs them.

stdout has a line for each model, `what<TAB>name<TAB>folder`; what is here already is not fetched again. Leaves out what
RunPod's field *Model* caches, which RunPod itself brings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from voxtral_serverless.door import door

if TYPE_CHECKING:
    from voxtral_serverless.settings import Settings


def download() -> None:
    """Bring the models that the settings name onto this machine, and print where they are."""
    with door(logging.INFO):
        from voxtral_serverless.settings import load_settings

        for what, name, folder in _brought(load_settings()):
            typer.echo(f"{what}\t{name}\t{folder}")


def _brought(settings: Settings) -> Iterator[tuple[str, str, Path]]:
    """What each model is for, its name and its folder. Those with conditions to accept come first: they are small, and
    what the Hub refuses is known before gigabytes are fetched.
    """
    if _diarizes(settings):
        yield from _pipeline(settings)
    yield from _aligners(settings)
    if settings.engine != "embedded" and not settings.vllm_base_url:
        yield _weights(settings)


def _diarizes(settings: Settings) -> bool:
    if settings.diarizer == "auto":
        return settings.engine != "embedded"
    return settings.diarizer == "pyannote"


def _pipeline(settings: Settings) -> Iterator[tuple[str, str, Path]]:
    from voxtral_serverless.diarization.models import find_pipeline

    found = find_pipeline(settings)
    for role, entry in found.config["pipeline"]["params"].items():
        if isinstance(entry, dict) and "checkpoint" in entry:
            checkpoint = Path(entry["checkpoint"])
            yield f"diarization ({role})", found.name, checkpoint if checkpoint.is_dir() else checkpoint.parent


def _aligners(settings: Settings) -> Iterator[tuple[str, str, Path]]:
    from voxtral_serverless.transcription.aligner_models import find_aligners

    for language, aligner in find_aligners(settings).items():
        yield f"alignment ({language})", aligner.name, aligner.folder


def _weights(settings: Settings) -> tuple[str, str, Path]:
    from voxtral_serverless.engine.weights import find_weights

    weights = find_weights(settings)
    return "transcription", weights.name, weights.folder
