"""Attempts at the jailed decoder, and all that became of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.errors import VoxtralError
from voxtral_serverless.reporting import unheard

QUIET = 40
"""Silence stays below this in every codec."""


@dataclass(frozen=True)
class Attempt:
    """One file, and what the decoder made of it.

    Attributes:
        outcome: The recording, or the error.
        took_s: How long it took.
        left: The names of what lies in the folder of the outputs.
    """

    outcome: Recording | VoxtralError
    took_s: float
    left: list[str]

    @property
    def code(self) -> str | None:
        """The code of the error."""
        return self.outcome.code if isinstance(self.outcome, VoxtralError) else None

    @property
    def told(self) -> str:
        """All that the caller reads of it."""
        return str(self.outcome if isinstance(self.outcome, VoxtralError) else self.outcome.notices)

    @property
    def loudest(self) -> int:
        """The largest sample that came out."""
        if isinstance(self.outcome, VoxtralError):
            return 0
        return max(int(np.abs(np.fromfile(file, np.int16).astype(int)).max()) for file in self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """The outputs that there should be."""
        return () if isinstance(self.outcome, VoxtralError) else (self.outcome.mix, *self.outcome.planes)


async def attempt(file: Path, folder: Path, max_duration_s: float = 9000) -> Attempt:
    """Decode `file` into a new `folder`. Any exception but an error of ours is not caught."""
    folder.mkdir()
    began = time.monotonic()
    outcome: Recording | VoxtralError
    try:
        outcome = await decode(file, folder, max_duration_s, unheard)
    except VoxtralError as error:
        outcome = error
    return Attempt(outcome, time.monotonic() - began, sorted(path.name for path in folder.rglob("*")))
