"""The stage that writes down what is said: clips to the engine, in the language that is given or found on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.diarization.stage import Conversation
from voxtral_serverless.errors import DeadlineExceeded, EngineUnavailable, Notice
from voxtral_serverless.reporting import Report
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.language import identify
from voxtral_serverless.transcription.plan import Clip, Utterance, plan_by_turns
from voxtral_serverless.transcription.transcript import mishap_notices
from voxtral_serverless.transcription.turn_texts import TurnTexts

TELLING_CLIPS = 3
"""Where no language is given, the clips with the most speech are transcribed first, and their language identified."""
SHARE_BEFORE_ANALYSIS = 0.8
"""Of a job's time that is left, where an analysis is to follow."""


async def transcribe(run: Run, recording: Recording, conversation: Conversation) -> list[Utterance]:
    """One utterance for each turn; its text is None where it could not be transcribed.

    Raises:
        EngineUnavailable: nobody is there to transcribe it.
        DeadlineExceeded: the job's time was over before the first word.
    """
    turns, speech = conversation.turns, conversation.speech
    limit = run.services.settings.max_clip_s
    clips = plan_by_turns(turns, speech, recording.duration, max_clip_s=limit, quietest=recording.quietest)
    spoken = [index for index, clip in enumerate(clips) if not clip.silent]
    run.language = _given_language(run, spoken)
    texts = TurnTexts(turns, clips, speech)
    async with run.in_time("not all of it was transcribed", _share(run)) as time:
        with run.meter.stage("transcription") as report:
            await _Writing(run, recording, clips, texts, report).write_all(spoken)
    if time.expired() and not any(texts.of_clips(spoken)):
        raise DeadlineExceeded("the job's time was over before its first word; raise its executionTimeout.")
    if run.language is None:
        run.language = await _identified(run, texts.of_clips(spoken))
    if texts.lost:
        run.warn(Notice("turns_lost", f"{texts.lost} clips could not be transcribed: their text is missing."))
    return [texts.utterance(turn) for turn in range(len(turns))]


def _share(run: Run) -> float:
    """Of the job's time that is left, what the transcription may take."""
    return SHARE_BEFORE_ANALYSIS if run.job.questions else 1.0


@dataclass
class _Writing:
    """The clips of a job on their way to texts."""

    run: Run
    recording: Recording
    clips: Sequence[Clip]
    texts: TurnTexts
    report: Report
    mishaps: Counter[str] = field(default_factory=Counter)

    async def write_all(self, spoken: Sequence[int]) -> None:
        """Transcribe the clips in which somebody speaks, the most telling first where no language is known."""
        self.leave_empty(index for index, clip in enumerate(self.clips) if clip.silent)
        first = spoken if self.run.language else _telling(self.clips, spoken)
        await self.write_down(first)
        if self.run.language is None:
            self.run.language = await asyncio.to_thread(identify, self.texts.of_clips(first))
            await self.write_down([index for index in spoken if index not in first])
        self.run.warn(*mishap_notices(self.mishaps))

    async def write_down(self, chosen: Sequence[int]) -> None:
        """Transcribe the clips with these indices."""
        work = self.run.services.transcriber.transcribe(
            self.recording,
            [self.clips[index] for index in chosen],
            self.run.language,
            lambda at, text: self._heard(chosen[at], text),
        )
        done = await self.run.attempt("transcription", work, fatal=(EngineUnavailable,))
        if done:
            self.run.warn(*done.notices)
            self.mishaps.update(done.mishaps)

    def leave_empty(self, silent: Iterable[int]) -> None:
        """Nobody speaks in these clips: an engine could but invent."""
        for index in silent:
            self._heard(index, "")

    def _heard(self, index: int, text: str) -> None:
        utterance = self.texts.heard(index, text)
        if utterance:
            self.run.events.utterance(utterance)
        self.report(self.texts.finished, self.texts.turns)


def _telling(clips: Sequence[Clip], spoken: Sequence[int]) -> list[int]:
    """The clips with the most speech, which tell the language best."""
    return sorted(sorted(spoken, key=lambda index: -clips[index].speech_s)[:TELLING_CLIPS])


def _given_language(run: Run, spoken: Sequence[int]) -> str | None:
    """The job's language, or, where somebody speaks, the only one that the engine knows."""
    if run.job.language or not spoken:
        return run.job.language
    if run.services.only_language:
        run.warn(
            Notice("language_assumed", f"no language was given; the engine knows {run.services.only_language!r} only.")
        )
    return run.services.only_language


async def _identified(run: Run, texts: Sequence[str]) -> str | None:
    """The language of all that was heard, where the first of it did not tell."""
    language = await asyncio.to_thread(identify, texts)
    if language is None and any(texts):
        run.warn(Notice("language_unsure", "the language could not be told from the text; give it as `language`."))
    return language
