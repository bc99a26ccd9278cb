import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxtral_serverless.contract import (
    ENGLISH_LABELS,
    JobInput,
    JobOptions,
    JobResult,
    Meta,
    Transcription,
    parse_job,
    parse_options,
)
from voxtral_serverless.errors import InvalidJob, Notice

URL = "https://example.com/audio.wav"


def job(**fields: Any) -> dict[str, Any]:
    return {"input": {"audio_url": URL, **fields}}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def fault(payload: object) -> str:
    with pytest.raises(InvalidJob) as caught:
        parse_job(payload)
    return caught.value.message


def test_example_of_the_readme() -> None:
    parsed = parse_job(job(task="transcribe_diarized", language="fr", summary=True, sentiment=True))
    assert (parsed.task, parsed.language, parsed.summary, parsed.sentiment) == (
        "transcribe_diarized", "fr", True, True,
    )  # fmt: skip


def test_defaults() -> None:
    parsed = parse_job(job())
    assert parsed.model_dump() == {
        "audio_url": URL, "audio_base64": None, "task": "transcribe_diarized", "language": None, "summary": False,
        "sentiment": False, "num_speakers": None, "min_speakers": None, "max_speakers": None, "channels": "auto",
        "speaker_labels": [], "formats": [], "output_language": None, "sentiment_by_speaker": False,
        "word_timestamps": False, "metadata": None, "audio_headers": None,
    }  # fmt: skip


@pytest.mark.parametrize("given_code", ["fr", "FR", "fr-FR", "fr_CA", "Fr-ca"])
def test_language_is_normalised(given_code: str) -> None:
    assert parse_job(job(language=given_code)).language == "fr"


@pytest.mark.parametrize("code", ["xx", "french", "", "f", "fra", "12", "-"])
def test_language_that_is_none(code: str) -> None:
    assert "ISO 639-1" in fault(job(language=code))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (None, '"input"'),
        ([], '"input"'),
        ({}, '"input"'),
        ({"input": []}, '"input"'),
        ({"input": {}}, "neither is given"),
        ({"input": {"audio_url": URL, "audio_base64": "AAAA"}}, "both are given"),
        (job(langage="fr"), "did you mean 'language'?"),
        (job(num_speaker=2), "did you mean 'num_speakers'?"),
        (job(zzz=1), "known are task, "),
        (job(summary="yes"), "summary: "),
        (job(num_speakers="2"), "num_speakers: "),
        (job(num_speakers=0), "num_speakers: input should be greater than or equal to 1"),
        (job(num_speakers=True), "num_speakers: "),
        (job(min_speakers=3, max_speakers=2), "min_speakers (3) is greater than max_speakers (2)"),
        (job(num_speakers=5, max_speakers=2), "num_speakers (5) lies outside"),
        (job(task="translate"), "task: "),
        (job(channels="left"), "channels: "),
        (job(formats=["doc"]), "formats.0: "),
        (job(formats="srt"), "formats: "),
        (job(speaker_labels=[" "]), "speaker_labels: a name is empty"),
        (job(speaker_labels=["a\x00b"]), "speaker_labels: a name is empty or"),
        (job(speaker_labels=["A", " A"]), "twice"),
        (job(speaker_labels=["SPEAKER_01"]), "given by the worker"),
        (job(metadata={"a": [float("nan")]}), "metadata: holds NaN"),
        (job(metadata={"a": "\ud800"}), "half a character"),
        (job(metadata=[1]), "metadata: "),
        ({"input": {"audio_url": "ftp://example.com/a.wav"}}, "only http and https"),
        ({"input": {"audio_url": "/etc/passwd"}}, "only http and https"),
        ({"input": {"audio_url": "file:///etc/passwd"}}, "only http and https"),
        ({"input": {"audio_url": "http://[::1"}}, "not a valid URL"),
        ({"input": {"audio_url": "http://example.com:99999/"}}, "not a valid URL"),
        ({"input": {"audio_url": "http://a..b/x"}}, "not a valid URL"),
        ({"input": {"audio_base64": "not base64!"}}, "not valid base64"),
        ({"input": {"audio_base64": "AAA"}}, "not valid base64"),
        ({"input": {"audio_url": f"https://example.com/{'a' * 9000}"}}, "longer than 8192 characters"),
        ({"input": {"audio_base64": "AAAA", "audio_headers": {}}}, "audio_headers go with audio_url only"),
        (job(audio_headers=["A: b"]), "audio_headers: an object of strings"),
        (job(audio_headers={"A": 1}), "audio_headers: an object of strings"),
        (job(audio_headers={"a b": "1"}), "audio_headers: a name is none"),
        (job(audio_headers={"A": "1", "a": "2"}), "audio_headers: a name is there twice"),
        (job(audio_headers={"A": "1\r\nB: 2"}), "audio_headers: a value holds something other"),
        (job(audio_headers={"A": "é"}), "audio_headers: a value holds something other"),
        (job(audio_headers={"A": "x" * 20_000}), "audio_headers: more than 16 headers, or 16384 characters"),
        (job(audio_headers={f"A{number}": "1" for number in range(17)}), "audio_headers: more than 16 headers"),
        (job(metadata={"a": "x" * 100_000}), "metadata: more than 100000 bytes"),
        (job(metadata=nested(33)), "metadata: nested more than 32 deep"),
        (job(metadata=nested(5000)), "metadata"),
    ],
)
def test_fault_is_named(payload: object, said: str) -> None:
    assert said in fault(payload)


