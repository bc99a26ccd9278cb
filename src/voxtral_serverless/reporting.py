"""How a stage says how far it is, and how blocking work runs beside the event loop.

A stage knows only a function to call; what becomes of it is the business of `progress`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Report = Callable[[float, float], None]
"""Called by a stage with how much is done, and of how much, in a unit of its own."""
Result = TypeVar("Result")


def unheard(done: float, total: float) -> None:
    """A `Report` that nobody hears."""


class _Cancelled(Exception):
    """Unwinds a thread whose job was cancelled."""


async def in_thread(work: Callable[[Report], Result], report: Report) -> Result:
    """Run blocking `work` in a thread. Its reports come back on the event loop; after a cancellation the next
    one that it makes ends it.
    """
    loop = asyncio.get_running_loop()
    cancelled = threading.Event()

    def report_from_thread(done: float, total: float) -> None:
        if cancelled.is_set():
            raise _Cancelled
        loop.call_soon_threadsafe(report, done, total)

    try:
        return await asyncio.to_thread(work, report_from_thread)
    except asyncio.CancelledError:
        cancelled.set()
        raise
