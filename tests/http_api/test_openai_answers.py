"""Each format of OpenAI's, from the output of a job."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionDiarizedSegment, TranscriptionVerbose

from voxtral_serverless.http_api.openai_answers import Format, answered, diarized_segment
from voxtral_serverless.http_api.openai_schema import DiarizedTranscription, TranscriptionText, VerboseTranscription

TURNS: list[dict[str, Any]] = [
    {
        "speaker": "SPEAKER_00", "start": 0.5, "end": 1.25, "text": "Good morning.",
        "words": [
            {"word": "Good", "start": 0.5, "end": 0.8, "score": 0.9},
            {"word": "morning.", "start": 0.8, "end": 1.25, "score": None},
        ],
    },
    {"speaker": "SPEAKER_01", "start": 1.5, "end": 2.0, "text": None, "words": None},
    {"speaker": "SPEAKER_01", "start": 2.0, "end": 3.0, "text": "Hello!", "words": None},
]  # fmt: skip
OUTPUT: dict[str, Any] = {
    "language": "en", "duration": 3.5, "transcriptions": TURNS, "files": {"srt": "1\n…", "vtt": None}
}  # fmt: skip
TEXT = "Good morning. Hello!"
SILENCE: dict[str, Any] = {
    "language": None,
    "duration": 2.0,
    "transcriptions": [],
    "files": {"srt": "", "vtt": "WEBVTT\n"},
}
USAGE = {"type": "duration", "seconds": 3.5}


def objects(response_format: Format, granularities: set[str], output: dict[str, Any] = OUTPUT) -> dict[str, Any]:
    """The answer, where that is an object."""
    answer = answered(output, response_format, granularities)
    assert isinstance(answer, dict)
    return answer


def test_json_has_what_could_be_heard() -> None:
    answer = objects("json", set())
    assert answer == {"text": TEXT, "usage": USAGE}
    assert Transcription.model_validate(answer, strict=True).text == TEXT
    assert TranscriptionText.model_validate(answer, strict=True)


def test_texts_are_texts() -> None:
    assert answered(OUTPUT, "text", set()) == f"{TEXT}\n"
    assert answered(OUTPUT, "srt", set()) == "1\n…"
    assert answered(OUTPUT, "vtt", set()) == "", "it could not be made"


@pytest.mark.parametrize(
    ("granularities", "keys"),
    [({"segment"}, {"segments"}), ({"word"}, {"words"}), ({"segment", "word"}, {"segments", "words"})],
)
def test_verbose_json_has_what_is_asked_for(granularities: set[str], keys: set[str]) -> None:
    answer = objects("verbose_json", granularities)
    assert answer.keys() & {"segments", "words"} == keys
    assert {name: answer[name] for name in ("task", "language", "duration", "text", "usage")} == {
        "task": "transcribe", "language": "en", "duration": 3.5, "text": TEXT, "usage": USAGE
    }  # fmt: skip
    assert VerboseTranscription.model_validate(answer, strict=True)


def test_words_are_those_that_have_times() -> None:
    assert objects("verbose_json", {"word"})["words"] == [
        {"word": "Good", "start": 0.5, "end": 0.8}, {"word": "morning.", "start": 0.8, "end": 1.25}
    ]  # fmt: skip
    assert TranscriptionVerbose.model_validate(objects("verbose_json", {"word"}), strict=True)


def test_a_segment_has_what_whisper_has() -> None:
    first, second = objects("verbose_json", {"segment"})["segments"]
    assert first == {
        "id": 0, "seek": 50, "start": 0.5, "end": 1.25, "text": "Good morning.", "tokens": [], "temperature": 0.0,
        "avg_logprob": None, "compression_ratio": first["compression_ratio"], "no_speech_prob": None,
    }  # fmt: skip
    assert (second["id"], second["seek"], second["text"]) == (1, 200, "Hello!")


def test_what_is_said_again_and_again_is_told_by_its_ratio() -> None:
    loop = TURNS[0] | {"text": "and so on " * 50}
    (segment,) = objects("verbose_json", {"segment"}, OUTPUT | {"transcriptions": [loop]})["segments"]
    assert segment["compression_ratio"] > 2.4, "by which Whisper's clients find loops"
    assert objects("verbose_json", {"segment"})["segments"][0]["compression_ratio"] < 2.4


def test_diarized_json_has_speakers() -> None:
    answer = objects("diarized_json", set())
    assert TranscriptionDiarized.model_validate(answer, strict=True)
    assert DiarizedTranscription.model_validate(answer, strict=True)
    assert [(one["id"], one["speaker"], one["start"], one["end"], one["text"]) for one in answer["segments"]] == [
        ("seg_000", "A", 0.5, 1.25, "Good morning."), ("seg_001", "B", 2.0, 3.0, "Hello!")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("speaker", "letter"),
    [
        ("SPEAKER_00", "A"), ("SPEAKER_25", "Z"), ("SPEAKER_26", "AA"), ("SPEAKER_702", "AAA"),
        ("Robert", "Robert"), ("SPEAKER_X", "SPEAKER_X"), (None, "unknown"),
    ],
)  # fmt: skip
def test_speakers_are_letters(speaker: str | None, letter: str) -> None:
    segment = diarized_segment(7, TURNS[0] | {"speaker": speaker})
    assert segment["speaker"] == letter
    assert segment["id"] == "seg_007"
    assert TranscriptionDiarizedSegment.model_validate(segment, strict=True)


def test_silence_is_no_fault() -> None:
    assert objects("json", set(), SILENCE)["text"] == ""
    assert answered(SILENCE, "text", set()) == "\n"
    assert answered(SILENCE, "vtt", set()) == "WEBVTT\n"
    assert objects("diarized_json", set(), SILENCE)["segments"] == []
    verbose = objects("verbose_json", {"segment", "word"}, SILENCE)
    assert (verbose["language"], verbose["segments"], verbose["words"]) == ("", [], [])
