"""What each input of a job does, from its JSON to the answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.user_readme.contract import cells, shows
from tests.user_readme.stand import SAYS, TONE, ask, example, recording
from voxtral_serverless.contract import JobInput, parse_job
from voxtral_serverless.errors import InvalidJob

URL = "https://example.com/audio.wav"
SPEAKERS = ["SPEAKER_00", "SPEAKER_01"]


def refusal(**fields: Any) -> str:
    with pytest.raises(InvalidJob) as caught:
        parse_job({"input": fields})
    return caught.value.message


def default(name: str) -> Any:
    return getattr(parse_job({"input": {"audio_url": URL}}), name)


BEYOND = {"audio_headers"}
"""Fields that came later."""


def test_inputs_are_those_of_the_contract() -> None:
    assert set(cells("Inputs")) == set(JobInput.model_fields) - BEYOND


@shows("Inputs: audio_url")
def test_audio_url() -> None:
    assert example().origin.targets == ["/ok"]
    assert refusal().startswith("exactly one of audio_url and audio_base64")
    assert refusal(audio_url=URL, audio_base64="AAAA").startswith("exactly one of audio_url and audio_base64")
    assert "only http and https" in refusal(audio_url="ftp://example.com/audio.wav")


@shows("Inputs: audio_base64")
def test_audio_base64() -> None:
    done = ask({"audio_base64": base64.b64encode(recording()).decode(), "language": "fr"})
    assert done.answer["transcriptions"] == example().answer["transcriptions"]
    assert done.origin.requests == []


@shows("Inputs: task", "Rules: transcribe")
def test_task() -> None:
    assert default("task") == "transcribe_diarized"
    answer = ask({"task": "transcribe", "language": "fr"}).answer
    assert all("speaker" not in entry for entry in answer["transcriptions"])
    assert answer["text"] == " ".join(entry["text"] for entry in answer["transcriptions"])
    assert "text" not in example().answer
    assert "task: " in refusal(audio_url=URL, task="translate")


@shows("Inputs: language")
@pytest.mark.parametrize("written", ["fr", "FR", "fr-FR"])
def test_language(written: str) -> None:
    assert default("language") is None
    assert parse_job({"input": {"audio_url": URL, "language": written}}).language == "fr"


@shows("Inputs: language")
def test_language_reaches_the_engine_and_the_answer() -> None:
    assert set(example().languages) == {"fr"}
    assert example().answer["language"] == "fr"


@shows("Rules: unlisted language")
def test_language_that_voxtral_does_not_list() -> None:
    done = ask({"language": "uk"})
    assert set(done.languages) == {"uk"}
    assert "language_not_listed" in done.codes
    assert done.answer["transcriptions"][0]["text"] == SAYS


@shows("Rules: absent language")
def test_language_that_is_absent() -> None:
    done = ask(sent=recording(seconds=30))
    assert done.languages[:3] == [None, None, None]
    assert set(done.languages[3:]) == {"fr"}
    assert done.answer["language"] == "fr"
    asked = [float(request["seconds"]) for request in done.vllm.requests[1:]]
    assert len(asked) > 3
    assert min(asked[:3]) > max(asked[3:]) - 0.2, "the longest turns, whose clips have margins besides"


@shows("Inputs: summary", "Inputs: sentiment", "Inputs: sentiment_by_speaker", "Inputs: word_timestamps")
def test_keys_are_absent_unless_asked_for() -> None:
    names = ("summary", "sentiment", "sentiment_by_speaker", "word_timestamps")
    assert [default(name) for name in names] == [False] * 4
    answer = ask({"language": "fr"}).answer
    assert not {"summary", "sentiment", "sentiment_by_speaker", "files", "metadata", "text"} & set(answer)
    assert all("words" not in entry for entry in answer["transcriptions"])
    assert ask({"language": "fr", "summary": False}).vllm.prompts == []


@shows("Inputs: summary", "Inputs: sentiment")
def test_summary_and_sentiment_are_each_for_itself() -> None:
    assert "sentiment" not in ask({"language": "fr", "summary": True}).answer
    assert "summary" not in ask({"language": "fr", "sentiment": True}).answer


@shows("Inputs: num_speakers", "Inputs: min_speakers", "Inputs: max_speakers")
@pytest.mark.parametrize(
    ("hints", "speakers"),
    [
        ({"num_speakers": 1}, SPEAKERS[:1]),
        ({"max_speakers": 1}, SPEAKERS[:1]),
        ({"num_speakers": 2}, SPEAKERS),
        ({"min_speakers": 2}, SPEAKERS),
    ],
)
def test_speaker_counts(hints: dict[str, int], speakers: list[str]) -> None:
    assert sorted(set(ask({"language": "fr", **hints}).speakers), key=str) == speakers
    for name in hints:
        assert default(name) is None
        assert f"{name}: " in refusal(audio_url=URL, **{name: 0})


@shows("Inputs: channels", "Rules: order of entries")
def test_channels_of_a_stereo_call_are_its_speakers() -> None:
    done = ask({"language": "fr"}, sent=recording(stereo=True))
    assert default("channels") == "auto"
    assert done.answer["meta"]["channels"]["split"] is True
    assert done.speakers == SPEAKERS
    starts = [entry["start"] for entry in done.answer["transcriptions"]]
    assert starts == sorted(starts)
    swapped = ask({"language": "fr", "channels": "split"}, sent=recording(stereo=True, swapped=True))
    assert swapped.speakers == SPEAKERS[::-1], "channel 1 speaks first"


@shows("Inputs: channels", "Rules: other speaker count")
def test_channels_that_are_mixed() -> None:
    for fields in ({"channels": "mix"}, {"num_speakers": 3}):
        done = ask({"language": "fr", **fields}, sent=recording(stereo=True))
        assert done.answer["meta"]["channels"]["split"] is False
    assert "channels: " in refusal(audio_url=URL, channels="left")


@shows("Inputs: speaker_labels")
def test_speaker_labels() -> None:
    names = {"language": "fr", "speaker_labels": ["Zoé", "Client"]}
    assert ask(names).speakers == ["Zoé", "Client"]
    assert ask(names, sent=recording(stereo=True, swapped=True)).speakers == ["Client", "Zoé"], "by channel"
    assert ask(names | {"speaker_labels": ["Zoé"]}).speakers == ["Zoé", "SPEAKER_01"]


@shows("Inputs: formats")
def test_formats() -> None:
    assert default("formats") == []
    files = ask({"language": "fr", "formats": ["srt", "vtt", "txt", "rttm"]}).answer["files"]
    heads = {
        "srt": "1\n00:00:0",
        "vtt": "WEBVTT\n",
        "txt": "[0:00:00] SPEAKER_00: Bonjour",
        "rttm": "SPEAKER recording 1",
    }
    assert {name: files[name][: len(head)] for name, head in heads.items()} == heads


@shows("Inputs: output_language")
def test_output_language() -> None:
    fields = {"language": "fr", "summary": True}
    assert "Résumé" in example().answer["summary"]
    done = ask({**fields, "output_language": "en"})
    assert "Summary" in done.answer["summary"]
    assert done.answer["language"] == "fr"


@shows("Inputs: sentiment_by_speaker")
def test_sentiment_by_speaker() -> None:
    answer = ask({"language": "fr", "sentiment_by_speaker": True}).answer
    assert [entry["speaker"] for entry in answer["sentiment_by_speaker"]] == SPEAKERS
    for entry in answer["sentiment_by_speaker"]:
        tones = [third["tone"] for third in entry["thirds"] if third["tone"]]
        assert tones
        assert all(tone["quote"]["text"] == TONE["quote"] for tone in tones)


@shows("Inputs: word_timestamps")
def test_word_timestamps() -> None:
    """With an engine that times no words and without an aligner they are null, and the answer says why."""
    done = ask({"language": "fr", "word_timestamps": True})
    assert [entry["words"] for entry in done.answer["transcriptions"]] == [None, None]
    assert "word_timestamps_unavailable" in done.codes


@shows("Inputs: metadata")
def test_metadata() -> None:
    metadata = {"id": [7, None, {"é": 0.1}], "note": "Été"}
    assert ask({"language": "fr", "metadata": metadata}).answer["metadata"] == metadata
