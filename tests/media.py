"""Recordings and films made at test time; `qualify.media` writes the files."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
CALL = ROOT / "examples" / "call.ogg"
TONES_HZ = (440.0, 880.0)


def tone(duration_s: float = 2.0, rate: int = 16_000, channels: int = 1) -> NDArray[np.int16]:
    """Shape `(channels, samples)`: 440 Hz, and 880 Hz in the second channel."""
    times = np.arange(round(duration_s * rate)) / rate
    return np.stack([np.sin(2 * np.pi * hz * times) * 8000 for hz in TONES_HZ[:channels]]).astype(np.int16)


def silent_video(path: Path) -> Path:
    """An MP4 with a picture and no sound."""
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def loudest_hz(samples: NDArray[np.int16], rate: int = 16_000) -> float:
    """The strongest frequency of a signal."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[spectrum.argmax()])
