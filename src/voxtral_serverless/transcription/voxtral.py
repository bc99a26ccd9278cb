"""Voxtral on vLLM writes down what is said in clips, many at once.

Promises: the clips of all jobs are in the engine together, up to a limit, so that it can batch them; a clip that is
lost with the engine is asked anew after its restart; a text that loops, runs away or was made from nothing is
mended or dropped, and a warning says so. Every repetition of a request is decided here, and nowhere else. Leaves
out: which clips there are (`plan`), and the engine's life (`engine`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.concurrency import together
from voxtral_serverless.engine.client import Answer, Engine, EngineLost, RequestRefused, as_wav
from voxtral_serverless.errors import LanguageNotSupported, Notice, StageFailed
from voxtral_serverless.transcription.guards import cut_to_rate, fault, spoken_in, without_loop
from voxtral_serverless.transcription.language import VOXTRAL_LANGUAGES
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Heard, Transcript

log = logging.getLogger(__name__)

TOKENS_PER_S, LEAST_TOKENS = 12, 32
"""A clip may have so many tokens a second, and so many in any case: twice what a fast speaker needs."""
ATTEMPTS = 3
"""A clip is asked so often, where the server fails without dying."""
MOST_DEATHS = 2
"""A clip over which the engine died so often is left out."""
BACK_OFF_S = 0.5
FREQUENCY_PENALTY = 0.5
"""Of the second try at a text that looped."""


class _Gate:
    """Requests pass together; one that may have killed the engine passes alone, so that it is known which it was."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = 0
        """Requests that pass alone, or wait to: nobody else goes in before them."""
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def passing(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for the turn of a request, and let it pass."""
        self._alone += alone
        try:
            while self._inside if alone else self._alone:
                await self._changed.wait()
            self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1
        finally:
            self._alone -= alone
            self._changed.set()
            self._changed = asyncio.Event()


@dataclass
class _Job:
    """What the requests of one job share."""

    recording: Recording
    clips: Sequence[Clip]
    language: str | None
    heard: Heard
    texts: list[str | None]
    mishaps: Counter[str] = field(default_factory=Counter)


class VoxtralTranscriber:
    """Transcribes with the Voxtral that `engine` serves, at most `max_requests` clips at once."""

    def __init__(self, engine: Engine, max_requests: int) -> None:
        self._engine = engine
        self._max_requests = max_requests
        self._slots = asyncio.Semaphore(max_requests)
        self._gate = _Gate()

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        """The text of each clip of `recording`, None for one that was lost; `heard` is told each as it comes.

        Raises:
            EngineUnavailable: there is no engine, or none any more.
            LanguageNotSupported: the engine does not take `language`.
        """
        job = _Job(recording, clips, language, heard, [None] * len(clips))
        waiting = iter(range(len(clips)))
        async with together() as tasks:
            # No more tasks than can be in the engine: so a short job is not queued behind all of a long one.
            for _ in range(min(len(clips), self._max_requests)):
                tasks.create_task(self._work(job, waiting))
        return Transcript(tuple(job.texts), tuple(_notices(language, job.mishaps)))

    async def _work(self, job: _Job, waiting: Iterator[int]) -> None:
        for index in waiting:
            try:
                text = await self._text_of(job, job.clips[index])
            except StageFailed as error:
                log.warning("a clip is lost: %s", error.message)
            else:
                job.texts[index] = text
                job.heard(index, text)

    async def _text_of(self, job: _Job, clip: Clip) -> str:
        """The clip's text, found sound or made so.

        Raises:
            StageFailed: the clip is lost.
        """
        answer = await self._ask(job, clip, 0.0)
        if fault(answer.text, clip.audio.duration, answer.finish_reason):
            with suppress(StageFailed):  # the first text, cut, is better than none
                answer = await self._ask(job, clip, FREQUENCY_PENALTY)
        text = answer.text.strip()
        if fault(text, clip.audio.duration, answer.finish_reason):
            job.mishaps["text_cut"] += 1
            text = cut_to_rate(without_loop(text), clip.audio.duration)
        if text and not spoken_in(text, clip.speech_s):
            job.mishaps["text_dropped"] += 1
            return ""
        return text

    async def _ask(self, job: _Job, clip: Clip, frequency_penalty: float) -> Answer:
        """The engine's answer, asked anew where it was lost.

        Raises:
            StageFailed: it cannot be had: the clip is refused, kills the engine, or was lost too often.
        """
        deaths = losses = 0
        while True:
            await self._engine.ready()
            async with self._slots, self._gate.passing(alone=deaths > 0):
                before = self._engine.deaths
                try:
                    return await self._request(job, clip, frequency_penalty)
                except EngineLost as error:
                    log.info("a request was lost: %s", error)
                # Who passes next finds a living engine, and is not blamed for a death that was there before.
                await self._engine.recovered()
            if self._engine.deaths > before:
                deaths += 1
                if deaths == MOST_DEATHS:
                    job.mishaps["clip_kills_engine"] += 1
                    raise StageFailed("the engine dies over it.")
                continue
            losses += 1
            if losses == ATTEMPTS:
                raise StageFailed(f"the engine failed over it {ATTEMPTS} times.")
            await asyncio.sleep(BACK_OFF_S * 2**losses)

    async def _request(self, job: _Job, clip: Clip, frequency_penalty: float) -> Answer:
        wav = as_wav(job.recording.clip(clip.audio, clip.channel).tobytes())
        tokens = LEAST_TOKENS + round(TOKENS_PER_S * clip.audio.duration)
        try:
            return await self._engine.client.transcribe(
                wav, language=job.language, max_tokens=tokens, frequency_penalty=frequency_penalty
            )
        except RequestRefused as error:
            if job.language and "language" in str(error).lower():
                raise LanguageNotSupported(f"the engine does not take the language {job.language!r}.") from error
            raise StageFailed(f"the engine refuses it ({error}).") from error


def _notices(language: str | None, mishaps: Counter[str]) -> Iterator[Notice]:
    """Warnings of what was asked of Voxtral, and of what befell the clips of a job."""
    if language and language not in VOXTRAL_LANGUAGES:
        yield Notice(
            "language_not_listed", f"Voxtral was not trained to write {language!r} down: the text may be poor."
        )
    count = mishaps["text_cut"]
    if count:
        yield Notice(
            "text_cut",
            f"{count} texts ran in circles or too long, twice; what repeats was cut, and words may be wrong.",
        )
    count = mishaps["text_dropped"]
    if count:
        yield Notice("text_dropped", f"{count} texts were written for next to no speech; they were dropped.")
    count = mishaps["clip_kills_engine"]
    if count:
        yield Notice("clip_kills_engine", f"the engine died twice over each of {count} clips; they were left out.")
