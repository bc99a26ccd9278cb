"""The embedded transcriber: PocketSphinx with the English model of its wheel, a self-test of the whole path.

English only, no punctuation, far from Voxtral in accuracy (README, "The embedded engine"). The recogniser holds
Python's lock for seconds, so it runs in child processes, one for each core; they end with the job.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.child import Child, running_child
from voxtral_serverless.errors import LanguageNotSupported, StageFailed
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Heard, Transcript
from voxtral_serverless.transcription.words import Word

log = logging.getLogger(__name__)

RECOGNISER = Path(__file__).with_name("_recogniser.py")
MAX_CHILDREN = 4
MAX_DEATHS = 3
"""A recogniser that dies so often in a row, without an answer, is not started again."""
START_S, SLOWEST = 30.0, 10.0
"""A clip may take START_S and SLOWEST times its duration; it takes about a sixth of it."""


class SphinxTranscriber:
    """Transcribes clips with PocketSphinx, those of one job at a time: each takes all cores."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        """The text of each clip of `recording`, None for one that was lost; `heard` is told each as it comes.

        Raises:
            LanguageNotSupported: `language` is not English.
            StageFailed: not one clip could be transcribed.
        """
        if language not in (None, "en"):
            raise LanguageNotSupported(
                f"the embedded engine understands English only, so the text is missing ({language!r} was asked for); "
                "the real engine, Voxtral on vLLM, transcribes it: ENGINE=vllm, see README.md, 'The real engine'."
            )
        texts: list[str | None] = [None] * len(clips)
        waiting = list(reversed(range(len(clips))))

        async def work() -> None:
            deaths = 0
            while waiting and deaths < MAX_DEATHS:
                # A recogniser that dies takes one clip with it; the next clip gets a fresh one.
                deaths += 1
                with suppress(StageFailed):
                    async with _recogniser(recording) as child:
                        while waiting:
                            index = waiting.pop()
                            words = await _recognise(child, clips[index])
                            texts[index] = " ".join(word.text for word in words)
                            heard(index, texts[index] or "", words)
                            deaths = 0

        async with self._alone, asyncio.TaskGroup() as children:
            for _ in range(min(len(clips), os.cpu_count() or 1, MAX_CHILDREN)):
                children.create_task(work())
        if clips and not any(text is not None for text in texts):
            raise StageFailed("the embedded recogniser cannot work on this machine; the worker's log has the details.")
        return Transcript(tuple(texts))


def _recogniser(recording: Recording) -> AbstractAsyncContextManager[Child]:
    files = (str(path) for path in (recording.mix, *recording.planes))
    arguments = (sys.executable, "-I", str(RECOGNISER), *files)
    return running_child(arguments, folder=recording.mix.parent, environment={})


async def _recognise(child: Child, clip: Clip) -> tuple[Word, ...]:
    audio, file = clip.audio, 0 if clip.channel is None else 1 + clip.channel
    first, last = round(audio.start * SAMPLE_RATE), round(audio.end * SAMPLE_RATE)
    await child.send({"file": file, "first": first, "last": last})
    try:
        async with asyncio.timeout(START_S + SLOWEST * audio.duration):
            answer = await child.receive()
    except TimeoutError as error:
        raise StageFailed("the embedded recogniser hung.") from error
    match answer:
        case {"words": list(words)}:
            return tuple(_written(words, audio.start))
        case _:
            log.warning("the embedded recogniser died: %s", child.complaints())
            raise StageFailed("the embedded recogniser died.")


def _written(words: Iterable[tuple[str, float, float]], from_s: float) -> Iterator[Word]:
    """The recogniser's words with a capital in front and on the pronoun I; punctuation is not invented."""
    for index, (word, start, end) in enumerate(words):
        text = re.sub(r"\bi\b", "I", word)
        yield Word(text if index else text[:1].upper() + text[1:], Span(from_s + start, from_s + end))
