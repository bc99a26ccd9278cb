"""RunPod's API, as its clients speak it: jobs posted, asked for, streamed, cancelled.

The paths are those of an endpoint (`/run`), and the same below `/{endpoint_id}` and `/v2/{endpoint_id}`, where RunPod's
clients look for them: whatever id they name is this service. Left out of RunPod's API: `/retry`, since of a job that is
over its input is gone; results in a bucket (`s3Config` is not needed and not read).
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.contract import job_fields
from voxtral_serverless.errors import InvalidJob
from voxtral_serverless.http_api.answers import Json
from voxtral_serverless.http_api.dependencies import DeskOf
from voxtral_serverless.http_api.desk import JobDesk
from voxtral_serverless.http_api.forms import Form
from voxtral_serverless.http_api.records import Record, Status, shown
from voxtral_serverless.http_api.uploads import parsed_json, received_form, received_json
from voxtral_serverless.http_api.webhooks import checked_webhook
from voxtral_serverless.job_time import policy_s
from voxtral_serverless.lifetime import EngineState
from voxtral_serverless.settings import Settings
from voxtral_serverless.transcription.plan import Utterance

WAIT_MS, LEAST_WAIT_MS, MOST_WAIT_MS = 90_000, 1000, 300_000
FORM_FIELDS = ("input", "webhook", "policy")

router = APIRouter(tags=["RunPod's API"])

JobId = Annotated[str, Path(max_length=100, description="What `/run` answered.")]


class Fault(BaseModel):
    """What is wrong: a stable code, and what to do about it."""

    error: str = Field(examples=["job_not_found: there is no job of this id, or not any more (RESULT_TTL_S)."])


class JobState(BaseModel):
    """A job. Times are milliseconds: `delayTime` in the queue, `executionTime` since."""

    id: str
    status: Status
    delayTime: int | None = None  # noqa: N815 — RunPod's name
    executionTime: int | None = None  # noqa: N815
    output: dict[str, JsonValue] | None = None
    error: str | None = None


class Streamed(BaseModel):
    """What of a job is new since it was last asked for."""

    status: Status
    stream: list[dict[Literal["output"], dict[str, JsonValue]]]


class Health(BaseModel):
    """How many jobs and workers (there is one) are in which state."""

    jobs: dict[str, int]
    workers: dict[str, int]


class Purged(BaseModel):
    """How many jobs were taken out of the queue."""

    removed: int
    status: Literal["completed"]


FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": what}
    for status, what in {
        400: "The request is not valid.", 401: "The key is missing, or wrong.", 403: "Refused.",
        404: "There is no such job.", 413: "Too large.", 429: "Too many jobs wait.", 503: "It cannot be done now.",
    }.items()
}  # fmt: skip
_WEBHOOK = {"type": ["string", "null"], "pattern": "^https?://[^/]", "description": "Called when the job is over."}
_TIME = {"type": ["number", "null"], "exclusiveMinimum": 0}
_POLICY = {
    "type": ["object", "null"],
    "properties": {"executionTimeout": _TIME, "ttl": _TIME},
    "description": "Milliseconds.",
}
_JOB = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {"type": "object", "description": "The job's fields: docs/api.md."},
        "webhook": _WEBHOOK,
        "policy": _POLICY,
    },
}
_UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "input": {"type": "object", "description": "The job's other fields, as JSON."},
        "webhook": _WEBHOOK,
        "policy": _POLICY,
    },
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _JOB}, "multipart/form-data": {"schema": _UPLOAD}},
    }
}


@router.post("/run", response_model=JobState, responses=FAULTS, openapi_extra=BODY)
async def run(request: Request, desk: DeskOf) -> Response:
    """Queue a job: `{"input": {"audio_url": …}}`, or a form with the recording as `file`."""
    return Json(shown(await _accepted(request, desk)))


@router.post("/runsync", response_model=JobState, responses=FAULTS, openapi_extra=BODY)
async def runsync(
    request: Request,
    desk: DeskOf,
    wait: Annotated[int, Query(ge=LEAST_WAIT_MS, le=MOST_WAIT_MS, description="Longest wait, in ms.")] = WAIT_MS,
) -> Response:
    """Queue a job and wait for it. One that takes longer goes on: ask for it by `/status`."""
    record = await _accepted(request, desk)
    return Json(shown(await desk.until_over(record.id, wait / 1000)))


@router.get("/status/{job_id}", response_model=JobState, responses=FAULTS)
@router.post("/status/{job_id}", response_model=JobState, responses=FAULTS)
async def status(job_id: JobId, desk: DeskOf) -> Response:
    """A job: where it is, and what came of it. The output of one that is under way is its progress."""
    return Json(shown(_with_newest(await desk.get(job_id), desk)))


@router.get("/stream/{job_id}", response_model=Streamed, responses=FAULTS)
@router.post("/stream/{job_id}", response_model=Streamed, responses=FAULTS)
async def stream(job_id: JobId, desk: DeskOf) -> Response:
    """The utterances that are done since the last call, in the order in which they are done."""
    record = await desk.get(job_id)
    new = [{"output": utterance_shown(one)} for one in desk.untold(record)]
    return Json({"status": record.status, "stream": new})


@router.post("/cancel/{job_id}", response_model=JobState, responses=FAULTS)
async def cancel(job_id: JobId, desk: DeskOf) -> Response:
    """End a job. One that is over stays as it is."""
    return Json(shown(await desk.cancel(job_id)))


@router.delete("/jobs/{job_id}", status_code=204, responses=FAULTS, response_class=Response)
async def delete(job_id: JobId, desk: DeskOf) -> Response:
    """Have nothing left of a job: it is cancelled, and its recording and result are deleted."""
    await desk.delete(job_id)
    return Response(status_code=204)


@router.post("/purge-queue", response_model=Purged, responses=FAULTS)
async def purge_queue(desk: DeskOf) -> Response:
    """Cancel all jobs that wait."""
    return Json({"removed": await desk.purge_queue(), "status": "completed"})


@router.get("/health", response_model=Health, responses=FAULTS)
async def health(desk: DeskOf) -> Response:
    """How many jobs there are, and how the worker is."""
    counts, state = await desk.store.counts(), await desk.engine.state()
    jobs = {
        "completed": counts[Status.COMPLETED], "failed": counts[Status.FAILED] + counts[Status.TIMED_OUT],
        "inProgress": counts[Status.IN_PROGRESS], "inQueue": counts[Status.IN_QUEUE], "retried": 0,
    }  # fmt: skip
    ready = state is EngineState.READY
    workers = {
        "idle": ready and not jobs["inProgress"], "initializing": state is EngineState.STARTING, "ready": ready,
        "running": bool(jobs["inProgress"]), "throttled": 0, "unhealthy": state is EngineState.DEAD,
    }  # fmt: skip
    return Json({"jobs": jobs, "workers": {name: int(count) for name, count in workers.items()}})


def utterance_shown(utterance: Utterance) -> dict[str, Any]:
    """An utterance as `transcriptions` has them."""
    span = utterance.span
    return {
        "speaker": utterance.speaker, "start": round(span.start, 2), "end": round(span.end, 2), "text": utterance.text
    }  # fmt: skip


def _with_newest(record: Record, desk: JobDesk) -> Record:
    last = None if record.is_final else desk.live(record.id).last
    return record if last is None else replace(record, progress=asdict(last))


async def _accepted(request: Request, desk: JobDesk) -> Record:
    await desk.check_open()
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await desk.accept(_checked(await received_json(request), desk.settings))
    async with received_form(request, desk.uploads, desk.settings.max_audio_bytes) as form:
        return await desk.accept(_checked(_job_of(form), desk.settings), form.file)


def _job_of(form: Form) -> dict[str, Any]:
    """The job that a form stands for."""
    if unknown := sorted(form.fields.keys() - set(FORM_FIELDS)):
        raise InvalidJob(f"unknown field {unknown[0][:60]!r} in the form: known are file, {', '.join(FORM_FIELDS)}.")
    if form.file is None:
        raise InvalidJob("the form has no file.")
    parsed = {name: _parsed(name, form) for name in ("input", "policy")}
    if "audio_url" in (parsed["input"] or {}) or "audio_base64" in (parsed["input"] or {}):
        raise InvalidJob("exactly one recording is needed: a file is there, so input may name none.")
    job = {"input": parsed["input"] or {}, "webhook": form.text("webhook"), "policy": parsed["policy"]}
    return {name: value for name, value in job.items() if value is not None}


def _parsed(name: str, form: Form) -> dict[str, Any] | None:
    text = form.text(name)
    try:
        found = None if text is None else parsed_json(text)
    except ValueError as error:
        raise InvalidJob(f"the field {name} is {error}.") from error
    if found is not None and not isinstance(found, dict):
        raise InvalidJob(f"the field {name} is not a JSON object.")
    return found


def _checked(job: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The job with a webhook that may be called."""
    job_fields(job)
    _check_policy(job.get("policy"))
    if job.get("webhook") is None:
        return {name: value for name, value in job.items() if name != "webhook"}
    return job | {"webhook": checked_webhook(job["webhook"], AddressPolicy.of(settings))}


def _check_policy(policy: object) -> None:
    """Return where a job's times are times.

    Raises:
        InvalidJob: one is not.
    """
    if not isinstance(policy, dict | None):
        raise InvalidJob("policy: an object is needed.")
    for name in ("executionTimeout", "ttl"):
        if (policy or {}).get(name) is not None and policy_s({"policy": policy}, name) is None:
            raise InvalidJob(f"policy.{name}: a number of milliseconds, more than 0, is needed.")
