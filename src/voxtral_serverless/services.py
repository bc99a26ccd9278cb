"""The parts that do the work of a job, chosen once at start from the settings.

Three protocols, each with an implementation for the real engine and one embedded; which one is in use is decided
here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voxtral_serverless.analysis.judgement import Judgement
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints
from voxtral_serverless.errors import EngineUnavailable, Notice
from voxtral_serverless.reporting import Report
from voxtral_serverless.settings import Settings
from voxtral_serverless.transcription.plan import Clip, Utterance

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
        """The turns of `recording`, in order, its speakers named SPEAKER_00, … by appearance."""


class Transcriber(Protocol):
    """Writes down what is said in clips."""

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Callable[[int, str], None]
    ) -> list[str | None]:
        """The text of each clip, None for a lost one; `heard` is told each, by its index, as it comes."""


class Analyst(Protocol):
    """Reads a conversation."""

    async def summarise(self, utterances: Sequence[Utterance], language: str) -> str:
        """A summary in `language`."""

    async def judge(self, utterances: Sequence[Utterance], language: str) -> Judgement:
        """The customer's sentiment."""


@dataclass(frozen=True)
class Services:
    """The chosen parts.

    Attributes:
        diarizer: None where speakers are not told apart at all (`DIARIZER=none`).
        engine: Name of the engine, for `meta`.
        models: Names of the models by what they do, for `meta`.
        only_language: The one language of the transcriber, where it has only one.
        notices: What every result of these parts has to warn of.
    """

    settings: Settings
    diarizer: Diarizer | None
    transcriber: Transcriber
    analyst: Analyst
    engine: str
    models: dict[str, str]
    only_language: str | None = None
    notices: tuple[Notice, ...] = field(default=())


def build_services(settings: Settings) -> Services:
    """The parts that `settings` ask for.

    Raises:
        EngineUnavailable: an engine was asked for by name and is not there.
    """
    if settings.engine == "vllm" or (settings.engine == "auto" and settings.vllm_base_url):
        raise EngineUnavailable(
            "the vLLM engine is not part of this version yet; ENGINE=embedded runs the self-test engine."
        )
    if settings.diarizer == "pyannote":
        raise EngineUnavailable(
            "the pyannote diarizer is not part of this version yet; DIARIZER=embedded runs the self-test one."
        )
    if settings.engine == "auto":
        log.warning("ENGINE=auto: this version has the embedded self-test engine only (English, inaccurate).")
    return _embedded(settings)


def _embedded(settings: Settings) -> Services:
    from importlib.metadata import PackageNotFoundError, version

    from voxtral_serverless.analysis.embedded import EmbeddedAnalyst
    from voxtral_serverless.diarization.embedded import EmbeddedDiarizer
    from voxtral_serverless.transcription.sphinx import SphinxTranscriber

    try:
        models = {
            "transcription": f"pocketsphinx {version('pocketsphinx')} en-us",
            "diarization": f"voice features and Ward clustering (scikit-learn {version('scikit-learn')})",
            "analysis": f"LexRank, VADER {version('vaderSentiment')}",
        }
    except PackageNotFoundError as error:
        raise EngineUnavailable(
            f"the embedded engine needs the extra 'embedded' ({error.name} is missing): "
            "pip install 'voxtral-serverless[embedded]'."
        ) from error
    diarizer = None if settings.diarizer == "none" else EmbeddedDiarizer()
    if diarizer is None:
        models["diarization"] = "none"
    return Services(
        settings, diarizer, SphinxTranscriber(), EmbeddedAnalyst(), "embedded", models, "en", (EMBEDDED_NOTICE,)
    )
