"""The example job on the bundled call, measured against its reference: what `make demo` shows."""

import asyncio
import json
from typing import Any

import pytest

from tests.media import CALL, ROOT
from tests.reference import bundled_call, word_error_rate
from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.contract import JobResult, job_fields, parse_options
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.services import embedded_services
from voxtral_serverless.settings import load_settings

REFERENCE = bundled_call()
_answers: dict[bool, JobResult] = {}


def answer(hint: bool) -> JobResult:
    """The call's answer, made once with and once without its number of speakers."""
    if hint not in _answers:
        job: dict[str, Any] = job_fields(json.loads((ROOT / "examples" / "call.json").read_text()))
        del job["audio_url"]
        if not hint:
            del job["num_speakers"]
        services = embedded_services(load_settings(engine="embedded"))
        _answers[hint] = asyncio.run(process(parse_options(job), LocalAudio(CALL), services, NoEvents()))
    return _answers[hint]


@pytest.mark.parametrize("hint", [True, False])
def test_every_turn_has_the_right_speaker(hint: bool) -> None:
    turns = answer(hint).transcriptions
    assert len(turns) == len(REFERENCE) >= 10
    pairs = {(turn.speaker, spoken.speaker) for turn, spoken in zip(turns, REFERENCE, strict=True)}
    assert pairs == {("SPEAKER_00", "agent"), ("SPEAKER_01", "customer")}


@pytest.mark.parametrize("hint", [True, False])
def test_edges_of_turns_are_near(hint: bool) -> None:
    for turn, spoken in zip(answer(hint).transcriptions, REFERENCE, strict=True):
        assert turn.start == pytest.approx(spoken.start, abs=0.5)
        assert turn.end == pytest.approx(spoken.end, abs=0.5)


def test_words_are_right() -> None:
    texts = [turn.text or "" for turn in answer(hint=True).transcriptions]
    assert word_error_rate([spoken.text for spoken in REFERENCE], texts) <= 0.10


def test_summary_is_made_of_its_sentences() -> None:
    summary = answer(hint=True).summary or ""
    texts = {turn.text for turn in answer(hint=True).transcriptions}
    quoted = summary.removeprefix("Summary: ").removesuffix(".").split(". ")
    assert 2 <= len(quoted) <= 8
    assert set(quoted) <= texts


def test_sentiment_agrees_with_itself() -> None:
    sentiment = answer(hint=True).sentiment
    assert sentiment is not None
    assert (sentiment.sentiment, sentiment.satisfaction_client) == ("positif", "satisfait")
    assert "gratitude" in sentiment.emotions


def test_answer_says_that_the_embedded_engine_made_it() -> None:
    meta = answer(hint=True).meta
    assert meta.engine == "embedded"
    assert meta.warnings[0].code == "embedded_engine"


def test_bundled_recording_is_small() -> None:
    assert CALL.stat().st_size < 500_000
