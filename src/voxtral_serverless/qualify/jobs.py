"""Jobs as the examination runs them: through the whole pipeline, with its own clock beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.contract import JobResult, parse_options
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import Events, NoEvents
from voxtral_serverless.services import Services, Transcriber
from voxtral_serverless.transcription.plan import Clip, Utterance
from voxtral_serverless.transcription.transcript import Heard, Transcript


@dataclass
class Clock(NoEvents):
    """Takes the time until the first turn has its text.

    Attributes:
        first_text_s: Seconds from the clock's making; None where no turn had one.
    """

    began: float = field(default_factory=time.monotonic)
    first_text_s: float | None = None

    def utterance(self, utterance: Utterance) -> None:
        """A turn has its text."""
        if utterance.text and self.first_text_s is None:
            self.first_text_s = time.monotonic() - self.began


@dataclass(frozen=True)
class Done:
    """A job that came to its end. Times are in seconds."""

    result: JobResult
    took_s: float
    first_text_s: float | None


class CountedTranscriber:
    """A transcriber whose requests are counted.

    Attributes:
        requests: Clips that it was given.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self.requests = 0

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        """The text of each clip, as the transcriber behind has it."""
        self.requests += sum(not clip.silent for clip in clips)
        return await self._transcriber.transcribe(recording, clips, language, heard)


async def run_job(services: Services, file: Path, fields: dict[str, Any], events: Events | None = None) -> JobResult:
    """Do a job with the recording in `file`; fields that are None are left out.

    Raises:
        VoxtralError: as of `pipeline.process`.
    """
    options = parse_options({name: value for name, value in fields.items() if value is not None})
    return await process(options, LocalAudio(file), services, events or NoEvents())


async def timed_job(services: Services, file: Path, fields: dict[str, Any]) -> Done:
    """The same, with its times."""
    clock = Clock()
    result = await run_job(services, file, fields, clock)
    return Done(result, time.monotonic() - clock.began, clock.first_text_s)


def codes_of(result: JobResult) -> list[str]:
    """The codes of its warnings, each once."""
    return list(dict.fromkeys(notice.code for notice in result.meta.warnings))
