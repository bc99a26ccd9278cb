"""Tells a frozen engine from a busy or an idle one, by the steps that it makes.

`/health` stays 200 on an engine whose core hangs, and a slow `/health` alone means a burst of requests: neither
decides anything here.
"""

from __future__ import annotations

import asyncio
import time

from voxtral_serverless.engine.client import EngineClient

WATCH_S = 1.0
"""Time between two looks at an engine."""
ANSWER_TIMEOUT_S = 10.0


class Watchdog:
    """Counts the time in which requests waited and no step was made."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen: float | None = None
        self._since: float | None = None

    def frozen(self, now: float, in_flight: int, steps: float) -> bool:
        """Whether that time is over the limit."""
        advanced, self._seen = steps != self._seen, steps
        if not in_flight or advanced or self._since is None:
            self._since = now if in_flight else None
            return False
        return now - self._since > self._limit_s


async def until_frozen(client: EngineClient, limit_s: float) -> str:
    """Watch the engine until it makes no step in `limit_s` seconds while requests wait; answers that in words."""
    watchdog = Watchdog(limit_s)
    timeout_s = min(ANSWER_TIMEOUT_S, limit_s / 2)
    counted = 0.0
    while True:
        if client.in_flight:
            counted = await client.progress(timeout_s) or counted
        # Not every server counts its steps: text that comes is one too.
        if watchdog.frozen(time.monotonic(), client.in_flight, counted + client.received):
            return f"it is frozen: no token in {limit_s:.0f} s while requests wait"
        await asyncio.sleep(min(WATCH_S, limit_s / 4))
