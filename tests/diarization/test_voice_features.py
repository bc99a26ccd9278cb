import numpy as np
import pytest

from voxtral_serverless.diarization.voice_features import CEPSTRA, PITCH_SCALE, voice_features


def buzz(pitch_hz: float, duration_s: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """A harmonic sound with the pitch of a voice."""
    times = np.arange(round(duration_s * 16_000)) / 16_000
    harmonics = sum(np.sin(2 * np.pi * pitch_hz * k * times) / k for k in range(1, 20))
    return (np.asarray(harmonics) * 4000).astype(np.int16)


@pytest.mark.parametrize("pitch_hz", [90, 120, 180, 240, 330])
def test_pitch_is_heard(pitch_hz: float) -> None:
    assert voice_features(buzz(pitch_hz))[-1] * PITCH_SCALE == pytest.approx(np.log2(pitch_hz / 100), abs=0.05)


@pytest.mark.parametrize("samples", [0, 1, 100, 511, 512, 513, 32_000])
def test_any_length_gives_finite_numbers(samples: int) -> None:
    noise = (np.random.default_rng(3).normal(size=samples) * 500).astype(np.int16)
    features = voice_features(noise)
    assert features.shape == (2 * CEPSTRA + 1,)
    assert np.isfinite(features).all()


def test_silence_gives_finite_numbers() -> None:
    assert np.isfinite(voice_features(np.zeros(16_000, np.int16))).all()


def test_loudness_does_not_matter() -> None:
    loud, quiet = voice_features(buzz(150)), voice_features(buzz(150) // 4)
    assert np.abs(loud - quiet).max() < 0.3
