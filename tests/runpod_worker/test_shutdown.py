"""The end of a worker: no job is lost by it, and it does not take long."""

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.runpod_queue import Job, Manners
from tests.fakes.vllm_server import Manners as Engine
from tests.runpod_worker.harness import Stand, in_stage, running_stand
from tests.runpod_worker.scenarios import IDLE_S, own_engine
from tests.test_child import alive, eventually


async def test_idle_worker_ends_at_once(tmp_path: Path) -> None:
    async def idle(number: signal.Signals) -> None:
        async with running_stand(tmp_path / number.name) as stand:
            ended = await stand.worker.stop(number)
            late = stand.queue.put({"audio_url": stand.url(3.0)})
            assert (ended.status, ended.within_s < IDLE_S) == (0, True), ended
            assert late.status == "IN_QUEUE"
            assert stand.worker.leftovers() == []

    await asyncio.gather(idle(signal.SIGTERM), idle(signal.SIGINT))


async def test_signal_while_it_starts(tmp_path: Path) -> None:
    async with running_stand(tmp_path, takes=False) as stand:
        await asyncio.sleep(1.0)
        ended = await stand.worker.stop()
        assert (ended.status, ended.within_s < IDLE_S) == (0, True), ended


async def test_running_jobs_are_done_and_the_engine_ends(tmp_path: Path) -> None:
    """Two run, one waits in the queue, where it stays. No token is needed where the weights are at hand."""
    settings = own_engine(tmp_path, Engine(latency_s=2.0))
    async with running_stand(tmp_path / "stand", settings | {"MAX_CONCURRENCY": "2"}) as stand:
        jobs = [stand.queue.put({"audio_url": stand.url(4.0), "language": "fr"}) for _ in range(3)]
        assert await stand.queue.until(lambda: all(in_stage(job, "transcription") for job in jobs[:2]))
        ended = await stand.worker.stop()
        assert ended.status == 0
        assert [job.status for job in jobs] == ["COMPLETED", "COMPLETED", "IN_QUEUE"]
        assert all(job.output["transcriptions"][0]["text"].endswith("s in fr") for job in jobs[:2])
        assert jobs[0].output["meta"]["engine"] == "vllm"
        assert stand.worker.leftovers() == []


async def test_job_need_not_wait_for_the_engine(tmp_path: Path) -> None:
    """It gets as far as the engine's door while that starts, and a signal does not have to wait for either."""
    async with running_stand(tmp_path / "stand", own_engine(tmp_path, Engine(start="hang"))) as stand:
        job = stand.queue.put({"audio_url": stand.url(4.0), "language": "fr"})
        assert await stand.queue.until(lambda: in_stage(job, "transcription"))
        stand.queue.cancel(job)
        assert await stand.queue.pings_idle()
        ended = await stand.worker.stop()
        assert (ended.status, ended.within_s < IDLE_S) == (0, True), ended
        assert job.results == []


async def test_job_that_runs_can_still_be_cancelled(tmp_path: Path) -> None:
    async with running_stand(tmp_path) as stand:
        job = stand.queue.put({"audio_url": f"{stand.recordings.url}/drip"})
        assert await stand.queue.until(lambda: in_stage(job, "fetching"))
        ending = asyncio.create_task(stand.worker.stop())
        await asyncio.sleep(2.5)
        assert stand.worker.process.returncode is None
        stand.queue.cancel(job)
        assert (await asyncio.wait_for(ending, IDLE_S)).status == 0
        assert job.results == []


async def test_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    """Neither the engine nor the SDK's heartbeat, by which RunPod would take it for alive."""
    async with running_stand(tmp_path / "stand", own_engine(tmp_path, Engine(latency_s=60))) as stand:
        stand.queue.put({"audio_url": stand.url(4.0), "language": "fr"})
        assert await stand.queue.until(lambda: stand.queue.pings)
        assert await eventually(lambda: len(stand.worker.below()) >= 4, within_s=20)
        below = stand.worker.below()
        stand.worker.process.kill()
        assert await eventually(lambda: not any(alive(pid) for pid in below), within_s=5)


async def in_the_same_moment(folder: Path, offset_s: float, slow_s: float = 0.0) -> Job:
    """What becomes of a job that is handed out `offset_s` after the signal, which is sent by `hand_out_when`'s event."""
    async with running_stand(folder, manners=Manners(slow_s=slow_s)) as stand:
        signalled = asyncio.Event()
        handing = asyncio.create_task(stand.queue.hand_out_when(signalled, short(stand)))
        await asyncio.sleep(0)
        if offset_s < 0:
            signalled.set()
            await asyncio.sleep(-offset_s)
        ending = asyncio.create_task(stand.worker.stop())
        await asyncio.sleep(max(offset_s, 0))
        signalled.set()
        job = await handing
        ended = await ending
        assert ended.status == 0
        assert job.status in {"COMPLETED", "IN_QUEUE"}, f"the job is lost, {offset_s} s after the signal"
        assert bool(job.handed_out) == bool(job.results)
        return job


def short(stand: Stand) -> dict[str, Any]:
    return {"audio_url": stand.url(3.0), "language": "fr"}


async def test_job_handed_out_with_the_signal_is_done_or_stays(tmp_path: Path) -> None:
    """The SDK alone loses what comes a tenth of a second after the signal, or later."""
    moments = {"same": (0.0, 0.0), "after": (0.3, 0.0), "half_before": (-0.005, 0.3)}
    await asyncio.gather(*(in_the_same_moment(tmp_path / name, *moment) for name, moment in moments.items()))


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_no_job_is_ever_lost_by_a_signal(tmp_path: Path) -> None:
    jobs = [
        await in_the_same_moment(
            tmp_path / str(number),
            random.choice([0.0, 0.2, 1.6]) + random.uniform(-0.05, 0.05),
            random.choice([0.0, 0.2]),
        )
        for number in range(50)
    ]
    assert any(job.results for job in jobs)
