"""Jobs of all kinds at one worker, as RunPod's SDK takes them from the queue and posts their answers."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.runpod_queue import Job
from tests.runpod_worker.harness import Stand, check_cancelled, codes, in_stage, running_stand
from tests.test_child import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("jobs")
    defaults = '{"language": "de", "channels": "mix"}'
    async with running_stand(folder, {"MAX_CONCURRENCY": str(SLOTS), "JOB_DEFAULTS": defaults}) as stand:
        yield stand
    check_progress([*stand.queue.jobs.values()])


def check_progress(jobs: list[Job]) -> None:
    """Progress that never falls, comes about once a second, and never follows the result."""
    assert any(len(job.progress) > 1 for job in jobs)
    for job in jobs:
        outputs = [post.body["output"] for post in job.progress]
        assert all(set(output) == {"stage", "percent", "done", "total"} for output in outputs)
        percents = [output["percent"] for output in outputs]
        assert percents == sorted(percents)
        assert all(0 <= percent <= 100 for percent in percents)
        assert job.posts[: len(outputs)] == job.progress, "an update after the result"
        pauses = [later.at - sooner.at for sooner, later in itertools.pairwise(job.progress)]
        assert all(pause > 0.8 for pause in pauses), pauses


def example(stand: Stand, language: str) -> dict[str, Any]:
    """The job that the user gave as an example."""
    return {
        "audio_url": stand.url(12.0),
        "task": "transcribe_diarized",
        "language": language,
        "summary": True,
        "sentiment": True,
    }


async def test_example_of_the_user(stand: Stand) -> None:
    job = stand.queue.put(example(stand, "fr"))
    await stand.queue.finished(job)
    output = job.output
    assert list(output) == ["task", "language", "duration", "transcriptions", "summary", "sentiment", "meta"]
    assert (output["task"], output["language"], output["duration"]) == ("transcribe_diarized", "fr", 12.0)
    assert [turn["speaker"] for turn in output["transcriptions"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert all(list(turn) == ["speaker", "start", "end", "text"] for turn in output["transcriptions"])
    assert [turn["text"] for turn in output["transcriptions"]] == [None, None]
    assert (output["summary"], output["sentiment"]) == (None, None)
    assert {"embedded_engine", "language_not_supported"} <= codes(output)


async def test_same_in_english(stand: Stand) -> None:
    job = stand.queue.put(example(stand, "en"))
    await stand.queue.finished(job)
    output = job.output
    assert output["language"] == "en"
    assert "garden" in output["transcriptions"][0]["text"]
    assert output["summary"].startswith("Summary: ")
    assert set(output["sentiment"]) == {"sentiment", "score", "emotions", "satisfaction_client"}
    assert job.progress, "a job of some seconds tells how far it is"


async def test_ten_jobs_at_once_each_with_its_own_answer(stand: Stand) -> None:
    lengths = [3.0 + number / 10 for number in range(10)]
    jobs = [
        stand.queue.put({"audio_url": stand.url(length), "language": "en", "metadata": {"length": length}})
        for length in lengths
    ]
    await stand.queue.finished(*jobs)
    assert [(job.output["metadata"], job.output["duration"]) for job in jobs] == [
        ({"length": length}, length) for length in lengths
    ]
    assert all(job.output["transcriptions"][0]["text"] for job in jobs)
    assert all(len(job.handed_out) == len(job.results) == 1 for job in jobs)
    moments = [job.handed_out[0] for job in jobs]
    at_once = [sum(job.handed_out[0] <= moment < job.results[0].at for job in jobs) for moment in moments]
    assert 2 <= max(at_once) <= SLOTS


async def test_defaults_of_the_endpoint(stand: Stand) -> None:
    job = stand.queue.put({"audio_url": stand.url(3.0)})
    await stand.queue.finished(job)
    assert job.output["language"] == "de"
    assert job.output["meta"]["channels"]["split"] is False


async def test_malformed_jobs_are_answered_and_the_worker_lives_on(stand: Stand) -> None:
    queue, fine = stand.queue, {"audio_url": stand.url(3.0), "language": "fr"}
    refused = {
        "input_list": queue.put([fine]),
        "input_null": queue.put(None),
        "input_text": queue.put("https://example.com/audio.wav"),
        "input_empty": queue.put({}),
        "input_missing": queue.put_raw({"id": "bare"}, "bare"),
        "field_unknown": queue.put(fine | {"langage": "fr"}),
        "field_wrong": queue.put(fine | {"summary": "yes"}),
    }
    for nobody in ({"input": fine}, {"id": 7, "input": fine}, {"id": "", "input": fine}, ["a", None], None):
        queue.put_raw(nobody)
    strange = {"id": "strange", "input": fine, "self": 1, "webhook": 7, "batchId": [1], "s3Config": "no", "policy": [2]}
    done = [queue.put_raw(strange, "strange"), queue.put(fine)]
    await queue.finished(*refused.values(), *done)
    for name, job in refused.items():
        assert job.error.startswith("invalid_input: "), name
    assert "did you mean 'language'?" in refused["field_unknown"].error
    assert "summary" in refused["field_wrong"].error
    assert [job.output["duration"] for job in done] == [3.0, 3.0]


async def test_malformed_jobs_that_come_one_by_one(stand: Stand) -> None:
    """With one slot left the SDK asks by another route."""
    queue = stand.queue
    held = [queue.put({"audio_url": f"{stand.recordings.url}/drip"}) for _ in range(SLOTS - 1)]
    assert await queue.until(lambda: all(job.handed_out for job in held) and queue.takes[-1].most == 1)
    queue.put_raw({"input": {}})
    queue.put_raw(["a"])
    jobs = queue.put_raw({"id": "single"}, "single"), queue.put([]), queue.put({"audio_url": stand.url(3.0)})
    await queue.finished(*jobs)
    assert [job.status for job in jobs] == ["FAILED", "FAILED", "COMPLETED"]
    assert {take.most for take in queue.takes if take.at > jobs[0].handed_out[0]} == {1}
    for job in held:
        queue.cancel(job)
    assert await eventually(lambda: stand.worker.leftovers() == [], within_s=5)


async def test_heartbeat_names_the_jobs(stand: Stand) -> None:
    job = stand.queue.put({"audio_url": f"{stand.recordings.url}/drip"})
    assert await stand.queue.pings_for(job)
    stand.queue.cancel(job)
    assert await stand.queue.pings_idle()


async def test_cancel_during_transcription(stand: Stand) -> None:
    """Its recognisers are processes of their own."""
    before = stand.worker.below()
    job = stand.queue.put({"audio_url": stand.url(66.0), "language": "en"})
    assert await stand.queue.until(lambda: in_stage(job, "transcription"))
    assert await eventually(lambda: not stand.worker.below() <= before, within_s=20)
    await check_cancelled(stand, job, before)
