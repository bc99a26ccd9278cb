"""Numbers that tell voices apart: cepstrum and pitch of short windows of speech.

These are the classical features (mel cepstrum, autocorrelation pitch), enough to separate clearly different
voices on a clean recording. They are no trained speaker embedding, and are used by the embedded diarizer only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from voxtral_serverless.audio.recording import SAMPLE_RATE

Floats = NDArray[np.float32]

FRAME_SAMPLES = 512
HOP_SAMPLES = 160
FFT_SAMPLES = 1024
"""Twice the frame, so that the autocorrelation does not wrap around."""
MEL_BANDS = 32
CEPSTRA = 20
TELEPHONE_HZ = (100.0, 3800.0)
"""Band of the features: what a telephone carries, so that a call and a studio are treated alike."""
PITCH_HZ = (65.0, 400.0)
VOICED_CORRELATION = 0.45
QUIET_BAND = 1e-3
"""A band fainter than this share of the window's mean band counts as no fainter: it holds noise, not voice."""
CEPSTRUM_SCALE, SPREAD_SCALE, PITCH_SCALE = 1.4, 0.8, 0.3
"""How much each kind of feature varies within one voice (cepstra fall off with their order)."""


def voice_features(samples: NDArray[np.int16]) -> Floats:
    """One vector for a window of speech, shape `(2 * CEPSTRA + 1,)`: mean and spread of its cepstrum, its pitch.

    Scaled so that one voice varies by about one in every dimension.
    """
    frames = _frames(samples)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES), FFT_SAMPLES)).astype(np.float32) ** 2
    loud = power.sum(axis=1) >= 0.05 * power.sum(axis=1).mean()
    cepstrum = _cepstrum(power[loud])
    pitch = _median_log_pitch(frames[loud])
    falling = np.arange(1, CEPSTRA + 1) ** 0.6
    mean, spread = cepstrum.mean(axis=0) * falling / CEPSTRUM_SCALE, cepstrum.std(axis=0) * falling / SPREAD_SCALE
    return np.concatenate([mean, spread, [pitch / PITCH_SCALE]]).astype(np.float32)


def _frames(samples: NDArray[np.int16]) -> Floats:
    padded = (np.pad(samples, (0, max(0, FRAME_SAMPLES - len(samples)))) / 32768).astype(np.float32)
    frames: Floats = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES]
    return frames


def _cepstrum(power: Floats) -> Floats:
    """Mel cepstrum without its first coefficient, the loudness; shape `(frames, CEPSTRA)`."""
    mel = power @ _mel_bands().T
    log_mel = np.log(mel + QUIET_BAND * mel.mean() + 1e-12)
    return np.asarray(log_mel @ _cosines().T, dtype=np.float32)


def _median_log_pitch(frames: Floats) -> float:
    """Octaves above 100 Hz, the median over the voiced frames; 0 where none is voiced."""
    spectrum = np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), FFT_SAMPLES)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    first, last = int(SAMPLE_RATE / PITCH_HZ[1]), int(SAMPLE_RATE / PITCH_HZ[0])
    # A frame holds fewer products the greater the lag; without this the octave below never wins.
    lags = np.arange(first, last)
    normalised = correlation[:, first:last] / (1 - lags / FRAME_SAMPLES) / (correlation[:, :1] + 1e-9)
    strongest = normalised.max(axis=1, keepdims=True)
    # A voice repeats at every multiple of its period too: the first peak about as strong as the strongest counts.
    peaks = (normalised[:, 1:-1] >= normalised[:, :-2]) & (normalised[:, 1:-1] >= normalised[:, 2:])
    candidates = peaks & (normalised[:, 1:-1] >= 0.9 * strongest)
    voiced = (strongest[:, 0] > VOICED_CORRELATION) & candidates.any(axis=1)
    if not voiced.any():
        return 0.0
    periods = lags[1:-1][candidates[voiced].argmax(axis=1)]
    return float(np.median(np.log2(SAMPLE_RATE / periods / 100)))


@cache
def _mel_bands() -> Floats:
    """Triangular filters, shape `(MEL_BANDS, FFT_SAMPLES // 2 + 1)`."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in TELEPHONE_HZ)
    centres = 700 * (10 ** (np.linspace(low, high, MEL_BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FFT_SAMPLES, 1 / SAMPLE_RATE)
    rising = (bins - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    falling = (centres[2:, None] - bins) / (centres[2:] - centres[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@cache
def _cosines() -> Floats:
    """The discrete cosine transform, shape `(CEPSTRA, MEL_BANDS)`."""
    order, band = np.arange(1, CEPSTRA + 1)[:, None], np.arange(MEL_BANDS)
    return np.asarray(np.cos(np.pi * order * (band + 0.5) / MEL_BANDS) * np.sqrt(2 / MEL_BANDS), dtype=np.float32)
