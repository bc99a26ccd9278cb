"""From a job of RunPod's queue to its answer.

Promises: every job is answered, in the contract's shape or as `{"error": "code: message"}`, and what is answered can be
delivered; only a cancellation is raised. Leaves out: taking jobs and posting answers, which the SDK does (`sdk`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from voxtral_serverless.contract import parse_job
from voxtral_serverless.errors import EngineUnavailable, VoxtralError, public_error
from voxtral_serverless.log import job_id
from voxtral_serverless.pipeline import process, source_of
from voxtral_serverless.runpod_worker.backend import Backend
from voxtral_serverless.runpod_worker.progress import progress_updates
from voxtral_serverless.runpod_worker.results import bucket_of, deliverable
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
        log.info("job %s", status, extra={"status": status, "duration_s": round(time.monotonic() - began, 3)})
        return answer

    async def _done(self, job: dict[str, Any]) -> dict[str, Any]:
        options = parse_job(job, self._settings.job_defaults)
        services = await self._backend.services()
        async with progress_updates(job) as events:
            deadline = _deadline(job, self._settings.deadline_margin_s)
            result = await process(options, source_of(options), services, events, deadline=deadline)
            bucket = bucket_of(job, self._settings)
            return await deliverable(result.to_json(), job_id=job["id"], settings=self._settings, bucket=bucket)

    def _refusal(self, error: Exception) -> dict[str, Any]:
        """What is answered instead.

        An engine of our own that died too often is hopeless here and may live elsewhere: the worker asks for its
        replacement. A fault of the configuration is the same everywhere, and would only be billed again.
        """
        if isinstance(error, VoxtralError):
            log.warning("%s", error)
        else:
            log.error("the job failed unexpectedly", exc_info=error)
        answer: dict[str, Any] = {"error": str(public_error(error))}
        ours = not self._settings.vllm_base_url
        if isinstance(error, EngineUnavailable) and self._backend.came_up and ours:
            log.error("the engine is beyond help: this worker asks to be replaced")
            self._retire()
            answer["refresh_worker"] = True
        return answer


def _deadline(job: Mapping[str, Any], margin_s: float) -> float | None:
    """When the job has to be done, on the clock of the loop, by RunPod's `executionTimeout` (milliseconds)."""
    policy = job.get("policy")
    timeout_ms = policy.get("executionTimeout") if isinstance(policy, Mapping) else None
    if not isinstance(timeout_ms, int | float) or isinstance(timeout_ms, bool) or timeout_ms <= 0:
        return None
    timeout_s = timeout_ms / 1000
    return asyncio.get_running_loop().time() + max(timeout_s - margin_s, timeout_s / 2)
