"""OpenAI's routes where the time at which something happens counts: what ends a transcription, while somebody waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.http_api.near import TICKS, Near, near_service
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.http_api import openai_routes
from voxtral_serverless.http_api.openai_routes import PATH
from voxtral_serverless.http_api.records import Outcome, Status
from voxtral_serverless.transcription.plan import Utterance

pytestmark = pytest.mark.asyncio(loop_scope="module")

Answer = tuple[int, dict[str, Any]]
TURN = {"speaker": None, "start": 0.0, "end": 1.0, "text": "Hello.", "words": None}
OUTPUT: dict[str, Any] = {"language": "en", "duration": 1.0, "transcriptions": [TURN]}
DEAF = OUTPUT | {
    "transcriptions": [TURN | {"text": None}],
    "meta": {"warnings": [{"code": "x", "message": "the engine was out of memory."}]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service whose jobs wait until a test has something become of them."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False) as near:
        yield near


async def asked(service: Near, **fields: str) -> tuple[str, asyncio.Task[httpx.Response]]:
    """A transcription under way: the id of its job, and the answer to be."""
    answer = asyncio.create_task(service.client.post(PATH, files={"file": ("call.wav", TICKS)}, data=fields))
    desk = service.parts.desk
    async with asyncio.timeout(10):
        while not await desk.store.uploads():  # noqa: ASYNC110 — it is told to nobody
            await asyncio.sleep(0.01)
    (job_id,) = await desk.store.uploads()
    await asyncio.sleep(0.1)  # whoever waits does by now
    return job_id, answer


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """What was streamed."""
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    lines = answer.text.split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_what_is_heard_last_is_streamed_too(service: Near) -> None:
    job_id, answer = await asked(service, stream="true")
    desk = service.parts.desk
    desk.live(job_id).utterances.append(
        Utterance(Span(0, 1), None, "Hello.")
    )  # together with the end: nobody hears of it
    await desk.end(job_id, Outcome(Status.COMPLETED, OUTPUT))
    assert events(await answer) == [
        {"type": "transcript.text.delta", "delta": "Hello. "}, {"type": "transcript.text.done", "text": "Hello."}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "status", "code", "says"),
    [
        (Outcome(Status.COMPLETED, DEAF), 500, "stage_failed", "the engine was out of memory."),
        (Outcome(Status.FAILED, error="audio_empty: nothing."), 400, "audio_empty", "nothing."),
        (Outcome(Status.FAILED, error="disk_full: no room."), 503, "disk_full", "no room."),
        (Outcome(Status.TIMED_OUT, error="deadline_exceeded: late."), 500, "deadline_exceeded", "late."),
        (Outcome(Status.CANCELLED), 500, "internal_error", "the job was cancelled."),
    ],
)
async def test_what_went_wrong_is_told(service: Near, outcome: Outcome, status: int, code: str, says: str) -> None:
    for fields in ({}, {"stream": "true"}):
        job_id, pending = await asked(service, **fields)
        await service.parts.desk.end(job_id, outcome)
        answer = await pending
        assert answer.status_code == (200 if fields else status)
        error = (events(answer)[-1] if fields else answer.json())["error"]
        assert (error["code"], error["message"]) == (code, says)
        assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
async def test_a_job_that_somebody_deletes_meanwhile_is_told(service: Near, fields: dict[str, str]) -> None:
    job_id, pending = await asked(service, **fields)
    await service.parts.desk.delete(job_id)
    answer = await pending
    error = (events(answer)[-1] if fields else answer.json())["error"]
    assert error["code"] in ("job_not_found", "internal_error")


async def test_a_service_that_ends_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with near_service(tmp_path_factory.mktemp("data"), works=False) as ending:
        waiting = [(await asked(ending, stream="true"))[1]]
        waiting.append(asyncio.create_task(ending.client.post(PATH, files={"file": ("call.wav", TICKS)})))
        await asyncio.sleep(0.2)
        ending.parts.desk._closing.set()
        streamed, whole = await asyncio.gather(*waiting)
        assert events(streamed)[-1]["error"]["code"] == "engine_unavailable"
        assert (whole.status_code, whole.json()["error"]["code"]) == (503, "engine_unavailable")


async def test_stream_that_has_nothing_to_say_says_so(service: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_routes, "QUIET_S", 0.05)
    job_id, answer = await asked(service, stream="true")
    await asyncio.sleep(0.3)
    await service.parts.desk.end(job_id, Outcome(Status.COMPLETED, OUTPUT))
    *comments, _done, nothing = (await answer).text.split("\n\n")
    assert set(comments) == {": still at it"}
    assert nothing == ""
