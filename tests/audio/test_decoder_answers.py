import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxtral_serverless.audio.decoder_answers import Answers
from voxtral_serverless.audio.recording import SAMPLE_BYTES, Recording
from voxtral_serverless.child import parsed
from voxtral_serverless.errors import AudioError, AudioTooLong, DiskFull, StageFailed

LIMIT_S = 130.0
FILE_BYTES = 5000
SAMPLES = {"mix": 200, "channel0": 200, "channel1": 100}
"""What lies in the files: both planes of a stereo recording are never whole."""
READY = {"event": "ready"}
HEADER = {"event": "header", "duration_s": 1.0, "channels": 1, "sample_rate": 8000}
DONE = {"event": "done", "samples": 200, "damaged": 0, "filled_s": 0.0, "truncated": False}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of a decoder."""
    folder = tmp_path_factory.mktemp("written")
    files = {name: folder / name for name in SAMPLES}
    for name, file in files.items():
        file.write_bytes(bytes(SAMPLES[name] * SAMPLE_BYTES))
    return files


def heard(lines: bytes, written: dict[str, Path]) -> Recording | None:
    """What comes of the output of a decoder, None where it ends before its end."""
    answers = Answers(LIMIT_S, FILE_BYTES)
    for line in lines.splitlines(keepends=True):
        answers.hear(parsed(line))
        if answers.done:
            return answers.recording(written["mix"], (written["channel0"], written["channel1"]))
    return None


def in_lines(messages: list[Any]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


numbers = st.sampled_from([-1, 0, 1, 60, 120, 200, 8000, 10**30, -1.0, 0.5, 60.0, 120.5, 1e300, True]) | st.floats()
values = numbers | st.none() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@st.composite
def odd(draw: st.DrawFn, message: dict[str, Any]) -> dict[str, Any]:
    """A message that is right but for a few of its fields."""
    changed = dict(message)
    for name in draw(st.lists(st.sampled_from([*message, "more"]), max_size=2)):
        changed[name] = draw(values)
    if draw(st.integers(0, 9)) == 0:
        changed.pop(draw(st.sampled_from(sorted(changed))))
    return changed


CODES = ["audio_unreadable", "audio_empty", "audio_parameters", "audio_too_long", "disk_full", "stage_failed", "other"]
errors = st.sampled_from(CODES).map(lambda code: {"event": "error", "code": code, "figure": 7.0})
progress = numbers.map(lambda decoded_s: {"event": "progress", "decoded_s": decoded_s})
right: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [READY, HEADER, HEADER | {"channels": 2}, DONE, DONE | {"samples": 100}]
)
messages = (
    right
    | right.flatmap(odd)
    | progress
    | errors
    | errors.flatmap(odd)
    | st.dictionaries(st.text(max_size=4), values, max_size=3)
)
conversations = st.one_of(
    st.lists(messages, max_size=6),
    st.tuples(st.just(READY), st.just(HEADER), progress, right.flatmap(odd), st.just(DONE)).map(list),
    st.tuples(st.just(READY), odd(HEADER), odd(DONE)).map(list),
    st.tuples(st.just(READY), errors.flatmap(odd)).map(list),
).map(in_lines)


@settings(max_examples=1000)
@example(in_lines([READY, HEADER, DONE]))
@example(in_lines([READY, HEADER | {"channels": 2}, DONE]))
@example(b"[" * 4000)
@example(b'{"event": "done", "samples": ' + b"9" * 4400 + b"}")
@example(b"\xff\xfe{\0")
@given(st.binary(max_size=200) | conversations)
def test_whatever_a_decoder_says_is_an_error_or_a_recording(written: dict[str, Path], lines: bytes) -> None:
    try:
        recording = heard(lines, written)
    except (AudioError, DiskFull, StageFailed):
        return
    if recording:
        assert (recording.samples, recording.planes) == (200, ())
        assert 1 <= recording.source_channels <= 8
        assert 4_000 <= recording.source_rate <= 192_000
        assert 0 < recording.duration <= LIMIT_S
        assert all(len(notice.message) < 200 for notice in recording.notices)


def conversation() -> Iterator[dict[str, Any]]:
    yield READY
    yield HEADER | {"duration_s": 121.0}
    yield {"event": "progress", "decoded_s": 60.0}
    yield {"event": "progress", "decoded_s": 121.5}
    yield DONE


def test_conversation_that_is_right_is_a_recording(written: dict[str, Path]) -> None:
    answers, told = Answers(LIMIT_S, FILE_BYTES), []
    for message in conversation():
        answers.hear(message)
        told.append((answers.decoded_s, answers.announced_s))
    assert told == [(0, 0), (0, 121), (60, 121), (121.5, 121.5), (121.5, 121.5)]
    recording = answers.recording(written["mix"], (written["channel0"], written["channel1"]))
    assert (recording.samples, recording.source_rate, recording.notices) == (200, 8000, ())


def test_notices_say_what_is_missing(written: dict[str, Path]) -> None:
    lines = in_lines([READY, HEADER, DONE | {"truncated": True, "damaged": 3, "filled_s": 0.6}])
    recording = heard(lines, written)
    assert recording is not None
    assert [notice.code for notice in recording.notices] == ["audio_truncated", "audio_damaged", "audio_gaps"]


def test_figures_are_told(written: dict[str, Path]) -> None:
    error = {"event": "error", "code": "audio_too_long", "figure": 7200.0}
    with pytest.raises(AudioTooLong, match="lasts 120 minutes or more, the limit is 2 minutes"):
        heard(in_lines([READY, error]), written)