def test_all_faults_are_told_at_once() -> None:
    message = fault({"input": {"langage": "fr", "language": "xx", "min_speakers": 3, "max_speakers": 1, "summary": 1}})
    for part in ("'langage'", "'xx'", "greater than max_speakers", "summary", "neither is given"):
        assert part in message


def test_base64_in_lines_and_as_data_url() -> None:
    sound = bytes(range(256))
    lines = base64.encodebytes(sound).decode()
    for text in (lines, f"data:audio/wav;base64,{lines}"):
        assert parse_job({"input": {"audio_base64": text}}).inline_audio() == sound


def test_null_counts_as_absent() -> None:
    parsed = parse_job(job(summary=None, language=None, num_speakers=None), {"language": "fr", "num_speakers": 2})
    assert (parsed.summary, parsed.language, parsed.num_speakers) == (False, "fr", 2)
    assert "'zzz'" in fault(job(zzz=None))


def test_names_are_put_on_one_line() -> None:
    assert parse_job(job(speaker_labels=["Mme\n\n9\t Petit"])).speaker_labels == ["Mme 9 Petit"]


def test_faults_of_a_huge_job_stay_readable() -> None:
    message = fault(job(**{f"field{number}": 1 for number in range(20_000)}))
    assert message.endswith("and 19980 more.")
    assert len(message) < 10_000


def test_count_of_the_job_hides_the_counts_of_the_defaults() -> None:
    parsed = parse_job(job(max_speakers=1), {"num_speakers": 2, "language": "fr"})
    assert (parsed.num_speakers, parsed.max_speakers, parsed.language) == (None, 1, "fr")


def test_defaults_of_the_endpoint_go_under_the_job() -> None:
    parsed = parse_job(job(language="en"), {"language": "fr", "num_speakers": 2})
    assert (parsed.language, parsed.num_speakers) == ("en", 2)


def test_options_have_no_recording() -> None:
    assert parse_options({"summary": True}).summary
    with pytest.raises(InvalidJob, match="audio_url"):
        parse_options({"audio_url": URL})


def test_metadata_within_its_bounds_is_untouched() -> None:
    assert parse_job(job(metadata=nested(32))).metadata == nested(32)
    assert parse_job(job(metadata={"a": [[1], "é" * 40_000]})).metadata == {"a": [[1], "é" * 40_000]}


