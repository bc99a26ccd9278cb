"""RunPod's SDK, with the gaps closed through which it loses jobs. Imports it: for the worker's process alone.

The SDK is used as it is: its start, its loops, its requests. What differs, each shown by a test:

- On SIGTERM the SDK goes on asking for jobs for up to 90 s, and takes one then that it never does. Here what is being
  handed out in that moment is still taken and done; nothing is asked for after.
- A refused job-take is repeated at once, hundreds of times a second. Here the pauses grow.
- A job without an input is dropped without a word, and one without an id ends the worker. Here the first is done (and
  answered with what is wrong with it), the second is logged and left.
- The heartbeat is a fork that outlives a killed worker, and holds its pipes open. Here it is spawned, and ends with it.

Left as it is: a result is posted three times within about five seconds, then dropped.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any

import runpod
from runpod.http_client import AsyncClientSession, TooManyRequests
from runpod.serverless.modules import rp_job, rp_ping, rp_scale

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
HANDOVER_S = 1.5
"""A job that is being handed out when the worker is to end has so long to arrive."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 16.0
"""After a job-take that failed, or that came back empty at once; doubled each time it fails."""

JOB_FIELDS = frozenset({"id", "input", "webhook", "policy", "s3Config", "batchId"})
"""What is handed on of a job: any other field could break the SDK."""

Job = dict[str, Any]
Handle = Callable[[Job], Awaitable[dict[str, Any]]]
Retire = Callable[[], None]
"""Has no further job asked for; from any thread."""


class Scaler(rp_scale.JobScaler):  # type: ignore[misc]
    """The SDK's loops, and an end at which no job is lost."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.jobs_fetcher = self._fetch
        self._closing = asyncio.Event()
        self._handover_s = HANDOVER_S
        self._failures = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def kill_worker(self) -> None:
        """Ask for no further job, and end when those that are here are done. The SDK's signal handler calls this."""
        self._closing.set()

    def retire(self) -> None:
        """The same, from any thread, at once: a job that came now would find nobody to do it."""
        self._handover_s = 0.0
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.kill_worker)

    async def run(self) -> None:
        """The SDK's loops. The one that hears of cancellations runs until the last job is done."""
        self._loop = asyncio.get_running_loop()
        listener = copy(self)  # the same jobs, and no end of its own
        listener._shutdown_event = asyncio.Event()  # noqa: SLF001
        async with AsyncClientSession() as session:
            listening = asyncio.create_task(listener.monitor_stop_signals(session))
            try:
                await asyncio.gather(self.get_jobs(session), self.run_jobs(session))
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _fetch(self, session: Any, count: int) -> list[Job]:
        """Jobs, when there are any. Where the worker is to end, those that are on their way; then none, and the end."""
        if self._closing.is_set():
            super().kill_worker()
            return []
        began = time.monotonic()
        try:
            jobs = await self._asked(session, count)
        except TooManyRequests:  # the SDK waits for 5 s
            raise
        except Exception:
            self._failures += 1
            await self._pause(min(PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S))
            raise
        self._failures = 0
        if not jobs:
            await self._pause(PAUSE_S - (time.monotonic() - began))
        return jobs

    async def _asked(self, session: Any, count: int) -> list[Job]:
        asking = asyncio.create_task(_take(session, count))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait([asking, closing], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([asking], timeout=self._handover_s)
            return asking.result() if asking.done() else []
        finally:
            asking.cancel()
            closing.cancel()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), max(seconds, 0))


async def _take(session: Any, count: int) -> list[Job]:
    """Jobs that the queue hands out, up to `count`, in a form that the SDK can carry."""
    async with session.get(rp_job._job_get_url(count)) as response:  # noqa: SLF001 — its address, for one and for many
        if response.status in {204, 400}:  # nothing to do; a worker that FlashBoot has just thawed
            return []
        if response.status == 429:
            raise TooManyRequests(response.request_info, response.history, status=429, message=response.reason)
        response.raise_for_status()
        found = await response.json(content_type=None)
    jobs = []
    for job in found if isinstance(found, list) else [found]:
        if isinstance(job, dict) and isinstance(job.get("id"), str) and job["id"]:
            jobs.append({name: value for name, value in ({"input": None} | job).items() if name in JOB_FIELDS})
        elif job:
            log.error("the queue handed out a job without an id, which nobody can answer")
    return jobs


def heartbeat(*arguments: Any) -> None:
    """The SDK's heartbeat, in its process, which ends with the worker's."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    rp_ping.Heartbeat.process_loop(*arguments)


def serve(
    handle: Callable[[Retire], Handle],
    *,
    concurrency: int,
    checks: Sequence[Callable[[], None]],
    taking: Callable[[], None],
) -> None:
    """Do jobs until the process is asked to end. Blocks, in the main thread.

    `handle` makes the handler, given what it calls to stop the asking for jobs; `checks` are the SDK's fitness checks;
    `taking` is called when they are through, right before the first job is asked for.
    """
    scalers: list[Scaler] = []

    def make(config: dict[str, Any]) -> Scaler:
        scalers.append(Scaler(config))
        taking()
        return scalers[0]

    def retire() -> None:
        scalers[0].retire()

    rp_scale.JobScaler = make
    rp_ping.Heartbeat.process_loop = staticmethod(heartbeat)
    multiprocessing.set_start_method("spawn")
    vars(runpod.serverless)["print"] = lambda *_: None  # its banner would be the one line of the log that is no JSON
    sys.argv = sys.argv[:1]  # the SDK reads it too
    for check in checks:
        runpod.serverless.register_fitness_check(check)
    runpod.serverless.start({"handler": handle(retire), "concurrency_modifier": lambda _: concurrency})
