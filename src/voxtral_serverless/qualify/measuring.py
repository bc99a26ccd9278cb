"""Measures units one after the other, and tells how far it is.

Promises: a reading is on the disk before the next unit begins; one that fails says why, and keeps nobody from the next.
Leaves out: which units there are (`examination`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Protocol

from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import VoxtralError, public_error
from voxtral_serverless.qualify.ledger import Ledger
from voxtral_serverless.qualify.units import Reading, Unit

log = logging.getLogger(__name__)

BEAT_S = 60.0
OUTLOOK = (60, 10)
"""How many times real time a good GPU and a small one may do."""


class Telling(Protocol):
    """Who hears how far an examination is."""

    def says(self, text: str) -> None:
        """What comes now, or is to come."""

    def begun(self, unit: str, number: int, total: int) -> None:
        """A unit begins, so manieth of those that there are."""

    def goes_on(self, unit: str, seconds: float) -> None:
        """It has taken so long, and is not at its end."""

    def ended(self, unit: str, reading: Reading) -> None:
        """It was measured, or has failed."""


class Measuring:
    """Measures units that are not in the ledger, one after the other, and tells which of all of them it is."""

    def __init__(self, ledger: Ledger, telling: Telling, units: Sequence[Unit]) -> None:
        self._ledger, self._telling = ledger, telling
        self._lacking = [unit for unit in units if ledger.lacks(unit)]
        self._numbers = {unit.name: number for number, unit in enumerate(units, start=1)}

    def outlook(self) -> str:
        """How much there is to do."""
        hours = sum(unit.audio_s for unit in self._lacking) / 3600
        told = f"{len(self._lacking)} of {len(self._numbers)} units are to be measured"
        at = ", ".join(f"{60 * hours / times:.0f} min at {times} times real time" for times in OUTLOOK)
        return f"{told}, with {hours:.1f} hours of audio to transcribe: {at}." if hours else f"{told}."

    async def measure(self, units: Sequence[Unit]) -> None:
        """Measure those of these units that are lacking."""
        for unit in units:
            if not self._ledger.lacks(unit):
                continue
            self._telling.begun(unit.name, self._numbers[unit.name], len(self._numbers))
            async with _heartbeat(partial(self._telling.goes_on, unit.name)), together() as tasks:
                measured = tasks.create_task(_reading(unit))  # with a context of its own
            self._ledger.add(unit, measured.result())
            self._telling.ended(unit.name, measured.result())


@asynccontextmanager
async def _heartbeat(beat: Callable[[float], None]) -> AsyncIterator[None]:
    """Tells now and then how many seconds the block has lasted."""

    async def beats() -> None:
        for number in count(1):
            await asyncio.sleep(BEAT_S)
            beat(number * BEAT_S)

    beating = asyncio.create_task(beats())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _reading(unit: Unit) -> Reading:
    try:
        return await unit.measure()
    except VoxtralError as error:
        return {"failed": str(error)}
    except Exception as error:
        log.exception("%s failed unexpectedly", unit.name)
        return {"failed": str(public_error(error))}
