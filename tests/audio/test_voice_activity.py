import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import no_report
from tests.media import CALL, ROOT
from voxtral_serverless.audio import voice_activity
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.audio.voice_activity import detect_speech
from voxtral_serverless.qualify.media import wav


async def recording_of(file: Path, tmp_path: Path) -> Recording:
    folder = tmp_path / "decoded"
    folder.mkdir()
    return await decode(file, folder, 9000, no_report)


async def test_turns_of_the_call_are_found(tmp_path: Path) -> None:
    speech = detect_speech(await recording_of(CALL, tmp_path), report=no_report)
    reference = [line.split() for line in (ROOT / "examples" / "call.rttm").read_text().splitlines()]
    assert len(speech) == len(reference)
    for found, line in zip(speech, reference, strict=True):
        start, duration = float(line[3]), float(line[4])
        assert found.start == pytest.approx(start, abs=0.25)
        assert found.end == pytest.approx(start + duration, abs=0.25)


@pytest.mark.parametrize("noise", [0, 40])
async def test_silence_and_faint_noise_hold_no_speech(noise: int, tmp_path: Path) -> None:
    samples = (np.random.default_rng(1).normal(size=(1, 80_000)) * noise).astype(np.int16)
    assert detect_speech(await recording_of(wav(tmp_path / "a.wav", samples), tmp_path), report=no_report) == ()


async def test_batches_do_not_change_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await recording_of(CALL, tmp_path)
    whole = detect_speech(recording, report=no_report)
    monkeypatch.setattr(voice_activity, "BATCH_FRAMES", 37)
    assert detect_speech(recording, report=no_report) == whole


async def test_channels_of_a_stereo_call_are_heard_apart(tmp_path: Path) -> None:
    mono = await recording_of(CALL, tmp_path)
    samples = np.asarray(mono.clip(Span(0, 20)))
    half = len(samples) // 2
    left, right = samples.copy(), samples.copy()
    left[half:], right[:half] = 0, 0
    folder = tmp_path / "stereo"
    folder.mkdir()
    recording = await decode(wav(tmp_path / "s.wav", np.stack([left, right])), folder, 9000, no_report)
    assert all(region.end < 10.3 for region in detect_speech(recording, report=no_report, channel=0))
    assert all(region.start > 9.7 for region in detect_speech(recording, report=no_report, channel=1))


async def test_progress_ends_at_the_end(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    recording = await recording_of(CALL, tmp_path)
    detect_speech(recording, report=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (recording.duration, recording.duration)


@given(st.lists(st.booleans(), max_size=200))
def test_regions_are_ordered_apart_and_inside(frames: list[bool]) -> None:
    duration = len(frames) * voice_activity.FRAME_S
    regions = voice_activity._regions(np.array(frames, dtype=bool), duration)
    assert all(0 <= region.start < region.end <= duration for region in regions)
    assert all(one.end <= other.start for one, other in pairwise(regions))


def test_onnxruntime_reports_to_nobody(tmp_path: Path) -> None:
    """Its telemetry leaves an identifier under HOME and a session under TMPDIR; neither may appear."""
    script = "from voxtral_serverless.audio.voice_activity import _model; _model()"
    environment = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"), "PATH": os.environ["PATH"]}
    (tmp_path / "home").mkdir()
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list((tmp_path / "home").iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []
