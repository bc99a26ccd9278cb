"""Jobs are ended, timed out, refused and forgotten as their posters ask, and then nothing of them is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.http_api.near import TICKS, Near, inline, near_service, rows, traces
from tests.http_api.test_webhooks import silent
from tests.test_child import eventually
from voxtral_serverless.errors import DiskFull
from voxtral_serverless.http_api import desk
from voxtral_serverless.http_api.records import Outcome

WORDS = "quincaillerie"
"""Stands in a job, and nowhere else."""


@asynccontextmanager
async def held_up(folder: Path) -> AsyncIterator[tuple[Near, str]]:
    """A service whose one place is taken by a job, which waits for its recording; and that job's id."""
    async with (
        silent() as url,
        near_service(folder, fetch_allow_private=True, max_concurrency=1, max_queue=5) as near,
    ):
        job_id = await near.run({"input": {"audio_url": url}, "policy": {"executionTimeout": 600_000}})
        await near.until(job_id, "IN_PROGRESS")
        yield near, job_id


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked often for what is over."""
    monkeypatch.setattr(desk, "SWEEP_S", 0.1)


def named() -> str:
    """The `input` of a form that echoes the words."""
    return json.dumps({"task": "transcribe", "metadata": {"note": WORDS}})


async def test_queued_job_is_cancelled(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, running):
        job_id = await near.send()
        cancelled = await near.client.post(f"/cancel/{job_id}")
        assert cancelled.json() == {"id": job_id, "status": "CANCELLED"}
        assert near.uploads == []
        assert (await near.status(running))["status"] == "IN_PROGRESS"


async def test_running_job_is_cancelled(tmp_path: Path, temporary: Path) -> None:
    async with held_up(tmp_path) as (near, running):
        assert [path for path in temporary.rglob("*") if path.is_file()]
        assert (await near.client.post(f"/cancel/{running}")).json()["status"] == "CANCELLED"
        assert not [path for path in temporary.rglob("*") if path.is_file()]
        after = await near.send()
        assert (await near.until(after, "COMPLETED"))["id"] == after
        assert (await near.client.post(f"/cancel/{after}")).json()["status"] == "COMPLETED", "it was over"


async def test_unknown_job(tmp_path: Path) -> None:
    async with near_service(tmp_path, works=False) as near:
        for method, path in (("GET", "status"), ("GET", "stream"), ("POST", "cancel"), ("DELETE", "jobs")):
            answer = await near.client.request(method, f"/{path}/nobody")
            assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (404, "job_not_found")


@pytest.mark.parametrize("after", ["it is over", "it was purged", "it waits"])
async def test_nothing_of_a_deleted_job_is_left(after: str, tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, running):
        job_id = await near.send(input=named())
        assert traces(tmp_path, WORDS), "the trap was not set"
        if after == "it is over":
            await near.client.post(f"/cancel/{running}")
            assert (await near.until(job_id, "COMPLETED"))["output"]["metadata"] == {"note": WORDS}
        elif after == "it was purged":
            assert (await near.client.post("/purge-queue")).json() == {"removed": 1, "status": "completed"}
        assert (await near.client.delete(f"/jobs/{job_id}")).status_code == 204
        assert (await near.client.get(f"/status/{job_id}")).status_code == 404
        assert (near.uploads, traces(tmp_path, WORDS), traces(tmp_path, job_id)) == ([], [], [])


async def test_upload_goes_with_the_queue(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, _):
        ids = [await near.send() for _ in range(2)]
        assert len(near.uploads) == 2
        await near.client.post("/purge-queue")
        assert [(await near.status(job_id))["status"] for job_id in ids] == ["CANCELLED"] * 2
        assert near.uploads == []


@pytest.mark.usefixtures("busy")
async def test_result_expires(tmp_path: Path) -> None:
    async with near_service(tmp_path, result_ttl_s=1.0) as near:
        job_id = await near.send(input=named())
        assert (await near.until(job_id, "COMPLETED"))["output"]["metadata"] == {"note": WORDS}
        async with asyncio.timeout(20):
            while (await near.client.get(f"/status/{job_id}")).status_code != 404:  # noqa: ASYNC110 — a service sets no event
                await asyncio.sleep(0.05)
        assert (rows(tmp_path), near.uploads) == ([], [])
        assert await eventually(lambda: traces(tmp_path, WORDS) == [])


@pytest.mark.usefixtures("busy")
async def test_time_to_live_in_the_queue(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, _):
        job_id = await near.send(policy='{"ttl": 500}')
        job = await near.until(job_id, "TIMED_OUT")
        assert job["error"].startswith("deadline_exceeded: ")
        assert "delayTime" not in job
        assert near.uploads == []


async def test_execution_timeout(tmp_path: Path) -> None:
    async with silent() as url, near_service(tmp_path, fetch_allow_private=True, deadline_margin_s=0) as near:
        job_id = await near.run({"input": {"audio_url": url}, "policy": {"executionTimeout": 300}})
        job = await near.until(job_id, "TIMED_OUT", "FAILED")
        assert job["error"].startswith("deadline_exceeded: ")
        assert job["executionTime"] < 20_000


async def test_full_queue(tmp_path: Path) -> None:
    """Whoever comes at the same time: no more than `MAX_QUEUE` wait."""
    async with held_up(tmp_path) as (near, _):
        answers = await asyncio.gather(*(near.client.post("/run", json=inline(TICKS)) for _ in range(20)))
        taken = [answer for answer in answers if answer.status_code == 200]
        assert len(taken) == 5
        refused = await near.client.post("/run", files={"file": ("a.wav", TICKS)})
        assert (refused.status_code, refused.json()["error"].partition(":")[0]) == (429, "queue_full")
        assert near.uploads == []
        await near.client.post(f"/cancel/{taken[0].json()['id']}")
        assert (await near.client.post("/run", json=inline(TICKS))).status_code == 200


async def test_who_waits_is_told_when_the_job_is_cancelled(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, _):
        waiting = asyncio.create_task(near.client.post("/runsync?wait=60000", json=inline(TICKS)))
        assert await eventually(lambda: len(rows(tmp_path)) == 2, 10)
        await near.client.post("/purge-queue")
        assert (await asyncio.wait_for(waiting, 10)).json()["status"] == "CANCELLED"


async def test_waiting_ends_before_the_job(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (near, _):
        answer = await near.client.post("/runsync?wait=1000", json=inline(TICKS))
        assert answer.json()["status"] == "IN_QUEUE"
        assert (await near.client.post("/runsync?wait=999", json=inline(TICKS))).status_code == 400


@pytest.mark.parametrize("job", [{}, {"input": 7}, {"input": None}, {"input": []}])
async def test_job_without_input_is_refused(job: dict[str, object], tmp_path: Path) -> None:
    async with near_service(tmp_path, works=False) as near:
        answer = await near.client.post("/run", json=job)
        assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (400, "invalid_input")
        assert rows(tmp_path) == []


@pytest.mark.usefixtures("busy")
async def test_what_is_known_of_jobs_long_over_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "STREAMED_S", 0.2)
    async with near_service(tmp_path) as near:
        job_id = await near.send()
        await near.until(job_id, "COMPLETED")
        known = near.parts.desk._live
        assert await eventually(lambda: not known)
        answer = await near.client.get(f"/stream/{job_id}")
        assert answer.json() == {"status": "COMPLETED", "stream": []}
        assert not known


async def test_nothing_of_the_request_stays_when_the_job_is_over(tmp_path: Path) -> None:
    async with near_service(tmp_path) as near:
        secret = {"audio_url": "http://127.0.0.1:9/call.wav", "audio_headers": {"Authorization": f"Bearer {WORDS}"}}
        await near.until(await near.run({"input": secret}), "FAILED")
        assert await eventually(lambda: traces(tmp_path, WORDS) == [])


async def test_answer_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "RETRY_S", 0.05)
    async with near_service(tmp_path) as near:
        refusals = full_disk(near, monkeypatch, times=3)
        job = await near.until(await near.send(input=named()), "COMPLETED", "FAILED")
        assert (job["status"], len(refusals)) == ("COMPLETED", 3)


async def test_answer_for_which_there_is_no_room_for_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "RETRY_S", 0.05)
    monkeypatch.setattr(desk, "ROOM_S", 0.1)
    async with near_service(tmp_path) as near:
        full_disk(near, monkeypatch, times=8)
        job = await near.until(await near.send(input=named()), "COMPLETED", "FAILED")
        assert job["error"].startswith("disk_full: ")


async def test_on_a_full_disk_uploads_can_be_deleted_and_none_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_up(tmp_path) as (near, _):
        job_id = await near.send(input=named())
        monkeypatch.setattr(desk, "RESERVE_BYTES", 1 << 60)
        refused = await near.client.post("/run", files={"file": ("a.wav", TICKS)})
        assert (refused.status_code, refused.json()["error"].partition(":")[0]) == (503, "disk_full")
        full_disk(near, monkeypatch, times=1)
        assert (await near.client.post(f"/cancel/{job_id}")).status_code == 503
        assert near.uploads == [], "which makes room"
        assert (await near.client.post(f"/cancel/{job_id}")).json()["status"] == "CANCELLED"


def full_disk(near: Near, monkeypatch: pytest.MonkeyPatch, *, times: int) -> list[str]:
    """So many times what comes of a job cannot be kept; the refusals."""
    store, refused = near.parts.desk.store, list[str]()
    kept = store.finish

    async def finish(job_id: str, outcome: Outcome) -> bool:
        if len(refused) < times:
            refused.append(job_id)
            raise DiskFull("there is no room.")
        return await kept(job_id, outcome)

    monkeypatch.setattr(store, "finish", finish)
    return refused
