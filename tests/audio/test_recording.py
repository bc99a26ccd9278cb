from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span

times = st.floats(0, 10, allow_nan=False)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    paths = [tmp_path / name for name in ("mix", "left", "right")]
    for index, path in enumerate(paths):
        (np.arange(SAMPLE_RATE, dtype="<i2") + index).tofile(path)
    return Recording(paths[0], tuple(paths[1:]), SAMPLE_RATE, 2, 8000)


def test_clip_is_a_view_of_the_file(recording: Recording) -> None:
    clip = recording.clip(Span(0.25, 0.5))
    assert len(clip) == 4000
    assert clip[0] == 4000
    assert not clip.flags.owndata
    assert not clip.flags.writeable


def test_clip_of_a_channel(recording: Recording) -> None:
    assert recording.clip(Span(0, 1), channel=0)[0] == 1
    assert recording.clip(Span(0, 1), channel=1)[0] == 2


def test_clip_stays_inside_the_recording(recording: Recording) -> None:
    assert len(recording.clip(Span(-1, 0.5))) == 8000
    assert len(recording.clip(Span(0.5, 7))) == 8000
    assert len(recording.clip(Span(3, 4))) == 0


def test_duration(recording: Recording) -> None:
    assert recording.duration == 1.0


@given(times, times, times, times)
def test_overlap_is_symmetric_and_bounded(a: float, b: float, c: float, d: float) -> None:
    one, other = Span(min(a, b), max(a, b)), Span(min(c, d), max(c, d))
    assert one.overlap(other) == other.overlap(one)
    assert 0 <= one.overlap(other) <= min(one.duration, other.duration) + 1e-9
