"""What several checks go by: the settings, what they mean on this machine, and what takes time to find out, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from voxtral_serverless.engine.cuda import LIBRARIES
from voxtral_serverless.engine.machine import Gpu, find_vllm, seen_gpus, why_no_gpu
from voxtral_serverless.errors import InvalidConfiguration, ModelUnavailable
from voxtral_serverless.interpreters import Python, ask_python, python_of
from voxtral_serverless.settings import Settings

if TYPE_CHECKING:
    from voxtral_serverless.engine.checkpoint import Weights
    from voxtral_serverless.hub.repository import Repository

Value = TypeVar("Value")

AUDIO = ("soundfile", "soxr", "av", "mistral_common")
"""What vLLM needs to hear: its extra `audio`."""


class Once(Generic[Value]):
    """A value that is made when it is first asked for; other threads wait for it.

    What is logged meanwhile belongs to no check, though one of them happens to be the first.
    """

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make, self._lock = make, Lock()
        self._made: list[Value] = []

    def __call__(self) -> Value:
        """The value."""
        with self._lock:
            if not self._made:
                self._made.append(Context().run(self._make))
            return self._made[0]


@dataclass(frozen=True)
class Downloads:
    """What has to be downloaded.

    Attributes:
        bytes: How much; None where the Hub was not asked, or did not say.
        refusals: What the Hub says against it.
    """

    repositories: tuple[Repository, ...] = ()
    bytes: int | None = 0
    refusals: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """The repositories, as they stand in a sentence."""
        return ", ".join(each.name for each in self.repositories)


@dataclass(frozen=True)
class Situation:
    """What is known before the checks.

    Attributes:
        faults: What is wrong with the environment's settings; `settings` have the defaults there.
        offline: The Hugging Face Hub is not to be asked.
        gpus: Those that a process started here would see.
        no_gpu: Why none is seen.
        served: Voxtral on vLLM does the work, not the embedded engine.
        diarizes: pyannote tells the speakers apart.
        vllm: The command.
        vllm_python: What its Python has; None where that cannot be asked.
        weights: The Voxtral on this machine; None where it is missing, or damaged.
        downloads: What is missing on this machine.
    """

    settings: Settings
    faults: tuple[str, ...]
    offline: bool
    gpus: tuple[Gpu, ...]
    no_gpu: str
    served: bool
    diarizes: bool
    vllm: str | None
    vllm_python: Once[Python | None]
    weights: Once[Weights | None]
    downloads: Once[Downloads]

    @property
    def own_engine(self) -> bool:
        """A vLLM has to be started here."""
        return self.served and not self.settings.vllm_base_url

    @property
    def in_runpod(self) -> bool:
        """RunPod runs us, as a worker of an endpoint."""
        from voxtral_serverless.runpod_worker.worker import QUEUE

        return bool(os.environ.get(QUEUE))


def look_around(settings: Settings, faults: Sequence[str] = (), *, offline: bool = False) -> Situation:
    """The situation on this machine. Blocks, for as long as nvidia-smi takes."""
    from voxtral_serverless.services import wants_pyannote, wants_vllm

    gpus, vllm = seen_gpus(), find_vllm(settings.vllm_executable)
    served = wants_vllm(settings, may_fall_back=True)
    diarizes = wants_pyannote(settings, served=served)
    return Situation(
        settings=settings,
        faults=tuple(faults),
        offline=offline,
        gpus=gpus,
        no_gpu="" if gpus else why_no_gpu(),
        served=served,
        diarizes=diarizes,
        vllm=vllm,
        vllm_python=Once(partial(_vllm_python, vllm)),
        weights=Once(partial(_weights, settings)),
        downloads=Once(partial(_downloads, settings, served, diarizes, offline)),
    )


def _vllm_python(vllm: str | None) -> Python | None:
    python = vllm and python_of(vllm)
    return ask_python(python, LIBRARIES, AUDIO) if python else None


def _weights(settings: Settings) -> Weights | None:
    from voxtral_serverless.engine.weights import weights_here

    try:
        return weights_here(settings)
    except ModelUnavailable:
        return None


def _downloads(settings: Settings, served: bool, diarizes: bool, offline: bool) -> Downloads:
    from voxtral_serverless.hub.download import missing_bytes

    families = _missing(settings, served, diarizes)
    repositories = tuple(each for family in families for each in family)
    if offline:
        return Downloads(repositories, None if repositories else 0)
    sizes, refusals = [], []
    for family in families:
        try:
            sizes.append(missing_bytes(family))
        except ModelUnavailable as error:
            refusals.append(error.message)
    return Downloads(repositories, None if refusals else sum(sizes), tuple(dict.fromkeys(refusals)))


def _missing(settings: Settings, served: bool, diarizes: bool) -> list[list[Repository]]:
    """What is nowhere on this machine, by family. A folder that is damaged is no download: its own check tells of it."""
    from voxtral_serverless.diarization.models import missing_repositories
    from voxtral_serverless.engine.weights import wanted_weights, weights_here
    from voxtral_serverless.transcription.aligner_models import aligners_here

    looks: list[Callable[[], list[Repository]]] = []
    if served and not settings.vllm_base_url:
        looks.append(lambda: [] if weights_here(settings) else [wanted_weights(settings)])
    if diarizes:
        looks.append(lambda: missing_repositories(settings))
    if served:
        looks.append(lambda: list(aligners_here(settings)[1].values()))
    return [found for look in looks if (found := _or_none(look))]


def _or_none(look: Callable[[], list[Repository]]) -> list[Repository]:
    try:
        return look()
    except (ModelUnavailable, InvalidConfiguration):
        return []
