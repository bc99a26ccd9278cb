"""The parts that live in the process that holds torch: the real diarizer, and the aligner."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.diarization.models import PipelineFiles, find_pipeline
from voxtral_serverless.diarization.pyannote import STEPS, PyannoteDiarizer
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import current
from voxtral_serverless.torch_process import torch_process
from voxtral_serverless.transcription.aligner import CtcAligner
from voxtral_serverless.transcription.aligner_models import AlignerFiles, find_aligners

log = logging.getLogger(__name__)

ENVIRONMENT = ".venv-diarization"
"""Beside our own environment, the one that `make diarization` sets up."""
LOOK_S = 60.0
"""Longest time for a Python to say what it has."""


@dataclass(frozen=True)
class TorchParts:
    """What was asked for of the process; None what was not, or cannot be had.

    Attributes:
        needed: The settings ask for an aligner: without one there is no starting.
    """

    diarizer: PyannoteDiarizer | None = None
    aligner: CtcAligner | None = None
    needed: bool = False

    async def ready(self) -> None:
        """Wait until they can be asked.

        Raises:
            EngineUnavailable, ModelUnavailable: they never can.
        """
        part = self.diarizer or self.aligner
        if part is None:
            return
        try:
            with current().phase("torch_process"):
                device = await part.process.ready()
        except EngineUnavailable as error:
            if self.diarizer or self.needed or self.aligner is None:
                raise
            log.warning("the aligners that are here cannot be used: %s", error.message)
            self.aligner.models.clear()
            return
        log.info("the torch process is ready on %s", device)
        if device == "cpu" and self.diarizer:
            log.warning(
                "pyannote runs on the processor: a recording takes about a quarter of its length, over the cores."
            )


@dataclass(frozen=True)
class _Found:
    """A Python, and the models for it."""

    python: str
    pipeline: PipelineFiles | None
    aligners: dict[str, AlignerFiles]


@asynccontextmanager
async def running_torch_parts(settings: Settings, *, diarizes: bool, aligns: bool) -> AsyncIterator[TorchParts]:
    """The parts, beside the block: their models are there when it is entered, and still being loaded.

    Raises:
        EngineUnavailable: no Python has what they need.
        ModelUnavailable, InvalidConfiguration: their models cannot be had; told before their process is started.
    """
    with current().phase("torch_models"):
        found = await in_daemon_thread(partial(_found, settings, diarizes, aligns))
    if found is None:
        yield TorchParts()
        return
    models = {"diarization": found.pipeline and _to_load(found.pipeline, settings)}
    freeze_timeout_s = settings.diarization_freeze_timeout_s
    async with torch_process(found.python, lambda: models, freeze_timeout_s=freeze_timeout_s) as process:
        yield TorchParts(
            PyannoteDiarizer(process, found.pipeline.name) if found.pipeline else None,
            CtcAligner(process, found.aligners) if found.aligners else None,
            needed=_asked_for(settings),
        )


def _to_load(pipeline: PipelineFiles, settings: Settings) -> dict[str, Any]:
    return {"config": pipeline.config, "segmentation_step": STEPS[settings.diarization_speed]}


def _found(settings: Settings, diarizes: bool, aligns: bool) -> _Found | None:
    """What is to run, and with what; None where nothing is."""
    python = find_python(settings.diarization_python)
    if diarizes and python is None:
        wanted = f"{settings.diarization_python!r} (DIARIZATION_PYTHON)" if settings.diarization_python else "pyannote"
        raise EngineUnavailable(
            f"{wanted} is not found: install pyannote.audio 4 and set DIARIZATION_PYTHON to the Python that has it, or "
            "choose DIARIZER=embedded (the self-test one) or DIARIZER=none."
        )
    # Before the aligners, which are larger by far: what is refused, its conditions for one, is told at once.
    pipeline = find_pipeline(settings) if diarizes else None
    aligners = find_aligners(settings) if aligns else {}
    if aligners and not (python and _has(python, "transformers")):
        if _asked_for(settings):
            raise EngineUnavailable(
                "an aligner needs a Python with torch and transformers: set DIARIZATION_PYTHON to one that has them."
            )
        log.warning("aligners are here, and no Python with torch and transformers for them: they are not used.")
        aligners = {}
    if settings.transcription_plan == "windows" and aligns and not aligners:
        raise EngineUnavailable(
            "TRANSCRIPTION_PLAN=windows needs an aligner, and none is on this machine: name the languages whose aligner "
            "is to be downloaded, e.g. ALIGNMENT_LANGUAGES=fr,en, or a folder in ALIGNMENT_MODELS."
        )
    return _Found(python, pipeline, aligners) if python and (pipeline or aligners) else None


def _asked_for(settings: Settings) -> bool:
    """Whether the settings ask for an aligner, more than to use one that is here."""
    return bool(settings.alignment_languages) or settings.transcription_plan == "windows"


def find_python(chosen: str | None) -> str | None:
    """The Python that has pyannote: the one chosen, our own, or one in an environment beside ours; None without any."""
    if chosen:
        return shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
    if importlib.util.find_spec("pyannote") and importlib.util.find_spec("pyannote.audio"):
        return sys.executable
    return shutil.which("python", path=str(Path(sys.prefix).parent / ENVIRONMENT / "bin"))


def _has(python: str, library: str) -> bool:
    """Whether a Python finds a library."""
    look = f"import importlib.util as u, sys; sys.exit(u.find_spec({library!r}) is None)"
    try:
        return subprocess.run([python, "-c", look], timeout=LOOK_S, check=False, capture_output=True).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
