"""Recordings of any length, made of the calls of a data set: one call after the other, as they were spoken.

Promises: a call has another loudness each time it comes, again in the same recording or in another one, and thus other
samples, so that no cache of the engine serves it with what it kept of another time; the same name always gives the same
recording; calls that cannot be decoded are passed over. Leaves out: digital silence, which no loudness changes; and what is
said in them, since they are for taking the time.
"""

from __future__ import annotations

import wave
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path

from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording
from voxtral_serverless.errors import AudioError
from voxtral_serverless.qualify.references import ReferenceCall
from voxtral_serverless.reporting import unheard

LONGEST_S = 86_400.0
PIECE = SAMPLE_RATE * 60
"""Samples that are in memory at once."""
GAINS = 1 << 64
"""So many loudnesses that no two are the same by chance."""


class Material:
    """Calls, decoded into `folder` when they are first needed, and recordings made of them."""

    def __init__(self, calls: Sequence[ReferenceCall], folder: Path) -> None:
        self._calls, self._folder = calls, folder
        self._decoded: dict[str, Recording | AudioError] = {}

    async def decoded(self, call: ReferenceCall) -> Recording:
        """A call of the data set, decoded.

        Raises:
            AudioError: its file is no recording.
        """
        if call.name not in self._decoded:
            self._decoded[call.name] = await self._outcome(call)
        outcome = self._decoded[call.name]
        if isinstance(outcome, AudioError):
            raise outcome.with_traceback(None)
        return outcome

    async def _outcome(self, call: ReferenceCall) -> Recording | AudioError:
        folder = self._folder / call.name
        folder.mkdir(exist_ok=True)  # it is there where the decoder was stopped or the disk was full
        try:
            return await decode(call.audio, folder, LONGEST_S, unheard)
        except AudioError as error:
            return error

    async def write(self, file: Path, seconds: float, name: str) -> None:
        """A WAV file of so many seconds, 16 kHz, mono; with which call it begins, and how loud each is, follows `name`.

        Raises:
            AudioError: no file of the data set is a recording.
        """
        first = zlib.crc32(name.encode())
        left = round(seconds * SAMPLE_RATE)
        with wave.open(str(file), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(SAMPLE_BYTES)
            out.setframerate(SAMPLE_RATE)
            for number in count():
                recording = await self._next_from(first + number)
                for piece in _pieces(recording, _gain(name, number)):
                    out.writeframes(piece[: left * SAMPLE_BYTES])
                    left -= len(piece) // SAMPLE_BYTES
                    if left <= 0:
                        return

    async def _next_from(self, number: int) -> Recording:
        """The call of that number, counted round and round, or the next one that can be decoded."""
        *others, last = (self._calls[(number + ahead) % len(self._calls)] for ahead in range(len(self._calls)))
        for call in others:
            with suppress(AudioError):
                return await self.decoded(call)
        return await self.decoded(last)


def _gain(name: str, number: int) -> float:
    """How loud the call of that running number is in the recording of that name: from 0.9 to 1, which nobody hears."""
    drawn = int.from_bytes(sha256(f"{name}/{number}".encode()).digest()[:8])
    return 1 - drawn / (10 * GAINS)


def _pieces(recording: Recording, gain: float) -> Iterator[bytes]:
    """The samples of a recording, so much louder, a minute at a time."""
    import numpy as np

    samples = np.memmap(recording.mix, dtype="<i2", mode="r", shape=(recording.samples,))
    for start in range(0, recording.samples, PIECE):
        yield (samples[start : start + PIECE] * gain).astype("<i2").tobytes()
