"""The real meeteval and the real pyannote: scores counted by hand, and stock pyannote beside ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.engines.test_pyannote import recording
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.models import find_pipeline
from voxtral_serverless.qualify.references import ReferenceCall, SaidTurn, SaidWord, SpokenSpan
from voxtral_serverless.qualify.scores import DiarizationErrors, Scorer, Scores, find_scoring_python, running_scorer
from voxtral_serverless.qualify.stock import beside_stock
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import running_torch_parts

pytestmark = pytest.mark.asyncio(loop_scope="session")

TURNS = (
    ("a", 0, 4, "Bonjour, j'ai 20 ans."), ("b", 4, 8, "Oui, où êtes-vous ?"), ("a", 8, 12, "Euh... à la maison."),
)  # fmt: skip
"""Five words, four, and three with a hesitation that is none: twelve."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scorer(diarization_python: str) -> AsyncIterator[Scorer]:
    python = find_scoring_python(load_settings(diarization_python=diarization_python))
    async with running_scorer(python) as scorer:
        yield scorer


def reference(*, text: bool = True) -> ReferenceCall:
    turns = tuple(SaidTurn(who, Span(start, end), said) for who, start, end, said in TURNS) if text else ()
    speaking = tuple(SpokenSpan(who, Span(start, end)) for who, start, end, _ in TURNS)
    return ReferenceCall("call", Path("call.wav"), turns, speaking)


def answer(*entries: tuple[str | None, float, float, str | None], rttm: str | None = None) -> dict[str, Any]:
    keys = ("speaker", "start", "end", "text")
    files = {} if rttm is None else {"files": {"rttm": rttm}}
    return {"duration": 13.0, "transcriptions": [dict(zip(keys, entry, strict=True)) for entry in entries], **files}


RIGHT = (
    ("S1", 0.0, 4.0, "bonjour j'ai vingt ans"), ("S2", 4.0, 8.0, "Oui. Où êtes vous"), ("S1", 8.0, 12.0, "à la maison, hum"),
)  # fmt: skip


async def scored(scorer: Scorer, *entries: tuple[str | None, float, float, str | None], **options: Any) -> Scores:
    return await scorer.score(reference(), answer(*entries, **options), "fr")


def errors(scores: Scores) -> tuple[int | None, int | None, int | None]:
    return scores.wer_errors, scores.cpwer_errors, scores.tcpwer_errors


async def test_what_is_right_has_no_errors(scorer: Scorer) -> None:
    scores = await scored(scorer, *RIGHT)
    assert (scores.words, errors(scores), scores.speakers_found) == (12, (0, 0, 0), 2)
    assert scores.der == DiarizationErrors(12, 0, 0, 0)
    assert scores.der_collar is not None
    # 0.25 s at both sides of each edge: of the four edges, two lie inside the speech and two at its ends.
    assert scores.der_collar.speech_s == pytest.approx(10.5)
    assert (scores.covered_strict_s, scores.covered_s, scores.speech_s) == (12, 11.5, 11.5)
    assert scores.to_json()["der"] == {"speech_s": 12, "missed_s": 0, "false_alarm_s": 0, "confusion_s": 0}


async def test_a_turn_of_the_wrong_speaker(scorer: Scorer) -> None:
    """Its three words are missing with one and too many with the other."""
    scores = await scored(scorer, *RIGHT[:2], ("S2", 8.0, 12.0, "à la maison"))
    assert errors(scores) == (0, 6, 6)
    assert scores.der == DiarizationErrors(12, 0, 0, 4)


async def test_a_turn_that_goes_on_by_another_speaker(scorer: Scorer) -> None:
    """All words are right. "vingt ans" is missing with one and too much with the other."""
    split = (("S1", 0.0, 2.0, "bonjour j'ai"), ("S2", 2.0, 4.0, "vingt ans"), *RIGHT[1:])
    assert errors(await scored(scorer, *split)) == (0, 4, 4)


async def test_two_turns_in_an_entry(scorer: Scorer) -> None:
    """All words are right. "à la maison" is missing with one and too much with the other."""
    joined = (RIGHT[0], ("S2", 4.0, 12.0, "Oui. Où êtes-vous ? à la maison"))
    assert errors(await scored(scorer, *joined)) == (0, 6, 6)


