"""The queue of the tests, held against RunPod's SDK itself: a worker of ten lines, without a line of ours."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.runpod_queue import POD, RunpodQueue, running_queue
from tests.runpod_worker.harness import Worker, running_worker

HANDLER = """
import asyncio, runpod
async def handler(job):
    asked = job["input"]
    await asyncio.sleep(asked.get("sleep", 0))
    if asked.get("fail"):
        raise ValueError(asked["fail"])
    runpod.serverless.progress_update(job, {"half": True})
    await asyncio.sleep(0.3)
    return {"heard": asked["say"]}
runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda now: 2})
"""


@pytest.fixture
async def queue() -> AsyncIterator[RunpodQueue]:
    async with running_queue() as queue:
        yield queue


@pytest.fixture
async def worker(queue: RunpodQueue, tmp_path: Path) -> AsyncIterator[Worker]:
    async with running_worker(queue, tmp_path / "worker", command=(sys.executable, "-c", HANDLER)) as worker:
        yield worker


async def test_day_at_the_queue(queue: RunpodQueue, worker: Worker) -> None:
    well, badly = queue.put({"say": "a"}), queue.put({"fail": "no"})
    await queue.finished(well, badly)
    assert well.output == {"heard": "a"}
    assert [post.body["output"] for post in well.progress] == [{"half": True}]
    assert "ValueError" in badly.error
    assert len(well.handed_out) == 1

    running = queue.put({"say": "b", "sleep": 60})
    assert await queue.pings_for(running)
    queue.cancel(running)
    after = queue.put({"say": "c"})
    await queue.finished(after)
    assert (running.status, running.posts) == ("CANCELLED", [])

    queue.manners.done_failures = 1
    stubborn = queue.put({"say": "d"})
    await queue.finished(stubborn)
    assert (stubborn.refused, len(stubborn.results)) == ([500], 1)
    assert {take.most for take in queue.takes} == {1, 2}, "one job and several are asked for by routes of their own"


async def test_job_stays_where_nobody_listens(queue: RunpodQueue) -> None:
    """A worker that went away in its poll, or in the middle of the answer, has taken nothing."""
    host, port = queue.url.removeprefix("http://").split(":")
    path = queue.environment()["RUNPOD_WEBHOOK_GET_JOB"].partition(port)[2].replace("$ID", POD)
    head = f"GET {path}&job_in_progress=0 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {queue.key}\r\n\r\n"

    async def asked() -> asyncio.StreamWriter:
        before = len(queue.takes)
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        assert await queue.until(lambda: len(queue.takes) > before)
        return writer

    (await asked()).close()
    job = queue.put({"say": "a"})
    await asyncio.sleep(0.2)
    assert job.status == "IN_QUEUE"
    queue.manners.slow_s = 0.3
    writer = await asked()
    await asyncio.sleep(0.1)
    writer.close()
    await asyncio.sleep(0.5)
    assert job.status == "IN_QUEUE"
    writer = await asked()
    assert await queue.until(lambda: job.status == "IN_PROGRESS")
    writer.close()
