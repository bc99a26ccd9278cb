"""The clips of a job on their way to texts, and to the times of their words."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.run import Run
from voxtral_serverless.services import Aligner
from voxtral_serverless.transcription.language import identify
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.words import Word

MOST_AT_ONCE = 16
"""Clips that are aligned together: the process works for other jobs too."""
TELLING_CLIPS = 3
"""Where no language is given, the clips with the most speech are transcribed first, and their language identified."""


class Writing:
    """Writes clips down, and has their words timed beside it, where that is wanted.

    Attributes:
        texts: Of each clip; None where it is not transcribed, or not yet.
        words: Of each clip, in order, with their times; none where those are not known.
        mishaps: How many clips were befallen by what.
    """

    def __init__(self, run: Run, recording: Recording, clips: Sequence[Clip], heard: Callable[[int], None]) -> None:
        """`heard` is told the index of each clip whose text has come."""
        self.texts: list[str | None] = [None] * len(clips)
        self.words: list[tuple[Word, ...]] = [()] * len(clips)
        self._run, self._recording, self._clips, self._heard = run, recording, clips, heard
        self.mishaps: Counter[str] = Counter()
        self._untimed: asyncio.Queue[int | None] = asyncio.Queue()
        self._gave_up = False
        self._language_told = asyncio.Event()
        if run.language:
            self._language_told.set()

    @property
    def spoken(self) -> list[int]:
        """The clips in which somebody speaks."""
        return [index for index, clip in enumerate(self._clips) if not clip.silent]

    async def write_all(self, *, timed: bool, language_suits: Callable[[str | None], bool] = lambda _: True) -> bool:
        """Transcribe the clips in which somebody speaks, the most telling first where no language is known.

        `timed` has the words timed by the aligner. False, and the rest is left, where the language that is found does
        not suit.

        Raises:
            EngineUnavailable: nobody is there to transcribe it.
        """
        self._leave_empty(index for index, clip in enumerate(self._clips) if clip.silent)
        async with together() as tasks:
            if timed:
                tasks.create_task(self._time())
            try:
                whole = await self._write(language_suits)
            finally:
                self._untimed.put_nowait(None)
                self._language_told.set()
        return whole

    async def _write(self, language_suits: Callable[[str | None], bool]) -> bool:
        spoken, run = self.spoken, self._run
        first = spoken if run.language else _telling(self._clips, spoken)
        await self._write_down(first)
        if run.language is None:
            run.language = await asyncio.to_thread(identify, [self.texts[index] or "" for index in first])
            if not language_suits(run.language):
                return False
            self._language_told.set()
            await self._write_down([index for index in spoken if index not in first])
        return True

    async def _write_down(self, chosen: Sequence[int]) -> None:
        """Transcribe the clips with these indices."""
        work = self._run.services.transcriber.transcribe(
            self._recording,
            [self._clips[index] for index in chosen],
            self._run.language,
            lambda index, text, words=(): self._take(chosen[index], text, words),
        )
        done = await self._run.attempt("transcription", work, fatal=(EngineUnavailable,))
        if done:
            self._run.warn(*done.notices)
            self.mishaps.update(done.mishaps)

    def _leave_empty(self, silent: Iterable[int]) -> None:
        """Nobody speaks in these clips: an engine could but invent."""
        for index in silent:
            self._take(index, "", ())

    def _take(self, index: int, text: str, words: tuple[Word, ...]) -> None:
        self.texts[index], self.words[index] = text, words
        self._heard(index)
        if text and not words:
            self._untimed.put_nowait(index)

    async def _time(self) -> None:
        """Time the words of what is written, all that waits together, until the last of it."""
        aligner, going_on = self._run.services.aligner, True
        await self._language_told.wait()
        while aligner and going_on:
            waiting = [await self._untimed.get()]
            while not self._untimed.empty():
                waiting.append(self._untimed.get_nowait())
            indices = [index for index in waiting if index is not None]
            going_on = None not in waiting
            for start in range(0, len(indices), MOST_AT_ONCE):
                going_on = await self._align(aligner, indices[start : start + MOST_AT_ONCE]) and going_on

    async def _align(self, aligner: Aligner, indices: Sequence[int]) -> bool:
        """Whether it went well; where it failed, the process has been replaced twice over it: once is enough."""
        language = self._run.language
        if self._gave_up or language is None or not aligner.knows(language):
            return False
        clips, texts = [self._clips[index] for index in indices], [self.texts[index] or "" for index in indices]
        aligned = await self._run.attempt("the alignment", aligner.align(self._recording, clips, texts, language))
        for index, words in zip(indices, aligned or (), strict=False):
            self.words[index] = words
        self._gave_up = aligned is None
        return not self._gave_up


def _telling(clips: Sequence[Clip], spoken: Sequence[int]) -> list[int]:
    """The clips with the most speech, which tell the language best."""
    return sorted(sorted(spoken, key=lambda index: -clips[index].speech_s)[:TELLING_CLIPS])
