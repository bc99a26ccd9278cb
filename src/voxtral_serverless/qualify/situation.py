"""On what, and of what, an examination is: the machine, the libraries, the models at their revisions.

Two views of it: all that a report tells (`described`), and what has to be the same for readings to stand beside each
other (`subject`). Nothing here is measured.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import JsonValue

from voxtral_serverless import __version__
from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.doctor.gpus import driver_version
from voxtral_serverless.doctor.libraries import Python, ask_python, python_of
from voxtral_serverless.engine.machine import Gpu, find_vllm, seen_gpus
from voxtral_serverless.qualify.references import DataSet
from voxtral_serverless.services import wants_pyannote, wants_vllm
from voxtral_serverless.settings import Settings
from voxtral_serverless.torch_parts import find_python

VLLM_LIBRARIES = {"vllm": "vllm", "torch": "torch (vLLM)"}
"""By their names in its Python, and in the report."""
TORCH_LIBRARIES = {name: name for name in ("torch", "pyannote.audio", "pyannote.metrics", "transformers", "meeteval")}
OWN_LIBRARIES = ("av", "onnxruntime", "runpod")
Facts = dict[str, JsonValue]


@dataclass(frozen=True)
class Situation:
    """What was found before anything is measured.

    Attributes:
        machine: GPUs, driver, processor, memory.
        versions: Of the libraries that decide what is measured.
        models: By what they do, name and revision.
        engine: `vllm`, or the embedded one.
    """

    machine: Facts
    versions: Facts
    models: Facts
    engine: str

    def subject(self, data: DataSet) -> Facts:
        """What readings are of: change any of it, and they are of something else."""
        return {
            "version": __version__,
            "engine": self.engine,
            "models": self.models,
            "gpus": self.machine["gpus"],
            "driver": self.machine["driver"],
            "processor": self.machine["processor"],
            "vllm": self.versions["vllm"],
            **({"data": {"name": data.name, "revision": data.revision}} if data.calls else {}),
        }


async def look_around(settings: Settings) -> Situation:
    """The situation, with the models on this machine: they are downloaded where they are not.

    Raises:
        ModelUnavailable, EngineUnavailable, InvalidConfiguration: a part that is asked for cannot be had.
    """
    return await in_daemon_thread(partial(_found, settings))


def _found(settings: Settings) -> Situation:
    served = wants_vllm(settings, may_fall_back=False)
    vllm, torch = find_vllm(settings.vllm_executable), find_python(settings.diarization_python)
    vllm_python = vllm and python_of(vllm)
    return Situation(
        machine(seen_gpus()),
        {
            **{name: _own_version(name) for name in OWN_LIBRARIES},
            **_versions(torch, TORCH_LIBRARIES),
            **_versions(vllm_python if served and not settings.vllm_base_url else None, VLLM_LIBRARIES),
        },
        _models(settings, served=served),
        "vllm" if served else "embedded",
    )


def machine(gpus: tuple[Gpu, ...]) -> Facts:
    """The machine that we are on, as a report names it."""
    import psutil

    return {
        "gpus": [{"name": gpu.name, "total_mib": gpu.total_mib} for gpu in gpus],
        "driver": driver_version() if gpus else None,
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_mib": psutil.virtual_memory().total >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


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
    """The models, at the commits at which they are on this machine."""
    from voxtral_serverless.diarization.models import find_pipeline
    from voxtral_serverless.engine.weights import find_weights
    from voxtral_serverless.transcription.aligner_models import find_aligners

    found: Facts = {"transcription": None, "diarization": None, "alignment": None}
    if served and settings.vllm_base_url:
        found["transcription"] = {"name": settings.voxtral_model, "revision": None}
    elif served:
        weights = find_weights(settings)
        found["transcription"] = {"name": weights.name, "revision": _revision(weights.folder)}
    if wants_pyannote(settings, served=served):
        pipeline = find_pipeline(settings)
        place = pipeline.config["pipeline"]["params"]["segmentation"]["checkpoint"]
        found["diarization"] = {"name": pipeline.name, "revision": _revision(Path(place))}
    if served and (aligners := find_aligners(settings)):
        names = sorted({f"{language}: {files.name}" for language, files in aligners.items()})
        found["alignment"] = {"name": ", ".join(names), "revision": None}
    return found


def _revision(place: Path) -> str | None:
    """The commit of a place in the Hugging Face cache; None for a folder of somebody's own."""
    parts = place.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else None
