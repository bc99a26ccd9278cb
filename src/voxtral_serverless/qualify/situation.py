"""On what, and of what, an examination is: the machine, the libraries, the models at their revisions.

Nothing here is measured. Leaves out: which of it a report tells (`examination`).
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import JsonValue

from voxtral_serverless import __version__
from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.doctor.gpus import driver_version
from voxtral_serverless.engine.machine import SILENT, UNTOLD, Gpu, find_vllm, seen_gpus, why_no_gpu
from voxtral_serverless.engine.running import used_gpus
from voxtral_serverless.hub.cache import commit_of
from voxtral_serverless.interpreters import Python, ask_python, python_of
from voxtral_serverless.qualify.references import DataSet
from voxtral_serverless.services import wants_pyannote, wants_vllm
from voxtral_serverless.settings import Settings
from voxtral_serverless.torch_parts import find_python

VLLM_LIBRARIES = {"vllm": "vllm", "torch": "torch (vLLM)"}
"""By their names in its Python, and in the report."""
TORCH_LIBRARIES = {name: name for name in ("torch", "pyannote.audio", "pyannote.metrics", "transformers", "meeteval")}
OWN_LIBRARIES = ("av", "onnxruntime", "runpod")
Facts = dict[str, JsonValue]


TUNING = (
    "diarizer", "diarization_speed", "engine_compile", "engine_loading", "engine_startup_plan", "max_clip_s", "max_requests",
    "transcription_plan", "vllm_extra_args",
)  # fmt: skip
"""Settings that change what is measured."""


@dataclass(frozen=True)
class Situation:
    """What was found before anything is measured.

    Attributes:
        gpus: All of them, or those that the engine takes; `other_gpus`, how many it leaves alone.
        machine: These, driver, processor, memory.
        versions: Of the libraries that decide what is measured.
        settings: Those that change it.
        max_concurrency: How many jobs a worker with these settings does at once, which changes nothing here.
        engine: `vllm`, or the embedded one.
        elsewhere: The engine is a server that somebody else started, perhaps on another machine: a digest of its URL, which
            may hold a secret.
    """

    gpus: tuple[Gpu, ...]
    other_gpus: int
    machine: Facts
    versions: Facts
    settings: Facts
    max_concurrency: int
    engine: str
    elsewhere: str | None

    def subject(self, data: DataSet) -> Facts:
        """What readings are of, but for the models: change any of it, and they are of something else."""
        return {
            "version": __version__,
            "engine": self.engine,
            "engine_elsewhere": self.elsewhere,
            "gpus": self.machine["gpus"],
            "driver": self.machine["driver"],
            "processor": self.machine["processor"],
            "vllm": self.versions["vllm"],
            "settings": self.settings,
            **({"data": {"name": data.name, "language": data.language}} if data.calls else {}),
        }


async def look_around(settings: Settings) -> Situation:
    """The situation. Nothing is downloaded.

    Raises:
        EngineUnavailable, InvalidConfiguration: a part that is asked for cannot be had.
    """
    return await in_daemon_thread(partial(_found, settings))


async def find_models(settings: Settings) -> Facts:
    """The models by what they do, name and revision; they are downloaded where they are not on this machine.

    Raises:
        ModelUnavailable, EngineUnavailable, InvalidConfiguration: one that is asked for cannot be had, or does not fit here.
    """
    served = wants_vllm(settings, may_fall_back=False)
    return await in_daemon_thread(partial(_models, settings, served=served))


async def on_used_gpus(settings: Settings, situation: Situation) -> Situation:
    """The situation with the GPUs alone that the engine takes, which its model, now here, decides.

    Raises:
        EngineUnavailable, ModelUnavailable, InvalidConfiguration: as of `used_gpus`.
    """
    if situation.engine != "vllm":
        return situation
    gpus = await in_daemon_thread(partial(used_gpus, settings, situation.gpus))
    others = len(situation.gpus) - len(gpus)
    return replace(situation, gpus=gpus, other_gpus=others, machine=situation.machine | {"gpus": _told(gpus)})


def _found(settings: Settings) -> Situation:
    served = wants_vllm(settings, may_fall_back=False)
    vllm, torch = find_vllm(settings.vllm_executable), find_python(settings.diarization_python)
    vllm_python = vllm and python_of(vllm)
    gpus, elsewhere = seen_gpus(), settings.vllm_base_url if served else None
    return Situation(
        gpus,
        0,
        machine(gpus),
        {
            **{name: _own_version(name) for name in OWN_LIBRARIES},
            **_versions(torch, TORCH_LIBRARIES),
            **_versions(vllm_python if served and not elsewhere else None, VLLM_LIBRARIES),
        },
        settings.model_dump(mode="json", include=set(TUNING)),
        settings.max_concurrency,
        "vllm" if served else "embedded",
        elsewhere and hashlib.sha256(elsewhere.encode()).hexdigest()[:12],
    )


def tuned(settings: Facts) -> Facts:
    """Of these settings, those that are not as they come."""
    usual = Settings.model_construct().model_dump(mode="json", include=set(TUNING))
    return {name: value for name, value in settings.items() if value != usual.get(name)}


def machine(gpus: tuple[Gpu, ...]) -> Facts:
    """The machine that we are on, as a report names it."""
    import psutil

    no_gpu = None if gpus else why_no_gpu()
    return {
        "gpus": _told(gpus),
        "untold_gpu": no_gpu if no_gpu in {SILENT, UNTOLD} else None,
        "all_gpus_mib": sum(gpu.total_mib for gpu in gpus),
        "driver": driver_version() if gpus else None,
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_mib": psutil.virtual_memory().total >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _told(gpus: tuple[Gpu, ...]) -> list[JsonValue]:
    return [{"name": gpu.name, "total_mib": gpu.total_mib} for gpu in gpus]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _own_version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _versions(python: str | None, libraries: Mapping[str, str]) -> dict[str, str | None]:
    asked: Python | None = ask_python(python, tuple(libraries)) if python else None
    return {told: asked.versions.get(name) if asked else None for name, told in libraries.items()}


def _models(settings: Settings, *, served: bool) -> Facts:
    """The models, at the commits at which they are on this machine.

    What would stop everything is told before gigabytes are fetched: first a machine that cannot run the model, then
    pyannote's conditions. The weights, the largest, come last.
    """
    from voxtral_serverless.engine.running import checked_machine

    if served and not settings.vllm_base_url:
        checked_machine(settings)
    diarization = _diarization(settings) if wants_pyannote(settings, served=served) else None
    alignment = _alignment(settings) if served else None
    transcription = _transcription(settings) if served else None
    return {"transcription": transcription, "diarization": diarization, "alignment": alignment}


def _diarization(settings: Settings) -> Facts:
    """The pipeline of pyannote, and the repositories that its networks are from."""
    from voxtral_serverless.diarization.models import find_pipeline

    pipeline = find_pipeline(settings)
    parts: Facts = {origin.name: origin.revision for origin in pipeline.parts.values()}
    return {"name": pipeline.name, "revision": pipeline.revision, "parts": parts}


def _alignment(settings: Settings) -> Facts | None:
    """The aligners of all languages that have one."""
    from voxtral_serverless.transcription.aligner_models import find_aligners

    aligners = sorted(find_aligners(settings).items())
    if not aligners:
        return None
    revisions = [f"{language}: {files.revision}" for language, files in aligners if files.revision]
    return {
        "name": ", ".join(f"{language}: {files.name}" for language, files in aligners),
        "revision": ", ".join(revisions) or None,
    }


def _transcription(settings: Settings) -> Facts:
    """Voxtral; of one that is served elsewhere, nobody tells the commit."""
    from voxtral_serverless.engine.weights import find_weights

    if settings.vllm_base_url:
        return {"name": settings.voxtral_model, "revision": None}
    weights = find_weights(settings)
    return {"name": weights.name, "revision": commit_of(weights.folder.absolute())}
