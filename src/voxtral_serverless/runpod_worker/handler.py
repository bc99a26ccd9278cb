"""From a job of RunPod's queue to its answer.

Promises: every job is answered, in the contract's shape or as `{"error": "code: message"}`, and what is answered can be
delivered; only a cancellation is raised. Leaves out: taking jobs and posting answers, which the SDK does (`sdk`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from voxtral_serverless.contract import parse_job
from voxtral_serverless.errors import DeadlineExceeded, EngineUnavailable, public_error
from voxtral_serverless.job_time import JobTime
from voxtral_serverless.log import job_id, log_failure
from voxtral_serverless.pipeline import process, source_of
from voxtral_serverless.runpod_worker.backend import Backend
from voxtral_serverless.runpod_worker.progress import progress_updates
from voxtral_serverless.runpod_worker.results import bucket_of, deliverable
from voxtral_serverless.services import Services
from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)


class Handler:
    """Does jobs. `retire` is called when this worker can do none any more, and another one could."""

    def __init__(self, backend: Backend, settings: Settings, retire: Callable[[], None]) -> None:
        self._backend, self._settings, self._retire = backend, settings, retire

    async def handle(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to a job, for the SDK, in whose loop this runs."""
        job_id.set(str(job["id"]))
        return await self._backend.do(self._answer(job))

    async def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        try:
            answer = await self._done(job)
        except Exception as error:  # noqa: BLE001 — the door to the queue
            answer = self._refusal(error)
        status = "failed" if "error" in answer else "done"
        counts = {"audio_s": answer.get("duration"), "turns": len(answer.get("transcriptions") or ())}
        if status == "done":
            self._backend.startup.served(answer.get("meta", {}).get("timings", {}), began)
        took = {"status": status, "duration_s": round(time.monotonic() - began, 3)}
        log.info("job %s", status, extra=took | (counts if status == "done" else {}))
        return answer

    async def _done(self, job: dict[str, Any]) -> dict[str, Any]:
        options = parse_job(job, self._settings.job_defaults)
        clock = JobTime.of(job, self._settings.deadline_margin_s)
        services = await self._services(clock)
        async with progress_updates(job) as events:
            result = await process(options, source_of(options), services, events, deadline=clock.deadline)
            return await deliverable(
                result.to_json(),
                job_id=job["id"],
                settings=self._settings,
                bucket=bucket_of(job, self._settings),
                upload_timeout_s=clock.left_to_deliver(),
            )

    async def _services(self, clock: JobTime) -> Services:
        try:
            async with asyncio.timeout_at(clock.deadline):
                return await self._backend.services()
        except TimeoutError as error:
            raise DeadlineExceeded("the job's time was over before the engine was there; try again later.") from error

    def _refusal(self, error: Exception) -> dict[str, Any]:
        """What is answered instead.

        An engine of our own that died too often is hopeless here and may live elsewhere: the worker asks for its
        replacement. A fault of the configuration is the same everywhere, and would only be billed again.
        """
        log_failure(log, error)
        answer: dict[str, Any] = {"error": str(public_error(error))}
        ours = not self._settings.vllm_base_url
        if isinstance(error, EngineUnavailable) and self._backend.came_up and ours:
            log.error("the engine is beyond help: this worker asks to be replaced")
            self._retire()
            answer["refresh_worker"] = True
        return answer
