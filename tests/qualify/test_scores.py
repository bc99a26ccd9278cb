"""Coverage, stock pyannote against ours, and a scoring process that fails; the libraries' own counts: tests/engines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_child import alive
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import EngineUnavailable, StageFailed
from voxtral_serverless.qualify.references import ReferenceCall, SaidTurn, SaidWord, SpokenSpan
from voxtral_serverless.qualify.scores import Scorer, Scores, _coverage, find_scoring_python, running_scorer
from voxtral_serverless.qualify.stock import compared
from voxtral_serverless.settings import load_settings

SPEAKING = [SpokenSpan("a", Span(0, 4)), SpokenSpan("b", Span(3, 6)), SpokenSpan("a", Span(8, 8.4))]
SLOW, WRONG = 1.0, 2.0
"""Durations of calls about which it thinks for half a second, and says something else before."""
COUNTING = f"""#!{sys.executable}
import json, os, sys, time
for line in sys.stdin:
    question = json.loads(line)
    if question["duration"] == {SLOW}:
        time.sleep(0.5)
    if question["duration"] == {WRONG}:
        print("nonsense")
    counted = {{"wer": os.getpid(), "cpwer": len(question["hypothesis"]), "tcpwer": len(question["timed"])}}
    print(json.dumps({{**counted, "der": None, "der_collar": None}}), flush=True)
"""
"""In the place of a Python that counts errors: its own number, how many entries have words, how many pieces are timed."""


def entry(start: float, end: float, text: str | None) -> dict[str, Any]:
    return {"speaker": "x", "start": start, "end": end, "text": text}


def coverage(*entries: dict[str, Any]) -> tuple[float, ...]:
    found = _coverage(SPEAKING, {"transcriptions": entries})
    return tuple(found[name] for name in ("speech_s", "covered_s", "speech_strict_s", "covered_strict_s"))


def test_coverage_with_and_without_the_edges() -> None:
    # Speech without its edges: 0.25 to 5.75 s, and 8.15 to 8.25 s.
    assert coverage() == (5.6, 0, 6.4, 0)
    assert coverage(entry(0, 6, "oui"), entry(8, 9, "non")) == (5.6, 5.6, 6.4, 6.4)
    assert coverage(entry(0.25, 4, "oui"), entry(2, 5.75, "oui")) == (5.6, 5.5, 6.4, 5.5)
    assert coverage(entry(0, 5, "oui"), entry(5, 9, None), entry(5, 9, " ")) == (5.6, 4.75, 6.4, 5)


def test_the_same_turns_by_other_names() -> None:
    stock = [(0.0, 2.0, "A"), (1.5, 4.0, "B"), (5.0, 6.0, "A")]
    ours = [(0.0, 2.0004, "x"), (1.5, 4.0, "y"), (5.0, 6.0, "x")]
    assert compared(stock, ours) == {"identical": True, "turns": 3, "different_s": 0.0}
    assert compared(stock, [*ours[:2], (5.0, 6.0, "y")]) == {"identical": False, "turns": 3, "different_s": 2.0}
    assert compared(stock, ours[:2]) == {"identical": False, "turns": 3, "different_s": 1.0}
    assert compared([], ours) == {"identical": False, "turns": 0, "different_s": 5.5}
    assert compared([], []) == {"identical": True, "turns": 0, "different_s": 0.0}


def test_many_speakers() -> None:
    stock = [(float(at), at + 1.0, f"A{at}") for at in range(12)]
    assert compared(stock, [(start, end, f"b{12 - start:g}") for start, end, _ in stock])["identical"]


async def test_a_scoring_process_that_cannot_count_is_told(tmp_path: Path) -> None:
    call = ReferenceCall("call", tmp_path, (), (SpokenSpan("a", Span(0, 1)),))
    answer = {"duration": 2.0, "transcriptions": [entry(0, 1, "oui")]}
    async with running_scorer(sys.executable) as scorer:
        with pytest.raises(StageFailed, match="No module named 'pyannote'"):
            await scorer.score(call, answer, "fr")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of order >&2\n")
    broken.chmod(0o755)
    async with running_scorer(str(broken)) as scorer:
        with pytest.raises(StageFailed, match="out of order"):
            await scorer.score(call, answer, "fr")


@pytest.fixture
def counting(tmp_path: Path) -> str:
    command = tmp_path / "python"
    command.write_text(COUNTING)
    command.chmod(0o755)
    return str(command)


async def asked(scorer: Scorer, turns: tuple[SaidTurn, ...] = (), entries: int = 1, duration: float = 9.0) -> Scores:
    answer = {"duration": duration, "transcriptions": [entry(0, 1, "oui")] * entries}
    return await scorer.score(ReferenceCall("call", Path("call.wav"), turns, ()), answer, "fr")


@pytest.mark.parametrize(
    ("times", "pieces"),
    [
        (((10, 11), (11, 13)), 4),
        (((9.5, 11), (13, 14.5)), 4),
        (((10, 10), (11, 12)), 2),
        (((10, 11), (12, 11.9)), 2),
        (((10, 11), (11, 13.1)), 2),
        (((9.4, 10), (11, 12)), 2),
        (((10, 11), (13, 14.6)), 2),
        ((), 2),
    ],
)
async def test_times_of_words_that_cannot_be_are_not_used(
    counting: str, times: tuple[tuple[float, float], ...], pieces: int
) -> None:
    """Not in any turn of the call: they were made the same way."""

    def turn(start: float, *times: tuple[float, float]) -> SaidTurn:
        words = tuple(SaidWord(Span(*time), "oui") for time in times)
        return SaidTurn("a", Span(start, start + 4), "oui oui", words)

    async with running_scorer(counting) as scorer:
        scores = await asked(scorer, (turn(0, (0, 1), (1, 2)), turn(10, *times)))
    assert scores.tcpwer_errors == pieces


async def process(scorer: Scorer) -> int:
    """The number of the process that answers."""
    number = (await asked(scorer)).wer_errors
    assert number
    return number


async def test_a_scoring_process_that_died_has_a_successor(counting: str) -> None:
    async with running_scorer(counting) as scorer:
        first = await process(scorer)
        assert first == await process(scorer)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(StageFailed, match="counts errors failed"):
            await process(scorer)
        second = await process(scorer)
        assert first != second == await process(scorer)
    assert not alive(first)
    assert not alive(second)


async def test_an_answer_is_never_one_to_an_earlier_question(counting: str) -> None:
    async with running_scorer(counting) as scorer:
        with pytest.raises(StageFailed, match="no answer"):
            await asked(scorer, duration=WRONG)
        assert (await asked(scorer, entries=2)).cpwer_errors == 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await asked(scorer, duration=SLOW)
        assert (await asked(scorer, entries=3)).cpwer_errors == 3


def test_without_the_libraries_it_is_told_what_to_do() -> None:
    with pytest.raises(EngineUnavailable, match=r"-m pip install meeteval"):
        find_scoring_python(load_settings(diarization_python="/bin/false"))
