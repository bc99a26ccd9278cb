"""Answers reach the queue however it behaves, and the queue is never stormed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.runpod_queue import Job
from tests.fakes.s3 import ACCESS_ID, ACCESS_SECRET, running_s3
from tests.runpod_worker.conftest import Fates
from tests.runpod_worker.harness import Stand, codes, running_stand
from tests.runpod_worker.scenarios import CALM_S, with_a_failing_queue, with_a_hasty_queue

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_BYTES = 2_000
"""An answer about four seconds has a little more than half of it."""
LARGE: dict[str, Any] = {"formats": ["srt", "vtt", "txt", "rttm"], "metadata": {"call": "é" * 250}}
"""What makes it too large, by its files."""
TAKES_IN_10_S = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("delivery")
    settings = {"MAX_RESULT_MB": str(LIMIT_BYTES / 1e6), "DEADLINE_MARGIN_S": "2", "MAX_CONCURRENCY": "2"}
    async with running_stand(folder, settings) as stand:
        yield stand


def short(stand: Stand, **fields: Any) -> dict[str, Any]:
    return {"audio_url": stand.url(4.0), "language": "en", **fields}


def sent_bytes(job: Job) -> int:
    """The size of its result."""
    return len(json.dumps(job.result, ensure_ascii=False).encode())


async def test_slow_answers_of_the_queue(stand: Stand) -> None:
    stand.queue.manners.slow_s = stand.queue.manners.done_slow_s = 1.0
    job = stand.queue.put(short(stand))
    await stand.queue.finished(job)
    stand.queue.manners.slow_s = stand.queue.manners.done_slow_s = 0.0
    assert job.output["transcriptions"][0]["text"]
    await asyncio.sleep(1.2)
    assert len(job.results) == 1


async def test_files_are_left_out_of_an_answer_that_is_too_large(stand: Stand) -> None:
    job = stand.queue.put(short(stand, **LARGE))
    await stand.queue.finished(job)
    output = job.output
    assert sent_bytes(job) <= LIMIT_BYTES
    assert "result_slimmed" in codes(output)
    assert None in output["files"].values()
    assert output["transcriptions"][0]["text"]
    assert output["metadata"] == LARGE["metadata"]


async def test_metadata_is_left_out_after_the_files(stand: Stand) -> None:
    job = stand.queue.put(short(stand, formats=["srt"], metadata={"call": "x" * LIMIT_BYTES}))
    await stand.queue.finished(job)
    output = job.output
    assert output["files"] == {"srt": None}
    assert (output["metadata"], "result_slimmed" in codes(output)) == (None, True)
    assert output["transcriptions"][0]["text"]


async def test_answer_that_nothing_can_be_left_out_of(stand: Stand) -> None:
    job = stand.queue.put(short(stand, audio_url=stand.url(66.0), language="fr"))
    await stand.queue.finished(job)
    assert job.error.startswith("result_too_large: ")


async def test_errors_do_not_grow_with_what_they_quote(stand: Stand) -> None:
    jobs = [
        stand.queue.put(short(stand, language="\uffff" * 100_000)),
        stand.queue.put(short(stand, speaker_labels=["x" * 100_000])),
        stand.queue.put(short(stand, **{f"{number}_" + "x" * 10_000: number for number in range(100)})),
    ]
    await stand.queue.finished(*jobs)
    assert all(job.error.startswith("invalid_input: ") for job in jobs)
    assert [sent_bytes(job) for job in jobs if sent_bytes(job) > 10_000] == []


async def test_upload_ends_before_the_job_does(stand: Stand) -> None:
    async with running_s3() as s3:
        s3.silent = True
        names = {"endpointUrl": s3.url, "bucketName": s3.name}
        config = names | {"accessId": ACCESS_ID, "accessSecret": ACCESS_SECRET}
        job = stand.queue.put(short(stand, **LARGE), s3Config=config, policy={"executionTimeout": 6_000})
        await stand.queue.finished(job)
    assert job.results[0].at - job.handed_out[0] < 6
    assert "result_slimmed" in codes(job.output)


async def test_upload_to_the_bucket_of_the_job(stand: Stand) -> None:
    async with running_s3() as s3:
        names = {"endpointUrl": s3.url, "bucketName": s3.name}
        config = names | {"accessId": ACCESS_ID, "accessSecret": ACCESS_SECRET}
        job = stand.queue.put(short(stand, **LARGE), s3Config=config)
        await stand.queue.finished(job)
        assert "result_uploaded" in codes(job.output)
        assert job.output["result_url"].startswith(s3.url)
        assert [json.loads(whole)["files"].keys() for whole in s3.objects.values()] == [{"srt", "vtt", "txt", "rttm"}]


async def test_queue_that_fails_for_a_while(fates: Fates) -> None:
    """A result that is refused twice is delivered once; jobs are asked for now and then, and come again."""
    fate = fates(with_a_failing_queue)
    during, after = fate.jobs
    assert 2 <= fate.asked <= TAKES_IN_10_S
    assert (during.refused, len(during.results), len(during.handed_out)) == ([500, 500], 1, 1)
    assert [job.status for job in fate.jobs] == ["COMPLETED", "COMPLETED"]
    assert after.handed_out[0] - during.handed_out[0] < 20
    assert fate.ended.status == 0


async def test_queue_that_holds_no_poll_is_not_stormed(fates: Fates) -> None:
    fate = fates(with_a_hasty_queue)
    assert 2 <= fate.asked <= TAKES_IN_10_S * CALM_S / 10
    assert [job.status for job in fate.jobs] == ["COMPLETED", "COMPLETED"]
    assert fate.ended.status == 0
