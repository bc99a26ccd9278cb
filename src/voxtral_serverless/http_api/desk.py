"""Where jobs are taken in, asked for, ended and forgotten.

Promises: what `accept` has answered is not lost, over restarts either; of a job that is over, its upload is gone, and who
waits for it is told. Leaves out: doing the jobs (`work`), how they are kept (`store`), and whom it is told (`webhooks`, the
routes).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from voxtral_serverless.contract import job_fields
from voxtral_serverless.errors import (
    DiskFull,
    EngineUnavailable,
    JobNotFound,
)
from voxtral_serverless.http_api.live import Live
from voxtral_serverless.http_api.metrics import Metrics
from voxtral_serverless.http_api.records import Outcome, Record, Status
from voxtral_serverless.http_api.store import JobStore, queue_full
from voxtral_serverless.job_time import policy_s
from voxtral_serverless.lifetime import EngineState, Lifetime
from voxtral_serverless.settings import Settings
from voxtral_serverless.transcription.plan import Utterance

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A job in whose midst the service ended so often is not begun again."""
SWEEP_S = 30.0
STREAMED_S = 600.0
"""So long after a job is over its utterances can still be streamed."""
RETRY_S = 1.0
"""Before what could not be written is written again …"""
ROOM_S = 300.0
"""… for so long; then an answer is given up."""
RESERVE_BYTES = 100_000_000
"""Of the disk: with less, no job is taken in."""


