"""Media files written by hand: sound in any container that PyAV can write, and files byte by byte that lie about themselves.

For the examination and the tests: the worker itself writes none. Imports PyAV, which takes a while.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def encode(
    path: Path,
    samples: NDArray[np.int16],
    *,
    container: str,
    codec: str,
    rate: int,
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
) -> Path:
    """Write `samples`, shape `(channels, samples)` at `rate`, with a codec of PyAV."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        # FFmpeg's own Vorbis encoder counts as experimental.
        stream = file.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        assert isinstance(stream, av.AudioStream)
        if bit_rate:
            stream.bit_rate = bit_rate
        stream.codec_context.open()
        wanted = stream.codec_context.format.name
        frame_size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(wanted, layout, rate, frame_size=frame_size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16p", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            file.mux(stream.encode(piece))
    return path


def wav(path: Path, samples: NDArray[np.int16], rate: int = 16_000) -> Path:
    """Plain 16-bit WAV."""
    return encode(path, samples, container="wav", codec="pcm_s16le", rate=rate)


def day_of_silence(path: Path) -> Path:
    """24 hours of silence at 16 kHz in 318 kB of FLAC, frame by frame."""
    samples, block = 24 * 3600 * 16_000, 65_535
    numbers = 16_000 << 44 | 15 << 36 | samples  # the rate, one channel, 16 bits, the length
    head = struct.pack(">HH6sQ16s", block, block, b"", numbers, b"")
    frames = (_silent_flac_frame(number, block) for number in range(samples // block))
    path.write_bytes(b"fLaC\x80\0\0\x22" + head + b"".join(frames))
    return path


def _silent_flac_frame(number: int, samples: int) -> bytes:
    """One frame of RFC 9639: a constant of 0, mono, 16 bits, 16 kHz."""
    head = b"\xff\xf8\x75\x08" + chr(number).encode("utf-8", "surrogatepass") + struct.pack(">H", samples - 1)
    head += _crc(head, 0x07, 8).to_bytes(1, "big")
    frame = head + b"\0\0\0"
    return frame + _crc(frame, 0x8005, 16).to_bytes(2, "big")


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial * (value >> bits - 1)) & (1 << bits) - 1
    return value


def without_length(flac: Path) -> Path:
    """Overwrite the number of samples in the head of a FLAC file with 0, 'unknown'."""
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    flac.write_bytes(data)
    return flac


def riff(path: Path, rate: int, data: bytes, *, data_size: int | None = None) -> Path:
    """A mono 16-bit WAV head with any sample rate, and any claim about its size."""
    size = len(data) if data_size is None else data_size
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size
    )
    path.write_bytes(head + data)
    return path
