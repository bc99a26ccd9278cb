"""How the jailed decoder lays frames on the time line and writes them as 16 kHz planes.

Part of the decoder's process (`_decoder`); nothing of the worker imports it.
"""

from __future__ import annotations

import os
from typing import Any

from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from voxtral_serverless.audio._media import SAMPLE_RATES, Reading, Refused

OUTPUT_RATE = 16_000
GROUP_SAMPLES = 65_536
"""Input samples handed to the resampler at once: MP3 frame by frame costs 1.6 times the processor time."""
GAP_S = 0.05
"""A hole in the time line longer than this is filled with silence; less is jitter of the container's clock."""


class TimeLine:
    """Hands frames on at the time at which the file places them: holes become silence, overlaps stay as they are.

    Without time stamps, or where they leap beyond what the file announces, frames follow each other.

    Attributes:
        filled_s: Seconds of silence that were put between frames.
    """

    def __init__(self, writer: PlaneWriter, reading: Reading, end_s: float) -> None:
        self._writer = writer
        self._reading = reading
        self._end_s = end_s
        self._now_s = 0.0
        self._like: AudioFrame | None = None
        self.filled_s = 0.0

    def place(self, frame: AudioFrame) -> None:
        """Write a frame, and before it the silence that leads up to it."""
        self._like = self._like or frame
        if frame.time is not None:
            self.advance(frame.time)
        self._now_s += frame.samples / frame.sample_rate
        self._writer.write(frame)

    def advance(self, to_s: float) -> None:
        """Write silence up to a time of the file, if that is ahead and plausible."""
        place_s = to_s - (self._reading.earliest_s or 0.0)
        missing_s = place_s - self._now_s
        if missing_s <= GAP_S or place_s > self._end_s or self._like is None:
            return
        self.filled_s += missing_s if self._now_s else 0.0
        self._now_s += missing_s
        rate = self._like.sample_rate
        samples = round(missing_s * rate)
        while samples > 0:
            self._writer.write(silence_like(self._like, min(samples, rate)))
            samples -= rate


def silence_like(frame: AudioFrame, samples: int) -> AudioFrame:
    """A silent frame of the same format, layout and rate."""
    silent = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=samples)
    # With eight planes PyAV lists a ninth that is not there.
    for plane in silent.planes[: len(frame.layout.channels) if frame.format.is_planar else 1]:
        plane.update((b"\x80" if frame.format.name.startswith("u8") else b"\0") * plane.buffer_size)
    silent.sample_rate = frame.sample_rate
    return silent


class PlaneWriter:
    """Resamples frames to 16 kHz and writes the mix and, of a stereo stream, both channels."""

    def __init__(self, descriptors: list[int], stereo: bool, max_duration_s: float) -> None:
        self.files = [os.fdopen(descriptor, "wb", buffering=1 << 20) for descriptor in descriptors]
        self.stereo = stereo
        self.max_samples = int(max_duration_s * OUTPUT_RATE)
        self.samples = 0
        self._shape: tuple[str, str, int] | None = None

    def write(self, frame: AudioFrame) -> None:
        """Take one frame of any shape; one that differs from the last starts a new resampler."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            self.flush()
            self._start(shape)
        frame.pts = None
        self._fifo.write(frame)
        while group := self._fifo.read(GROUP_SAMPLES):
            self._resample(group)

    def flush(self) -> None:
        """Write what the resampler still holds."""
        if self._shape is None:
            return
        if rest := self._fifo.read(0, partial=True):
            self._resample(rest)
        self._resample(None)
        for mixed in self._mixer.resample(None) if self.stereo else []:
            self._put(0, mixed.planes[0], mixed.samples)
        self._shape = None

    def close(self) -> None:
        """Flush and close all files."""
        self.flush()
        for file in self.files:
            file.close()

    def _start(self, shape: tuple[str, str, int]) -> None:
        if shape[2] not in SAMPLE_RATES:
            raise Refused("audio_parameters", shape[2])
        self._shape = shape
        self._fifo = AudioFifo()
        self._resampler = AudioResampler("s16p", "stereo" if self.stereo else "mono", OUTPUT_RATE)
        self._mixer = AudioResampler("s16", "mono", OUTPUT_RATE)

    def _resample(self, group: AudioFrame | None) -> None:
        if group is not None:
            group.pts = None
        for frame in self._resampler.resample(group):
            self.samples += frame.samples
            if self.samples > self.max_samples:
                raise Refused("audio_too_long", self.samples / OUTPUT_RATE)
            if not self.stereo:
                self._put(0, frame.planes[0], frame.samples)
                continue
            self._put(1, frame.planes[0], frame.samples)
            self._put(2, frame.planes[1], frame.samples)
            frame.pts = None
            for mixed in self._mixer.resample(frame):
                self._put(0, mixed.planes[0], mixed.samples)

    def _put(self, index: int, plane: Any, samples: int) -> None:
        self.files[index].write(memoryview(plane)[: 2 * samples])
