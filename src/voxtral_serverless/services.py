"""The parts that do the work of a job, chosen once at start from the settings.

Three protocols, each with an implementation for the real engine and one embedded; which one is in use is decided
here and nowhere else. `running_services` also holds the engine's life: it starts beside the block and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.concurrency import side_by_side, together
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints
from voxtral_serverless.errors import EngineUnavailable, Notice
from voxtral_serverless.reporting import Report
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import StartUp, current
from voxtral_serverless.transcription.plan import Clip, Utterance
from voxtral_serverless.transcription.transcript import Heard, Transcript
from voxtral_serverless.transcription.words import Word

if TYPE_CHECKING:
    from voxtral_serverless.engine.client import Engine
    from voxtral_serverless.torch_parts import TorchParts

log = logging.getLogger(__name__)

EMBEDDED_NOTICE = Notice(
    "embedded_engine",
    "made by the embedded self-test engine: English only and far less accurate than the real one (Voxtral on vLLM, "
    "pyannote); see README.md, 'The embedded engine'.",
)


class Diarizer(Protocol):
    """Tells the speakers of a recording apart."""

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        """The turns of `recording`, in order; what its speakers are called says only who is the same.

        Raises:
            StageFailed: it cannot be done, for this recording.
        """


class Transcriber(Protocol):
    """Writes down what is said in clips."""

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        """The text of each clip; `heard` is told each, by its index, as it comes.

        Raises:
            EngineUnavailable: nothing can be transcribed any more, by this worker.
        """


class Aligner(Protocol):
    """Tells when the words of a text are spoken."""

    def knows(self, language: str) -> bool:
        """Whether it has heard enough of `language`."""

    async def align(
        self, recording: Recording, clips: Sequence[Clip], texts: Sequence[str], language: str
    ) -> Sequence[tuple[Word, ...]]:
        """The words of the text of each clip, with their times; none where they cannot be told.

        Raises:
            StageFailed: it cannot be done, for this recording.
        """


class Reading(Protocol):
    """A conversation, or an excerpt of one, that can be asked about."""

    async def summarise(self, language: str) -> str:
        """A summary in `language`."""

    async def judge(self) -> Judgement:
        """The customer's sentiment."""

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        """The tone of one who speaks here."""


class Analyst(Protocol):
    """Reads conversations."""

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> Reading:
        """What can be asked about `utterances`, the whole of a conversation in `language` or an excerpt of it."""


async def _at_once() -> None:
    """Nothing has to be waited for."""


@dataclass(frozen=True)
class Services:
    """The chosen parts.

    Attributes:
        diarizer: None where speakers are not told apart at all (`DIARIZER=none`).
        engine: Name of the engine, for `meta`.
        models: Names of the models by what they do, for `meta`.
        aligner: None where nobody can tell when a word is spoken, unless the transcriber itself does.
        only_language: The one language of the transcriber, where it has only one.
        notices: What every result of these parts has to warn of.
        ready: Waits until jobs can be done; raises EngineUnavailable where they never can.
        well: The same of the engine as it is now: it may be starting anew, or have died for good since.
        server: The served Voxtral behind them, where there is one.
        cores: Held while a job keeps a core busy in this process or in its decoder.
    """

    settings: Settings
    diarizer: Diarizer | None
    transcriber: Transcriber
    analyst: Analyst
    engine: str
    models: dict[str, str]
    aligner: Aligner | None = None
    only_language: str | None = None
    notices: tuple[Notice, ...] = field(default=())
    ready: Callable[[], Coroutine[Any, Any, None]] = _at_once
    well: Callable[[], Coroutine[Any, Any, None]] = _at_once
    server: Engine | None = None
    cores: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))


@asynccontextmanager
async def running_services(settings: Settings, *, may_fall_back: bool = True) -> AsyncIterator[Services]:
    """The parts that `settings` ask for. What has to start, starts beside the block, all at once, and ends with it.

    When all is ready, the log tells how long each phase took.

    `may_fall_back` lets `ENGINE=auto` mean the self-test engine where there is nothing better.

    Raises:
        EngineUnavailable, ModelUnavailable, InvalidConfiguration: a part was asked for that cannot be had.
    """
    startup = current()
    async with _chosen(settings, may_fall_back) as services:
        ready = asyncio.create_task(_told(services, startup))
        try:
            yield replace(services, ready=lambda: _shielded(ready))
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)


async def _told(services: Services, startup: StartUp) -> None:
    await services.ready()
    startup.report()


async def _shielded(ready: asyncio.Task[None]) -> None:
    """Wait for what all jobs wait for: once it was ready, it stays so for them."""
    await asyncio.shield(ready)


