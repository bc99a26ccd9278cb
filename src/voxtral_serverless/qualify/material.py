"""Recordings of any length, made of the calls of a data set: one call after the other, as they were spoken.

Promises: no two recordings have the same samples, so that no cache of the engine serves one with what it kept of another;
the same name always gives the same recording. Leaves out: what is said in them; they are for taking the time.
"""

from __future__ import annotations

import wave
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording
from voxtral_serverless.qualify.references import ReferenceCall
from voxtral_serverless.reporting import unheard

LONGEST_S = 86_400.0
PIECE = SAMPLE_RATE * 60
"""Samples that are in memory at once."""
GAINS = 997
"""So many loudnesses, a thousandth apart at most, tell recordings apart."""


class Material:
    """Calls, decoded into `folder` when they are first needed, and recordings made of them."""

    def __init__(self, calls: Sequence[ReferenceCall], folder: Path) -> None:
        self._calls, self._folder = calls, folder
        self._decoded: dict[str, Recording] = {}

    async def decoded(self, call: ReferenceCall) -> Recording:
        """A call of the data set, decoded.

        Raises:
            AudioError: its file is no recording.
        """
        if call.name not in self._decoded:
            folder = self._folder / call.name
            folder.mkdir()
            self._decoded[call.name] = await decode(call.audio, folder, LONGEST_S, unheard)
        return self._decoded[call.name]

    async def write(self, file: Path, seconds: float, name: str) -> None:
        """A WAV file of so many seconds, 16 kHz, mono; which calls it begins with, and how loud it is, follows `name`.

        Raises:
            AudioError: a file of the data set is no recording.
        """
        number = zlib.crc32(name.encode())
        gain = 1 - number % GAINS / (2 * GAINS)
        left = round(seconds * SAMPLE_RATE)
        with wave.open(str(file), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(SAMPLE_BYTES)
            out.setframerate(SAMPLE_RATE)
            for turn in count(number):
                recording = await self.decoded(self._calls[turn % len(self._calls)])
                for piece in _pieces(recording, gain):
                    out.writeframes(piece[: left * SAMPLE_BYTES])
                    left -= len(piece) // SAMPLE_BYTES
                    if left <= 0:
                        return


def _pieces(recording: Recording, gain: float) -> Iterator[bytes]:
    """The samples of a recording, so much louder, a minute at a time."""
    import numpy as np

    samples = np.memmap(recording.mix, dtype="<i2", mode="r", shape=(recording.samples,))
    for start in range(0, recording.samples, PIECE):
        yield (samples[start : start + PIECE] * gain).astype("<i2").tobytes()