async def test_a_missing_turn(scorer: Scorer) -> None:
    scores = await scored(scorer, RIGHT[0], RIGHT[2], ("S2", 4.0, 8.0, None))
    assert (errors(scores), scores.turns_without_text) == ((4, 4, 4), 1)
    assert scores.der == DiarizationErrors(12, 0, 0, 0), "somebody speaks there, by the answer"
    assert scores.covered_strict_s == 8


async def test_an_extra_word_and_a_wrong_one(scorer: Scorer) -> None:
    assert errors(await scored(scorer, *RIGHT[:2], ("S1", 8.0, 12.0, "à la bonne raison"))) == (2, 2, 2)


async def test_words_at_the_wrong_time(scorer: Scorer) -> None:
    """All words in a turn of nine seconds before: a hit may be 5 s off, no more."""
    turns = tuple(
        SaidTurn("a", Span(at, at + 1), text, (SaidWord(Span(at, at + 1), text),)) for at, text in ((0, "un"), (30, "deux"))
    )  # fmt: skip
    call = ReferenceCall("call", Path("call.wav"), turns, ())
    scores = await scorer.score(
        call, {**answer(("S", 0.0, 1.0, "un"), ("S", 20.0, 21.0, "deux")), "duration": 31}, "fr"
    )
    assert errors(scores) == (0, 0, 2)


async def test_words_at_times_that_cannot_be(scorer: Scorer) -> None:
    """Of a turn of 14 s, all words in its first moment; nobody could say them there."""
    words = tuple(SaidWord(Span(0.0, lasts), text) for text, lasts in (("un", 0.5), ("deux", 0.0)))
    call = ReferenceCall("call", Path("call.wav"), (SaidTurn("a", Span(0, 14), "un deux", words),), ())
    scores = await scorer.score(
        call, {**answer(("S", 0.0, 1.0, "un"), ("S", 11.0, 12.0, "deux")), "duration": 14}, "fr"
    )
    assert errors(scores) == (0, 0, 0)


async def test_a_shifted_timeline(scorer: Scorer) -> None:
    """One second late: a second of silence missed, two of the wrong speaker, one after the end."""
    rttm = "".join(
        f"SPEAKER recording 1 {at} 4 <NA> <NA> {who} <NA> <NA>\n" for at, who in ((1, "x"), (5, "y"), (9, "x"))
    )
    scores = await scored(scorer, *RIGHT, rttm=rttm)
    assert scores.der == DiarizationErrors(12, 1, 1, 2)
    assert errors(scores) == (0, 0, 0)


async def test_nobody_is_named(scorer: Scorer) -> None:
    scores = await scored(scorer, *((None, *entry[1:]) for entry in RIGHT))
    assert (scores.der, scores.der_collar, scores.speakers_found) == (None, None, 0)
    assert scores.cpwer_errors == 8, "the four words of the other are missing, and too many"


async def test_nothing_is_heard_and_nothing_is_known(scorer: Scorer) -> None:
    scores = await scored(scorer)
    assert (errors(scores), scores.der) == ((12, 12, 12), DiarizationErrors(12, 12, 0, 0))
    scores = await scorer.score(reference(text=False), answer(*RIGHT), "fr")
    assert (scores.words, errors(scores)) == (0, (None, None, None))


async def test_more_speakers_than_there_are(scorer: Scorer) -> None:
    scores = await scored(scorer, *RIGHT, ("S3", 12.0, 13.0, "merci"))
    assert (errors(scores), scores.speakers_found) == ((1, 1, 1), 3)
    assert scores.der == DiarizationErrors(12, 0, 1, 0)


@pytest.mark.parametrize("style", ["ahc-toy", "vbx-toy"])
async def test_stock_finds_the_turns_that_ours_finds(
    toy_python: str, toy_pipelines: Path, tmp_path: Path, style: str
) -> None:
    settings = load_settings(diarization_python=toy_python, diarization_model=str(toy_pipelines / style))
    async with running_torch_parts(settings, diarizes=True, aligns=False) as parts:
        await parts.ready()
        assert parts.diarizer
        pipeline = find_pipeline(settings)
        found = await beside_stock(toy_python, pipeline, 0.1, parts.diarizer, recording(tmp_path))
    assert (found["identical"], found["different_s"]) == (True, 0.0)
    assert isinstance(found["turns"], int)
    assert found["turns"] >= 5
