"""Voxtral on vLLM writes down what is said in clips, many at once.

Promises: the clips of all jobs are in the engine together, up to a limit, so that it can batch them; a clip that is
lost with the engine is asked anew after its restart; a text that loops, runs away or was made from nothing is
mended or dropped, and a warning says so. Leaves out: which clips there are (`plan`), how often a request is repeated
(`engine/requests`), and the engine's life.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.concurrency import together
from voxtral_serverless.engine.client import Answer, RequestRefused, as_wav
from voxtral_serverless.engine.requests import Requests
from voxtral_serverless.errors import KillsEngine, LanguageNotSupported, Notice, StageFailed
from voxtral_serverless.transcription.guards import cut_to_rate, fault, spoken_in, without_loop
from voxtral_serverless.transcription.language import VOXTRAL_LANGUAGES
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Heard, Transcript

log = logging.getLogger(__name__)

TOKENS_PER_S, LEAST_TOKENS = 12, 32
"""A clip may have so many tokens a second, and so many in any case: twice what a fast speaker needs."""
FREQUENCY_PENALTY = 0.5
"""Of the second try at a text that looped."""


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
    """Transcribes with the Voxtral behind `requests`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

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
            for _ in range(min(len(clips), self._requests.most_at_once)):
                tasks.create_task(self._work(job, waiting))
        return Transcript(tuple(job.texts), _warnings(language), job.mishaps)

    async def _work(self, job: _Job, waiting: Iterator[int]) -> None:
        for index in waiting:
            try:
                text = await self._text_of(job, job.clips[index])
            except (KillsEngine, StageFailed) as error:
                log.warning("a clip is lost: %s", error.message)
                job.mishaps["clip_kills_engine"] += isinstance(error, KillsEngine)
            else:
                job.texts[index] = text
                job.heard(index, text)

    async def _text_of(self, job: _Job, clip: Clip) -> str:
        """The clip's text, found sound or made so.

        Raises:
            KillsEngine, StageFailed: the clip is lost.
        """
        answer = await self._ask(job, clip, 0.0)
        if fault(answer.text, clip.sound_s, answer.finish_reason):
            with suppress(KillsEngine, StageFailed):  # the first text, cut, is better than none
                answer = await self._ask(job, clip, FREQUENCY_PENALTY)
        text = answer.text.strip()
        if fault(text, clip.sound_s, answer.finish_reason):
            job.mishaps["text_cut"] += 1
            text = cut_to_rate(without_loop(text), clip.sound_s)
        if text and not spoken_in(text, clip.speech_s):
            job.mishaps["text_dropped"] += 1
            return ""
        return text

    async def _ask(self, job: _Job, clip: Clip, frequency_penalty: float) -> Answer:
        wav = as_wav(b"".join(job.recording.clip(piece, clip.channel).tobytes() for piece in clip.pieces))
        tokens = LEAST_TOKENS + round(TOKENS_PER_S * clip.sound_s)
        try:
            return await self._requests.answer(
                lambda client: client.transcribe(
                    wav, language=job.language, max_tokens=tokens, frequency_penalty=frequency_penalty
                )
            )
        except RequestRefused as error:
            if job.language and "language" in str(error).lower():
                raise LanguageNotSupported(f"the engine does not take the language {job.language!r}.") from error
            raise StageFailed(f"the engine refuses it ({error}).") from error


def _warnings(language: str | None) -> tuple[Notice, ...]:
    if language is None or language in VOXTRAL_LANGUAGES:
        return ()
    return (
        Notice("language_not_listed", f"Voxtral was not trained to write {language!r} down: the text may be poor."),
    )
