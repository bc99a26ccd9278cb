"""A job's progress on its way to RunPod: in order, at most one update a second, and never after the result.

The SDK's own helper starts a thread for each update, which may overtake the result: the job then stays "in progress" for
good. Here one task sends one update at a time, with the SDK's own request, and has ended before the job is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from voxtral_serverless.progress import NoEvents, Progress

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
LAST_S = 5.0
"""Longest wait for an update that is being sent when the job is done."""


class ProgressUpdates(NoEvents):
    """Keeps the newest progress of a job, to be sent when its turn comes."""

    def __init__(self) -> None:
        self._newest: Progress | None = None
        self._news = asyncio.Event()

    def progress(self, progress: Progress) -> None:
        """Keep it."""
        self._newest = progress
        self._news.set()

    async def newest(self) -> Progress:
        """Wait for a progress that was not asked for yet."""
        await self._news.wait()
        self._news.clear()
        assert self._newest is not None
        return self._newest


@asynccontextmanager
async def progress_updates(job: Mapping[str, Any]) -> AsyncIterator[ProgressUpdates]:
    """The events of a job, whose progress is sent while the block runs. None of it is under way when it has ended."""
    updates, ending = ProgressUpdates(), asyncio.Event()
    sender = asyncio.create_task(_send(job, updates, ending))
    try:
        yield updates
    except asyncio.CancelledError:  # nobody waits for a result that could be overtaken
        sender.cancel()
        raise
    finally:
        ending.set()
        await asyncio.wait([sender], timeout=LAST_S)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send(job: Mapping[str, Any], updates: ProgressUpdates, ending: asyncio.Event) -> None:
    from runpod.http_client import AsyncClientSession
    from runpod.serverless.modules.rp_http import send_result

    async with AsyncClientSession() as session:
        while (progress := await _unless(ending, updates.newest())) is not None:
            try:
                await send_result(session, {"status": "IN_PROGRESS", "output": asdict(progress)}, job)
            except Exception as error:  # noqa: BLE001 — an update that is lost costs nobody anything
                log.info("a progress update could not be sent (%s)", type(error).__name__)
            await _unless(ending, asyncio.sleep(INTERVAL_S, True))


async def _unless(ending: asyncio.Event, work: Any) -> Any:
    """What `work` gives, or None where the end comes first."""
    waiting = [asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return None if ending.is_set() else waiting[0].result()
    finally:
        for task in waiting:
            task.cancel()
