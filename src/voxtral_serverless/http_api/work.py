"""Jobs being done: taken from the queue in their order, so many at a time, and brought to their end.

Promises: a job under way when this is cancelled, or whose engine dies for good, goes back to its place in the queue; what
comes of the others is kept, as soon as there is room for it. Leaves out: taking jobs in and giving them out (`desk`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict

from voxtral_serverless.audio.fetch import LocalAudio, Source
from voxtral_serverless.contract import JobOptions, job_fields, parse_job, parse_options
from voxtral_serverless.errors import DeadlineExceeded, DiskFull, EngineUnavailable, SourceNotFound, public_error
from voxtral_serverless.http_api.desk import JobDesk
from voxtral_serverless.http_api.live import Live
from voxtral_serverless.http_api.records import Outcome, Record, Status
from voxtral_serverless.job_time import JobTime, policy_s
from voxtral_serverless.lifetime import EngineState
from voxtral_serverless.log import job_id as logged_job
from voxtral_serverless.log import log_failure
from voxtral_serverless.pipeline import process, source_of
from voxtral_serverless.progress import Progress

log = logging.getLogger(__name__)

LOOK_S = 30.0
"""Who has nothing to do looks at least so often whether there is something."""
NOTE_S = 1.0
"""A job's progress is written down at most so often."""


class Work:
    """Does the jobs of a desk."""

    def __init__(self, desk: JobDesk) -> None:
        self._desk = desk

    async def run(self) -> None:
        """Do jobs until cancelled; those under way go back to their place in the queue."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._desk.sweep_now_and_then())
                for _ in range(self._desk.settings.max_concurrency):
                    tasks.create_task(self._serve_queue())
        finally:
            self._desk.close()

    async def _serve_queue(self) -> None:
        while True:
            self._desk.arrival.clear()
            record = await self._next()
            if record is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._desk.arrival.wait()
            else:
                self._desk.arrival.set()  # there may be another one, for another one
                await self._do(record)

    async def _next(self) -> Record | None:
        """A job to do; none while the engine is dead."""
        try:
            if await self._desk.engine.state() is EngineState.DEAD:
                await self._give_up()
                return None
            return await self._desk.store.claim()
        except DiskFull as error:
            log.error("no job can be begun: %s", error)  # noqa: TRY400 — its message says it all
            return None

    async def _give_up(self) -> None:
        """There is no engine, and will be none before the next start: who waits for an answer now is told."""
        failure = self._desk.engine.failure
        reason = EngineUnavailable(failure.message if failure else "the engine is dead.")
        await self._desk.ended(await self._desk.store.give_up(str(reason)), Status.FAILED)

    async def _do(self, record: Record) -> None:
        live = self._desk.live(record.id)
        live.task = asyncio.create_task(self._to_its_end(record, live))
        try:
            await asyncio.wait([live.task])
            if not live.task.cancelled() and (error := live.task.exception()):
                log.error("what came of a job cannot be kept: the next start does it again", exc_info=error)
        except asyncio.CancelledError:
            live.task.cancel()
            await asyncio.wait([live.task])
            raise

    async def _to_its_end(self, record: Record, live: Live) -> None:
        if live.cancelled:
            return
        logged_job.set(record.id)
        began = time.monotonic()
        try:
            async with self._noting(record.id, live):
                outcome = await self._outcome(record, live)
            if outcome is None:
                await self._put_back(record.id)
                await self._give_up()
                return
            outcome = await self._desk.end(record.id, outcome)
        except asyncio.CancelledError:
            if not live.cancelled:
                await self._put_back(record.id)
            raise
        took_s = round(time.monotonic() - began, 3)
        if outcome.output is not None:
            self._desk.metrics.done(outcome.output, took_s)
        log.info("job %s", outcome.status.lower(), extra={"status": outcome.status, "duration_s": took_s})

    async def _put_back(self, job_id: str) -> None:
        with suppress(DiskFull):  # then the next start finds it in progress, which comes to the same
            await self._desk.store.put_back(job_id)

    async def _outcome(self, record: Record, live: Live) -> Outcome | None:
        """What comes of a job; None where its engine died for good: the next start may do it."""
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                options, source = self._read(record)
                services = await self._desk.engine.services()
                if policy_s(record.request or {}, "executionTimeout"):
                    await services.ready()  # the engine's start is not the job's time
                time_left = JobTime.of(record.request or {}, self._desk.settings.deadline_margin_s)
                timeout.reschedule(time_left.end)
                result = await process(options, source, services, live, deadline=time_left.deadline)
                return Outcome(Status.COMPLETED, result.to_json())
        except TimeoutError as error:
            if timeout.expired():
                return Outcome(Status.TIMED_OUT, error=str(DeadlineExceeded("the job's executionTimeout was over.")))
            return _failed(error)
        except Exception as error:  # noqa: BLE001 — the door to the API
            return None if await self._died(error) else _failed(error)

    async def _died(self, error: Exception) -> bool:
        """Whether the engine is dead, and not the job at fault."""
        dead = await self._desk.engine.state() is EngineState.DEAD
        return dead and (isinstance(error, EngineUnavailable) or error is self._desk.engine.failure)

    def _read(self, record: Record) -> tuple[JobOptions, Source]:
        """What is to be done, and with which recording."""
        request, defaults = record.request or {}, self._desk.settings.job_defaults
        if record.upload is not None:
            if not (self._desk.uploads / record.upload).is_file():
                raise SourceNotFound("the recording that came with the job is not there any more.")
            return parse_options(job_fields(request), defaults), LocalAudio(self._desk.uploads / record.upload)
        job = parse_job(request, defaults)
        return job, source_of(job)

    @asynccontextmanager
    async def _noting(self, job_id: str, live: Live) -> AsyncIterator[None]:
        """Write progress down, now and then, beside the block: who asks this process is told the newest anyway."""
        noting = asyncio.create_task(self._note_progress(job_id, live))
        try:
            yield
        finally:
            noting.cancel()
            await asyncio.gather(noting, return_exceptions=True)

    async def _note_progress(self, job_id: str, live: Live) -> None:
        await (await self._desk.engine.services()).ready()
        with suppress(DiskFull):
            await self._desk.store.count_attempt(job_id)
        written: Progress | None = None
        while True:
            await asyncio.sleep(NOTE_S)
            if live.last is not None and live.last is not written:
                written = live.last
                with suppress(DiskFull):
                    await self._desk.store.note(job_id, asdict(written))


def _failed(error: Exception) -> Outcome:
    log_failure(log, error)
    return Outcome(Status.FAILED, error=str(public_error(error)))
