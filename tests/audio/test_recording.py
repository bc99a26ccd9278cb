from pathlib import Path
from tempfile import TemporaryDirectory

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


@pytest.fixture
def noisy(tmp_path: Path) -> Recording:
    """20 s of a loud voice, with a quiet moment in the mix and others in the channels."""
    rng = np.random.default_rng(7)
    paths = [tmp_path / name for name in ("mix", "left", "right")]
    for path, quiet in zip(paths, (12.34, 3.0, 17.5), strict=True):
        samples = rng.normal(0, 8000, 20 * SAMPLE_RATE).clip(-32768, 32767)
        samples[round((quiet - 0.06) * SAMPLE_RATE) : round((quiet + 0.06) * SAMPLE_RATE)] *= 0.1
        samples[round((quiet + 0.5) * SAMPLE_RATE) : round((quiet + 0.54) * SAMPLE_RATE)] = 0
        samples.astype("<i2").tofile(path)
    return Recording(paths[0], tuple(paths[1:]), 20 * SAMPLE_RATE, 2, 8000)


@pytest.mark.parametrize(("channel", "quiet"), [(None, 12.34), (0, 3.0), (1, 17.5)])
def test_quietest_moment_is_found(noisy: Recording, channel: int | None, quiet: float) -> None:
    # 0.04 s of nothing are shorter than the moment that is looked for.
    assert noisy.quietest(Span(0, 20), channel) == pytest.approx(quiet, abs=0.011)
    assert noisy.quietest(Span(quiet - 1.003, quiet + 0.3), channel) == pytest.approx(quiet, abs=0.011)


def test_loudest_samples_do_not_overflow(tmp_path: Path) -> None:
    samples = np.full(SAMPLE_RATE, -32768, dtype="<i2")
    samples[8000:9600] = 32000
    samples.tofile(tmp_path / "mix")
    assert Recording(tmp_path / "mix", (), SAMPLE_RATE, 1, 16000).quietest(Span(0, 1)) == pytest.approx(0.55)


def test_short_span_and_one_outside_answer_their_middle(noisy: Recording) -> None:
    assert noisy.quietest(Span(4, 4.09)) == pytest.approx(4.045)
    assert noisy.quietest(Span(30, 40)) == 35


@given(st.floats(0, 21), st.floats(0, 5))
def test_quietest_moment_lies_in_its_span(start: float, length: float) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mix"
        np.zeros(20 * SAMPLE_RATE, dtype="<i2").tofile(path)
        span = Span(start, start + length)
        assert span.start <= Recording(path, (), 20 * SAMPLE_RATE, 1, 16000).quietest(span) <= span.end