@asynccontextmanager
async def _chosen(settings: Settings, may_fall_back: bool) -> AsyncIterator[Services]:
    served = await asyncio.to_thread(wants_vllm, settings, may_fall_back)
    diarizes = wants_pyannote(settings, served=served)
    if not diarizes and not served:
        yield embedded_services(settings)
        return
    from voxtral_serverless.torch_parts import running_torch_parts

    async with side_by_side(
        running_torch_parts(settings, diarizes=diarizes, aligns=served), _running_engine(settings, served)
    ) as (parts, services):
        yield _with_torch_parts(services, parts)


@asynccontextmanager
async def _running_engine(settings: Settings, served: bool) -> AsyncIterator[Services]:
    """The parts over the engine, with the embedded diarizer or none."""
    if not served:
        yield embedded_services(settings)
        return
    from voxtral_serverless.engine.running import running_engine

    async with running_engine(settings) as engine:
        yield served_services(settings, engine)


def _with_torch_parts(services: Services, parts: TorchParts) -> Services:
    """The parts with those of the torch process. They are ready when all are."""

    async def ready() -> None:
        async with together() as tasks:
            tasks.create_task(parts.ready())
            tasks.create_task(services.ready())

    models = services.models | ({"diarization": parts.diarizer.model} if parts.diarizer else {})
    if parts.aligner:
        models |= {"alignment": ", ".join(sorted({model.name for model in parts.aligner.models.values()}))}
    return replace(
        services, diarizer=parts.diarizer or services.diarizer, aligner=parts.aligner, models=models, ready=ready
    )


def wants_vllm(settings: Settings, may_fall_back: bool) -> bool:
    """Whether Voxtral on vLLM does the work: asked for by name, or there.

    Raises:
        EngineUnavailable: neither, and the self-test engine will not do.
    """
    from voxtral_serverless.engine.machine import find_vllm, seen_gpus

    if settings.engine != "auto":
        return settings.engine == "vllm"
    if settings.vllm_base_url or (find_vllm(settings.vllm_executable) and seen_gpus()):
        return True
    if not may_fall_back:
        raise EngineUnavailable(
            "there is no vLLM with a GPU: set ENGINE=vllm to run it on a processor, VLLM_BASE_URL to one that is already "
            "there, or ENGINE=embedded for the self-test engine (English, inaccurate)."
        )
    log.warning(
        "ENGINE=auto: there is no vLLM with a GPU, so the embedded self-test engine runs (English, inaccurate)."
    )
    return False


def wants_pyannote(settings: Settings, *, served: bool) -> bool:
    """Whether pyannote tells the speakers apart; Voxtral is `served`, or not."""
    return settings.diarizer == "pyannote" or (settings.diarizer == "auto" and served)


def served_services(settings: Settings, engine: Engine) -> Services:
    """The parts over a served Voxtral."""
    from voxtral_serverless.analysis.voxtral import VoxtralAnalyst
    from voxtral_serverless.engine.requests import Requests
    from voxtral_serverless.transcription.voxtral import VoxtralTranscriber

    diarizer, name = _embedded_diarizer(settings.diarizer == "embedded")
    models = {"transcription": engine.client.model, "diarization": name, "analysis": engine.client.model}
    requests = Requests(engine, settings.max_requests)
    return Services(
        settings,
        diarizer,
        VoxtralTranscriber(requests),
        VoxtralAnalyst(requests),
        "vllm",
        models,
        ready=engine.ready,
        well=engine.ready,
        server=engine,
    )


def embedded_services(settings: Settings) -> Services:
    """The self-test engine's parts.

    Raises:
        EngineUnavailable: they are not installed.
    """
    from voxtral_serverless.analysis.embedded import EmbeddedAnalyst
    from voxtral_serverless.transcription.sphinx import SphinxTranscriber

    diarizer, name = _embedded_diarizer(settings.diarizer in {"auto", "embedded"})
    models = {
        "transcription": f"pocketsphinx {_version('pocketsphinx')} en-us",
        "diarization": name,
        "analysis": f"LexRank, VADER {_version('vaderSentiment')}",
    }
    return Services(
        settings,
        diarizer,
        SphinxTranscriber(),
        EmbeddedAnalyst(),
        "embedded",
        models,
        only_language="en",
        notices=(EMBEDDED_NOTICE,),
    )


def _embedded_diarizer(wanted: bool) -> tuple[Diarizer | None, str]:
    """The embedded diarizer, or none; and its name."""
    if not wanted:
        return None, "none"
    from voxtral_serverless.diarization.embedded import EmbeddedDiarizer

    return EmbeddedDiarizer(), f"voice features and Ward clustering (scikit-learn {_version('scikit-learn')})"


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError as error:
        raise EngineUnavailable(
            f"the embedded engine needs the extra 'embedded' ({library} is missing): "
            "pip install 'voxtral-serverless[embedded]'."
        ) from error