class JobDesk:
    """Takes jobs in, and gives them out.

    Attributes:
        arrival: Set when there is a job to do; cleared by who looks.
    """

    def __init__(self, store: JobStore, uploads: Path, engine: Lifetime, settings: Settings, metrics: Metrics) -> None:
        self.store, self.uploads, self.engine, self.settings = store, uploads, engine, settings
        self.metrics = metrics
        self._live: dict[str, Live] = {}
        self.arrival = asyncio.Event()
        self._closing = asyncio.Event()
        self._discarding: set[asyncio.Task[None]] = set()

    async def accept(self, job: Mapping[str, Any], file: Path | None = None, *, kept: bool = True) -> Record:
        """Take a job in, with the file that came with it, which is moved away.

        Raises:
            EngineUnavailable: there is no engine that could do it.
            QueueFull: too many wait already.
            InvalidJob: it has no object `input`.
            DiskFull: it cannot be kept.
        """
        job_fields(job)
        await self.check_open()
        job_id = uuid4().hex
        if file is not None:
            with _full_disk_told():
                file.rename(self.uploads / job_id)
        request = {name: job[name] for name in ("input", "policy") if name in job}
        try:
            record = await self.store.add(
                job_id,
                request,
                upload=job_id if file is not None else None,
                webhook=job.get("webhook"),
                ttl_s=policy_s(job, "ttl"),
                kept=kept,
                max_waiting=self.settings.max_queue,
            )
        except Exception:
            (self.uploads / job_id).unlink(missing_ok=True)
            raise
        self.arrival.set()
        return record

    async def check_open(self) -> None:
        """Return where a job could be taken in; to be asked before its recording is.

        Raises:
            EngineUnavailable: there is no engine that could do it.
            QueueFull: too many wait already.
            DiskFull: there is hardly any room, and what there is, the jobs that are here need for their answers.
        """
        if await self.engine.state() is EngineState.DEAD and (failure := self.engine.failure):
            raise EngineUnavailable(failure.message)
        if (await self.store.counts())[Status.IN_QUEUE] >= self.settings.max_queue:
            raise queue_full(self.settings.max_queue)
        if shutil.disk_usage(self.uploads).free < RESERVE_BYTES:
            raise DiskFull("the disk of the jobs (DATA_DIR) is nearly full.")

    async def get(self, job_id: str) -> Record:
        """The job of that id.

        Raises:
            JobNotFound: there is none.
        """
        record = await self.store.get(job_id)
        if record is None:
            raise JobNotFound("there is no job of this id, or not any more (RESULT_TTL_S).")
        return record

    def live(self, job_id: str) -> Live:
        """What else is known of a job."""
        return self._live.setdefault(job_id, Live())

    def untold(self, record: Record) -> list[Utterance]:
        """The utterances of a job that are done since this was last asked."""
        live = self._live.get(record.id) if record.is_final else self.live(record.id)
        if live is None:
            return []
        new, live.told = live.utterances[live.told :], len(live.utterances)
        return new

    async def until_over(self, job_id: str, timeout_s: float | None = None) -> Record:
        """The job when it is over, when the time is, or when the service ends, whichever comes first."""
        await self.get(job_id)
        events = (self.live(job_id).over, self._closing)
        record = await self.get(job_id)  # it may have been over before there was anything to wait for
        if record.is_final:
            return record
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return await self.get(job_id)

    async def news(self, live: Live, timeout_s: float) -> None:
        """Wait until there is something new of a job, the time is over, or the service ends."""
        waiting = [asyncio.create_task(event.wait()) for event in (live.news, self._closing)]
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def close(self) -> None:
        """The service ends: who waits need not any more."""
        self._closing.set()

    @property
    def closing(self) -> bool:
        """Whether the service ends."""
        return self._closing.is_set()

    async def cancel(self, job_id: str) -> Record:
        """End a job; one that is over stays as it is."""
        record = await self.get(job_id)
        if record.is_final:
            return record
        live = self.live(job_id)
        live.cancelled = True
        if live.task is not None:
            live.task.cancel()
            await asyncio.wait([live.task])
        self._delete_upload(job_id)  # first: on a full disk this makes room for the rest
        if await self.store.finish(job_id, Outcome(Status.CANCELLED)):
            self.metrics.over(Status.CANCELLED)
        await self.let_go(job_id)
        return await self.get(job_id)

    async def delete(self, job_id: str) -> None:
        """Have nothing left of a job: it is cancelled, where it is not over, and forgotten."""
        await self.cancel(job_id)
        await self.store.delete(job_id)
        await self.let_go(job_id)
        self._live.pop(job_id, None)

    def discard(self, job_id: str) -> None:
        """Have nothing left of a job, soon: for who cannot wait, since they are being cancelled."""
        task = asyncio.create_task(self.delete(job_id))
        self._discarding.add(task)
        task.add_done_callback(self._discarded)

    def _discarded(self, task: asyncio.Task[None]) -> None:
        self._discarding.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            log.info("a job that nobody waits for stays until the next start (%s)", type(error).__name__)

    async def purge_queue(self) -> int:
        """Cancel all that wait; how many that were."""
        purged = await self.store.purge_queue()
        await self.ended(purged, Status.CANCELLED)
        return len(purged)

    async def recover(self) -> None:
        """Put in order what the last service left, before anything new comes."""
        recovered = await self.store.recover(MAX_ATTEMPTS)
        if recovered:
            log.warning("%d jobs were under way when the service ended: they are begun again", recovered)
        await asyncio.to_thread(_delete_others, self.uploads, await self.store.uploads())

    async def end(self, job_id: str, outcome: Outcome) -> Outcome:
        """Keep what came of a job, when there is room for it; where there is none for long, keep that. What was kept."""
        began = time.monotonic()
        while True:
            try:
                if await self.store.finish(job_id, outcome):
                    self.metrics.over(outcome.status)
                break
            except DiskFull as error:
                log.error("what came of a job cannot be kept yet: %s", error)  # noqa: TRY400 — its message says it all
                if outcome.status is Status.COMPLETED and time.monotonic() - began > ROOM_S:
                    outcome = Outcome(Status.FAILED, error=str(error))
                await asyncio.sleep(RETRY_S)
        await self.let_go(job_id)
        return outcome

    async def ended(self, job_ids: list[str], status: Status) -> None:
        """Jobs that waited are over."""
        for _ in job_ids:
            self.metrics.over(status)
        if job_ids:
            await self.let_go(*job_ids)

    async def let_go(self, *job_ids: str) -> None:
        """Jobs are over: who waits for them is told, and what came with them goes."""
        for job_id in job_ids:
            self._delete_upload(job_id)
            live = self._live.get(job_id)
            if live is not None:
                live.ended = live.ended or time.monotonic()
                live.over.set()
                live.news.set()
        await self.store.empty_log()

    def _delete_upload(self, job_id: str) -> None:
        try:
            (self.uploads / job_id).unlink(missing_ok=True)
        except OSError as error:
            log.error("an upload cannot be deleted (%s): the next start does it", error.strerror)  # noqa: TRY400

    async def sweep_now_and_then(self) -> None:
        """Let go of what is over, until cancelled."""
        while True:
            with suppress(DiskFull):
                await self._sweep()
            await asyncio.sleep(SWEEP_S)

    async def _sweep(self) -> None:
        """Let go of what is over: jobs that waited too long, old results, and what was known of jobs long over."""
        await self.ended(await self.store.time_out(), Status.TIMED_OUT)
        if forgotten := await self.store.forget(self.settings.result_ttl_s):
            await self.let_go(*forgotten)
        for job_id in forgotten:
            self._live.pop(job_id, None)
        long_ago = time.monotonic() - STREAMED_S
        for job_id in [one for one, live in self._live.items() if live.ended and live.ended < long_ago]:
            del self._live[job_id]


def _delete_others(folder: Path, needed: set[str]) -> None:
    """Delete the uploads that no job needs."""
    for path in folder.iterdir():
        if path.name not in needed:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFull("there is no room for the upload.") from error
