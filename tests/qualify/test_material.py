"""Recordings of any length, made of real ones."""

import wave
from pathlib import Path

import numpy as np
import pytest

from tests.media import CALL, tone
from voxtral_serverless.errors import AudioError
from voxtral_serverless.qualify.material import Material
from voxtral_serverless.qualify.media import wav
from voxtral_serverless.qualify.references import ReferenceCall


def samples_of(file: Path) -> np.ndarray:
    with wave.open(str(file)) as source:
        assert (source.getnchannels(), source.getsampwidth(), source.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(source.readframes(source.getnframes()), "<i2")


def material(tmp_path: Path, *files: Path) -> Material:
    folder = tmp_path / "material"
    folder.mkdir()
    return Material([ReferenceCall(f"call{number}", file, (), ()) for number, file in enumerate(files)], folder)


async def test_calls_follow_each_other_up_to_the_length(tmp_path: Path) -> None:
    made = material(tmp_path, wav(tmp_path / "a.wav", tone(2.0)), wav(tmp_path / "b.wav", tone(3.0)))
    await made.write(tmp_path / "long.wav", 61.25, "speed")
    samples = samples_of(tmp_path / "long.wav")
    assert len(samples) == 61.25 * 16_000
    assert np.abs(samples[-8000:]).max() > 3000, "to its very end"


async def test_no_two_have_the_same_samples(tmp_path: Path) -> None:
    made = material(tmp_path, CALL)
    names = [f"speed/turns/5min/8/call{number}" for number in range(8)]
    for name in names:
        await made.write(tmp_path / f"{name[-5:]}.wav", 20, name)
    heard = {samples_of(tmp_path / f"{name[-5:]}.wav").tobytes() for name in names}
    assert len(heard) == len(names)
    await made.write(tmp_path / "again.wav", 20, names[3])
    assert samples_of(tmp_path / "again.wav").tobytes() in heard, "the same name, the same recording"


async def test_a_call_never_comes_twice_as_it_was(tmp_path: Path) -> None:
    """A data set of one call: again and again in a long recording, and at the beginning of many."""
    noise = np.random.default_rng(1).integers(-9000, 9000, (1, 8000), np.int16)  # a pure tone has but few forms
    made = material(tmp_path, wav(tmp_path / "a.wav", noise))
    await made.write(tmp_path / "long.wav", 100, "long")
    times = list(samples_of(tmp_path / "long.wav").reshape(200, -1))
    for number in range(200):
        await made.write(tmp_path / "short.wav", 0.5, f"call{number}")
        times.append(samples_of(tmp_path / "short.wav"))
    assert len({samples.tobytes() for samples in times}) == len(times) == 400


async def test_a_file_that_is_no_recording_is_passed_over(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("hello")
    made = material(tmp_path, text, wav(tmp_path / "a.wav", tone(1.0)), text)
    for name in "abc":  # whichever is the first
        await made.write(tmp_path / "long.wav", 3, name)
        assert np.abs(samples_of(tmp_path / "long.wav").reshape(3, -1)).max(axis=1).min() > 3000


async def test_no_file_is_a_recording(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    call = ReferenceCall("call0", tmp_path / "text.wav", (), ())
    made = material(tmp_path, call.audio, call.audio)
    for _ in range(2):
        with pytest.raises(AudioError):
            await made.decoded(call)
        with pytest.raises(AudioError):
            await made.write(tmp_path / "long.wav", 5, "x")