@pytest.mark.parametrize(
    "name", ["Host", "range", "If-Range", "ACCEPT-ENCODING", "Content-Length", "Connection", "Transfer-Encoding", "TE"]
)
def test_header_of_the_connection_is_refused(name: str) -> None:
    assert f"audio_headers: {name}: the worker's own" in fault(job(audio_headers={name: "x"}))


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer cAnArY"}, {"cAnArY\n": "cAnArY"}, {"A": ["cAnArY"]}])
def test_header_is_told_to_nobody(headers: dict[str, Any]) -> None:
    if "Authorization" not in headers:
        assert "cAnArY" not in fault(job(audio_headers=headers))
        return
    parsed = parse_job(job(audio_headers=headers))
    assert "cAnArY" not in repr(parsed) + str(parsed) + parsed.model_dump_json() + str(parsed.model_dump())
    assert parsed.audio_headers is not None
    assert parsed.audio_headers["Authorization"].get_secret_value() == "Bearer cAnArY"


def test_defaults_of_the_endpoint_hold_no_headers() -> None:
    with pytest.raises(InvalidJob, match="audio_headers"):
        parse_options({}, {"audio_headers": {"Authorization": "Bearer x"}})


header_names = st.sampled_from(["Authorization", "X-Key", "Host", "rAnGe", "a b"]) | st.text(max_size=12)
header_values = (
    st.text(max_size=20) | st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=20) | st.none()
)


@settings(max_examples=1000)
@given(st.dictionaries(header_names, header_values, max_size=18) | st.text() | st.lists(header_values))
def test_any_headers_can_be_sent_or_are_refused(headers: Any) -> None:
    try:
        kept = parse_job(job(audio_headers=headers)).audio_headers or {}
    except InvalidJob:
        assert "audio_headers: " in fault(job(audio_headers=headers))
        return
    for name, value in kept.items():
        line = f"{name}: {value.get_secret_value()}"
        assert line.isascii() and line.isprintable() and line.partition(": ")[0].isprintable()  # noqa: PT018
        assert name.lower() not in ("host", "range", "connection", "content-length")


names = st.sampled_from([*JobInput.model_fields, "langage", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.text(max_size=8) | st.sampled_from(["fr", URL, "AAAA", "mix"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=1000)
@given(st.dictionaries(names, values, max_size=8))
def test_any_job_parses_or_is_an_invalid_job(fields: dict[str, Any]) -> None:
    try:
        parsed = parse_job({"input": fields})
    except InvalidJob:
        return
    assert (parsed.audio_url is None) != (parsed.audio_base64 is None)
    if parsed.min_speakers and parsed.max_speakers:
        assert parsed.min_speakers <= parsed.max_speakers


@given(values)
def test_any_payload_parses_or_is_an_invalid_job(payload: object) -> None:
    with pytest.raises(InvalidJob):
        parse_job(payload)


def result(**fields: Any) -> JobResult:
    meta = Meta(version="1", engine="e", models={}, channels={}, timings={}, warnings=[Notice("a", "b")], quality={})
    needed = {"task": "transcribe_diarized", "language": "fr", "duration": 1.0, "transcriptions": [], "meta": meta}
    return JobResult(**{**needed, **fields})


def test_answer_has_the_keys_that_were_asked_for_and_no_others() -> None:
    assert set(result().to_json()) == {"task", "language", "duration", "transcriptions", "meta"}
    assert result(summary=None).to_json()["summary"] is None


def test_speaker_is_null_where_it_failed_and_absent_where_nobody_asked() -> None:
    turns = [Transcription(speaker=None, start=0, end=1, text="a"), Transcription(start=1, end=2, text=None)]
    assert result(transcriptions=turns).to_json()["transcriptions"] == [
        {"speaker": None, "start": 0, "end": 1, "text": "a"},
        {"start": 1, "end": 2, "text": None},
    ]


def test_answer_survives_the_way_through_json() -> None:
    answer = result(summary="Résumé: …", metadata={"id": 7}, files={"srt": "1"})
    assert JobResult.model_validate(json.loads(json.dumps(answer.to_json()))) == answer


def test_answer_holds_no_number_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="finite"):
        result(duration=float("nan"))


def test_every_label_has_an_english_word() -> None:
    from typing import get_args

    from voxtral_serverless import contract

    for labels in (contract.SentimentLabel, contract.Satisfaction, contract.Emotion):
        assert set(get_args(labels)) <= set(ENGLISH_LABELS)


def test_every_field_is_documented() -> None:
    assert all(field.description for field in JobInput.model_fields.values())
    assert set(JobOptions.model_fields) < set(JobInput.model_fields)
