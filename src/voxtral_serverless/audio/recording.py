"""The decoded recording: 16 kHz signed 16-bit PCM on disk, mapped into memory where it is read.

Times are seconds from the start of the file and are turned into samples only here, so that they stay true
over hours. Not here: how a file is decoded (`decode`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from voxtral_serverless.errors import Notice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of every recording, in hertz."""
SAMPLE_BYTES = 2
HOP_SAMPLES = 160
"""`quietest` looks at every 10 ms …"""
QUIET_HOPS = 10
"""… for a moment of 0.1 s."""


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of a recording, in seconds from its start."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def overlap(self, other: Span) -> float:
        """Seconds that both have in common."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True)
class Recording:
    """A decoded recording: the mix of all channels and, of a stereo file, both channels.

    Attributes:
        mix: File with the samples of the mix.
        planes: Files with the samples of the two channels of a stereo file, else empty.
        samples: Number of samples in each file.
        source_channels: Number of channels of the file that was decoded.
        source_rate: Its sample rate in hertz.
        notices: What the decoder warns of, a truncated file for one.
    """

    mix: Path
    planes: tuple[Path, ...]
    samples: int
    source_channels: int
    source_rate: int
    notices: tuple[Notice, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples / SAMPLE_RATE

    def clip(self, span: Span, channel: int | None = None) -> NDArray[np.int16]:
        """The samples of `span`, shape `(samples,)`: a view into the mapped file, nothing is copied.

        `channel` is an index into `planes`; None takes the mix. What lies outside the recording is left out.
        """
        first, last = (min(max(round(edge * SAMPLE_RATE), 0), self.samples) for edge in (span.start, span.end))
        return self._maps[0 if channel is None else 1 + channel][first:last]

    def quietest(self, span: Span, channel: int | None = None) -> float:
        """The time, in seconds, of the middle of the 0.1 s of `span` with the least energy; in silence, the first.

        A span that is shorter, or outside the recording, answers its own middle.
        """
        import numpy as np

        samples = self.clip(span, channel)
        hops = len(samples) // HOP_SAMPLES
        if hops < QUIET_HOPS:
            return (span.start + span.end) / 2
        # 0.1 s of loud samples is more than 32 bits hold.
        energy = np.square(samples[: hops * HOP_SAMPLES].reshape(hops, HOP_SAMPLES), dtype=np.int64).sum(axis=1)
        first = int(np.convolve(energy, np.ones(QUIET_HOPS, dtype=np.int64), "valid").argmin())
        return max(span.start, 0.0) + (first + QUIET_HOPS / 2) * HOP_SAMPLES / SAMPLE_RATE

    @cached_property
    def _maps(self) -> Sequence[NDArray[np.int16]]:
        import numpy as np

        return [np.memmap(path, dtype="<i2", mode="r", shape=(self.samples,)) for path in (self.mix, *self.planes)]
