"""A unit of measurement: what is measured in one go, and kept as a whole or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

Reading = dict[str, JsonValue]
"""What was measured, as it is kept: plain JSON, units in the names. `{"failed": "code: message"}` where it failed."""


@dataclass(frozen=True)
class Unit:
    """Something to be measured.

    Attributes:
        name: Its stage, and what of it, by slashes: `speed/turns/5min/8`.
        measure: Does it. What it raises is kept as the reading's `failed`, and tried anew with the next start.
        of: What it is measured of, besides what its name says: a reading of something else is measured anew.
        audio_s: Seconds of audio that it has transcribed.
    """

    name: str
    measure: Callable[[], Awaitable[Reading]]
    of: Reading = field(default_factory=dict)
    audio_s: float = 0.0


def is_whole(reading: Reading) -> bool:
    """Whether it was measured, and no job of it failed."""
    return "failed" not in reading and not reading.get("failed_jobs")
