"""The rules of the contract: what is refused and how, what an answer holds, and what becomes of what fails."""

from __future__ import annotations

import io
import re
import wave
from typing import Any

import pytest

from tests.fakes.vllm_server import Manners
from tests.reference import bundled_call
from tests.user_readme.contract import shows
from tests.user_readme.stand import SAYS, VERDICT, ask, example, recording
from voxtral_serverless.contract import parse_job
from voxtral_serverless.errors import InvalidJob, public_error

FRENCH = {"language": "fr"}
JUDGED = FRENCH | {"sentiment": True}


def refusal(**fields: Any) -> InvalidJob:
    with pytest.raises(InvalidJob) as caught:
        parse_job({"input": fields})
    return caught.value


def delayed(seconds: int) -> bytes:
    """The recording after so much silence."""
    with wave.open(io.BytesIO(recording())) as reader:
        samples, changed = reader.readframes(reader.getnframes()), io.BytesIO()
    with wave.open(changed, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(bytes(2 * 16_000 * seconds) + samples)
    return changed.getvalue()


@shows("Rules: unknown field")
def test_unknown_field_names_the_nearest_known_one() -> None:
    said = str(refusal(audio_url="https://example.com/audio.wav", langage="fr", with_summary=True))
    assert "did you mean 'language'?" in said
    assert "did you mean 'summary'?" in said


@shows("Rules: all errors", "Errors: shape")
def test_all_errors_of_a_job_are_told_at_once() -> None:
    error = public_error(refusal(langage="fr", task="translate", num_speakers=0, summary="oui"))
    for part in ("'langage'", "task: ", "num_speakers: ", "summary: ", "audio_url and audio_base64"):
        assert part in str(error)
    assert re.fullmatch(r"[a-z][a-z_]+: \S.+\.", str(error), re.DOTALL)


@shows("Rules: order of appearance")
def test_who_speaks_first_is_speaker_00() -> None:
    assert example().speakers == ["SPEAKER_00", "SPEAKER_01"]


@shows("Rules: times")
def test_times_are_seconds_from_the_start_of_the_file() -> None:
    spoken = bundled_call()[:2]
    for entry, turn in zip(example().answer["transcriptions"], spoken, strict=True):
        assert entry["start"] == pytest.approx(turn.start, abs=0.5)
        assert entry["end"] == pytest.approx(turn.end, abs=0.5)
        assert [round(entry[edge], 2) for edge in ("start", "end")] == [entry["start"], entry["end"]]


@shows("Rules: times")
def test_silence_before_it_moves_every_time_by_as_much() -> None:
    later = ask(FRENCH, sent=delayed(7)).answer
    assert later["duration"] == 19.0
    for entry, moved in zip(example().answer["transcriptions"], later["transcriptions"], strict=True):
        assert moved["start"] - entry["start"] == pytest.approx(7, abs=0.1)
        assert moved["end"] - entry["end"] == pytest.approx(7, abs=0.1)


@shows("Rules: one entry per turn")
def test_clips_of_a_turn_are_one_entry() -> None:
    done = ask(FRENCH, {"MAX_CLIP_S": "5"})
    assert len(done.languages) > 2
    assert len(done.answer["transcriptions"]) == 2
    assert done.answer["transcriptions"][0]["text"] == f"{SAYS} {SAYS}"


@shows("Rules: sentiment labels", "Rules: satisfaction labels", "Rules: score")
@pytest.mark.parametrize(
    ("label", "satisfaction"),
    [("positif", "satisfait"), ("neutre", "neutre"), ("négatif", "insatisfait"), ("mixte", "neutre"), ("neutre", None)],
)
def test_labels(label: str, satisfaction: str | None) -> None:
    verdict: dict[str, Any] = {"sentiment": label, "satisfaction_client": satisfaction, "emotions": [], "score": 1}
    assert ask(JUDGED, verdict=verdict).answer["sentiment"] == verdict


@shows("Rules: sentiment labels", "Rules: satisfaction labels", "Rules: score", "Rules: emotions")
@pytest.mark.parametrize(
    "verdict",
    [
        {"sentiment": "positive"},
        {"satisfaction_client": "ravi"},
        {"score": 1.01},
        {"score": -0.1},
        {"emotions": ["nostalgie"]},
        {"emotions": ["joie", "colère", "surprise", "confusion", "tristesse", "intérêt"]},
    ],
)
def test_what_is_on_no_list_is_never_answered(verdict: dict[str, Any]) -> None:
    done = ask(JUDGED, verdict=verdict)
    assert done.answer["sentiment"] is None
    assert "answer_unusable" in done.codes


@shows("Rules: emotions")
def test_five_emotions() -> None:
    emotions = ["joie", "colère", "surprise", "confusion", "tristesse"]
    assert ask(JUDGED, verdict={"emotions": emotions}).answer["sentiment"]["emotions"] == emotions


@shows("Rules: language of labels", "Environment: LABEL_LANGUAGE")
def test_labels_do_not_change_with_the_language_of_a_call() -> None:
    assert ask({"language": "en", "sentiment": True}).answer["sentiment"] == VERDICT
    english = ask(JUDGED, {"LABEL_LANGUAGE": "en"}).answer["sentiment"]
    assert english == {
        "sentiment": "positive", "score": 0.75, "emotions": ["satisfaction", "politeness"], "satisfaction_client": "satisfied",
    }  # fmt: skip


@shows("Rules: failed is null", "Errors: partial success")
def test_failed_analysis_is_null_beside_the_transcript() -> None:
    fields = FRENCH | {"summary": True, "sentiment": True, "sentiment_by_speaker": True}
    done = ask(fields, manners=Manners(says=SAYS, chat_refuses=400))
    assert [done.answer[name] for name in ("summary", "sentiment", "sentiment_by_speaker")] == [None] * 3
    assert [entry["text"] for entry in done.answer["transcriptions"]] == [SAYS, SAYS]
    assert done.codes


@shows("Rules: failed is null", "Errors: partial success")
def test_lost_turn_is_null_beside_the_others() -> None:
    sent = recording(seconds=30)
    lengths = [round(float(request["seconds"])) for request in ask(FRENCH, sent=sent).vllm.requests[1:]]
    alone = next(length for length in lengths if lengths.count(length) == 1)
    done = ask(FRENCH, sent=sent, manners=Manners(says=SAYS, refuses=400, only=alone))
    texts = [entry["text"] for entry in done.answer["transcriptions"]]
    assert (texts.count(None), texts.count(SAYS)) == (1, len(lengths) - 1)
    assert "turns_lost" in done.codes


@shows("Rules: failed is null", "Errors: partial success", "Environment: DIARIZER")
def test_speakers_that_nobody_told_apart_are_null() -> None:
    done = ask(FRENCH, {"DIARIZER": "none"})
    assert set(done.speakers) == {None}
    assert all(entry["text"] for entry in done.answer["transcriptions"])
    assert "diarization_off" in done.codes
