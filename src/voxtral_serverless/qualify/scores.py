"""How much of an answer is right: errors of words, of speakers and of time, and what speech has no text.

The field's own tools count them, of words that are normal (`normaliser`): meeteval, words whoever said them (WER), words of
the right speaker (cpWER) and within 5 s of where they are said (tcpWER); pyannote.metrics, the DER. They are no part of the
worker and live in another Python, in a process of its own (`_scores`) beside the block. Coverage is counted here.

WER is the smaller of two figures of meeteval, each of them too hard on one kind of answer. ORC-WER gives a turn of the
reference whole to the speaker of the answer whom it fits best: where the answer has half of it from somebody else, right
words count as wrong, and cpWER looks no worse than WER. DI-cpWER gives an entry of the answer whole to the speaker of the
reference whom it fits best: the halves cost nothing, but an entry with words of two speakers does.

tcpWER goes by the times of single words in a call where those of all turns can be true. References often have interpolated
ones, words that last no time or five seconds: then the words of every turn of the call are spread over the turn.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.child import MACHINE, Child, running_child
from voxtral_serverless.diarization.turns import union
from voxtral_serverless.errors import EngineUnavailable, StageFailed
from voxtral_serverless.qualify.normaliser import normalised
from voxtral_serverless.qualify.reference_files import read_rttm
from voxtral_serverless.qualify.references import ReferenceCall, SaidTurn, SpokenSpan
from voxtral_serverless.qualify.units import Reading
from voxtral_serverless.settings import Settings
from voxtral_serverless.torch_parts import find_python
from voxtral_serverless.workspace import workspace

SCRIPT = Path(__file__).with_name("_scores.py")
BOOT = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
"""Runs the script without its folder on the path, whose modules are none of the libraries'."""
NEEDED = ("meeteval", "pyannote.metrics")
LOOK_S = 60.0
"""Longest time for a Python to say what it has."""
COLLAR_S = 0.25
"""What is forgiven at either side of each edge of a stretch of speech."""
SHORT_S = 0.6
"""Of a shorter one only the middle counts, so much of it:"""
MIDDLE_S = 0.1
NOBODY = ""
"""The speaker of all texts that no speaker is told of."""
LONGEST_WORD_S = 2.0
OUTSIDE_S = 0.5
"""So far outside its turn a word may reach."""
UNNAMED = "unknown"
"""How an RTTM of ours names nobody."""


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of speech, and of the mistakes about who speaks; where several speak at once, each of them counts."""

    speech_s: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float


@dataclass(frozen=True)
class Scores:
    """What is right of one answer.

    Attributes:
        words: Of the reference.
        wer_errors: Of words, whoever said them; this and the two below are None without a text in the reference.
        cpwer_errors: The same, where a word of the wrong speaker is none.
        tcpwer_errors: The same, where a word at the wrong time is none.
        der: None where nobody told speakers apart.
        der_collar: The same, with 0.25 s forgiven at either side of each edge.
        speech_s: Seconds in which somebody speaks, without their edges.
        covered_s: How much of that lies in entries that have a text.
        speech_strict_s: Seconds in which somebody speaks.
        covered_strict_s: How much of that lies in entries that have a text.
        turns_without_text: Entries without one.
    """

    words: int
    wer_errors: int | None
    cpwer_errors: int | None
    tcpwer_errors: int | None
    der: DiarizationErrors | None
    der_collar: DiarizationErrors | None
    speech_s: float
    covered_s: float
    speech_strict_s: float
    covered_strict_s: float
    turns_without_text: int
    speakers_found: int

    def to_json(self) -> Reading:
        """The same as plain JSON values."""
        return asdict(self)


class Scorer:
    """Asks the process, which begins with the first question and anew after one that failed. Made by `running_scorer`."""

    def __init__(self, start: Callable[[], AbstractAsyncContextManager[Child]]) -> None:
        self._start = start
        self._child: Child | None = None
        self._running = AsyncExitStack()
        self._turn = asyncio.Lock()

    async def score(self, reference: ReferenceCall, answer: Mapping[str, Any], language: str | None) -> Scores:
        """The scores of `answer`, a job's result as JSON values, in `language` (ISO 639-1).

        Raises:
            StageFailed: the process died, or cannot count.
        """
        timeline = _timeline(answer)
        turns = [turn for turn in reference.turns if normalised(turn.text, language)]
        said = [_segment(turn.speaker, turn.span, normalised(turn.text, language)) for turn in turns]
        question = {
            "reference": said,
            "timed": [piece for turn in turns for piece in _timed(turn, language)] if _have_times(turns) else said,
            "hypothesis": _heard(answer, language),
            "speaking": _triples(reference.speaking),
            "found": None if timeline is None else _triples(timeline),
            "duration": float(answer["duration"]),
        }
        counted = await self._ask(question)
        return Scores(
            words=sum(len(one["words"].split()) for one in said),
            wer_errors=counted["wer"],
            cpwer_errors=counted["cpwer"],
            tcpwer_errors=counted["tcpwer"],
            der=_diarization_errors(counted["der"]),
            der_collar=_diarization_errors(counted["der_collar"]),
            **_coverage(reference.speaking, answer),
            turns_without_text=sum(not _has_text(one) for one in answer["transcriptions"]),
            speakers_found=len({one.speaker for one in timeline or ()} - {UNNAMED}),
        )

    async def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        async with self._turn:
            if self._child is None:
                self._child = await self._running.enter_async_context(self._start())
            try:
                return await _answered(self._child, question)
            except BaseException:
                await self.end()  # what it says next, if anything, would be about this question
                raise

    async def end(self) -> None:
        """End the process, if there is one."""
        self._child = None
        await self._running.aclose()


async def _answered(child: Child, question: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        await child.send(question)
        answer = await child.receive()
    except StageFailed as error:
        raise _failed(child, error.message) from error
    if answer is None:
        raise _failed(child, "it ended")
    if "failed" in answer:
        raise _failed(child, str(answer["failed"]))
    return answer


def _failed(child: Child, reason: str) -> StageFailed:
    told = child.complaints().splitlines()[-1:]
    return StageFailed(f"the process that counts errors failed: {' | '.join([reason, *told])}")


@asynccontextmanager
async def running_scorer(python: str) -> AsyncIterator[Scorer]:
    """What counts errors, in processes of the interpreter `python`, none of which outlives the block."""
    with workspace() as folder:
        environment = {name: value for name in MACHINE if (value := os.environ.get(name))}
        environment |= {"PYANNOTE_METRICS_ENABLED": "0", "MPLCONFIGDIR": str(folder), "TMPDIR": str(folder)}
        command = (python, "-c", BOOT, str(SCRIPT))
        scorer = Scorer(partial(running_child, command, folder=folder, environment=environment))
        try:
            yield scorer
        finally:
            await scorer.end()


def find_scoring_python(settings: Settings) -> str:
    """The Python that has meeteval and pyannote.metrics: our own, or the one that diarizes. Blocks.

    Raises:
        EngineUnavailable: neither has them.
    """
    other = find_python(settings.diarization_python)
    for python in dict.fromkeys(filter(None, (sys.executable, other))):
        if _has_what_is_needed(python):
            return python
    raise EngineUnavailable(
        f"no Python here has {' and '.join(NEEDED)}, which count the errors: run `{other or 'python'} -m pip install "
        "meeteval pyannote.metrics`, where DIARIZATION_PYTHON names the Python that has them, or leave out accuracy."
    )


def _has_what_is_needed(python: str) -> bool:
    look = f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) is None for name in {NEEDED!r}))"
    try:
        return subprocess.run([python, "-c", look], timeout=LOOK_S, check=False, capture_output=True).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _timeline(answer: Mapping[str, Any]) -> list[SpokenSpan] | None:
    """Who speaks when, by the answer: its RTTM, else its entries; None where they name nobody at all."""
    rttm = (answer.get("files") or {}).get("rttm")
    entries = answer["transcriptions"]
    if rttm:
        found = read_rttm(rttm, "the answer's RTTM")
    else:
        found = [SpokenSpan(one.get("speaker") or UNNAMED, Span(one["start"], one["end"])) for one in entries]
    return None if found and all(one.speaker == UNNAMED for one in found) else found


def _triples(spans: Iterable[SpokenSpan]) -> list[tuple[float, float, str]]:
    return [(one.span.start, one.span.end, one.speaker) for one in spans]


def _diarization_errors(counted: Mapping[str, float] | None) -> DiarizationErrors | None:
    return DiarizationErrors(**counted) if counted is not None else None


def _heard(answer: Mapping[str, Any], language: str | None) -> list[dict[str, Any]]:
    """The entries of an answer with words, as segments."""
    spoken = [(one, normalised(one.get("text") or "", language)) for one in answer["transcriptions"]]
    return [
        _segment(one.get("speaker") or NOBODY, Span(one["start"], one["end"]), words) for one, words in spoken if words
    ]


def _have_times(turns: Iterable[SaidTurn]) -> bool:
    """Whether all words of the turns have times that can be true."""
    return all(turn.words and all(_can_be(word.span, turn.span) for word in turn.words) for turn in turns)


def _can_be(word: Span, turn: Span) -> bool:
    """Whether a word of that turn may have been said then."""
    inside = turn.start - OUTSIDE_S <= word.start and word.end <= turn.end + OUTSIDE_S
    return inside and 0 < word.duration <= LONGEST_WORD_S


def _timed(turn: SaidTurn, language: str | None) -> list[dict[str, Any]]:
    """A turn word by word where its words are the same alone as in the turn; else as a whole."""
    alone = [(word.span, normalised(word.text, language)) for word in turn.words]
    whole = normalised(turn.text, language)
    if " ".join(words for _, words in alone if words) != whole:
        return [_segment(turn.speaker, turn.span, whole)]
    return [_segment(turn.speaker, span, words) for span, words in alone if words]


def _segment(speaker: str, span: Span, words: str) -> dict[str, Any]:
    """A segment as meeteval takes it."""
    return {"session_id": "call", "speaker": speaker, "start_time": span.start, "end_time": span.end, "words": words}


def _has_text(entry: Mapping[str, Any]) -> bool:
    return bool((entry.get("text") or "").strip())


def _coverage(speaking: Iterable[SpokenSpan], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of speech, and those of them in entries with a text: all of them, and without what the collar forgives."""
    with_text = union(Span(one["start"], one["end"]) for one in answer["transcriptions"] if _has_text(one))
    stretches = union(one.span for one in speaking)
    inner = [_within_collar(stretch) for stretch in stretches]
    return {
        "speech_s": _seconds(inner),
        "covered_s": _in_common(inner, with_text),
        "speech_strict_s": _seconds(stretches),
        "covered_strict_s": _in_common(stretches, with_text),
    }


def _within_collar(stretch: Span) -> Span:
    if stretch.duration < SHORT_S:
        middle, half = (stretch.start + stretch.end) / 2, min(MIDDLE_S, stretch.duration) / 2
        return Span(middle - half, middle + half)
    return Span(stretch.start + COLLAR_S, stretch.end - COLLAR_S)


def _seconds(spans: Sequence[Span]) -> float:
    return round(sum(span.duration for span in spans), 3)


def _in_common(spans: Sequence[Span], others: Sequence[Span]) -> float:
    return round(sum(span.overlap(other) for span in spans for other in others), 3)
