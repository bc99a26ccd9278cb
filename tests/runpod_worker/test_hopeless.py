"""Workers that cannot do any job: every job is told why, at once, and only who can be helped by it is replaced."""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.hub import Hub, running_hub
from tests.fakes.runpod_queue import RunpodQueue, running_queue
from tests.fakes.vllm_server import Manners
from tests.runpod_worker.conftest import Fates
from tests.runpod_worker.harness import COMMAND, environment_of, running_stand, running_worker
from tests.runpod_worker.scenarios import (
    IDLE_S,
    JOBS,
    NAME,
    from_hub,
    own_engine,
    private_hub,
    with_a_bad_token,
    with_an_engine_that_dies,
)

WORKER_S = 60.0
"""A worker with a bad token has refused so many jobs within so many seconds of its life (26 on a machine of its own)."""
START = (*COMMAND[:-1], "start")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_hub(private_hub()) as hub:
        yield hub


def test_bad_token_is_told_to_a_hundred_jobs_at_once(fates: Fates) -> None:
    refused = fates(with_a_bad_token)
    print(f"{JOBS} jobs refused within {refused.lasted_s:.1f} worker-seconds")  # noqa: T201 — a figure to be stated
    assert refused.lasted_s < WORKER_S
    [error] = {job.error for job in refused.jobs}
    assert error.startswith("model_unavailable: ")
    assert "HF_TOKEN" in error
    assert "hf_wrong" not in error + refused.output
    assert all(set(job.result) == {"error"} for job in refused.jobs), "a replacement would find the same"
    assert (refused.fetched, refused.ended.status) == (0, 0)
    assert refused.asked < 10, "every job asked the Hub again"


def test_worker_whose_engine_died_too_often_is_replaced(fates: Fates) -> None:
    fate = fates(with_an_engine_that_dies)
    fine, deadly, later = fate.jobs
    assert fine.status == "COMPLETED"
    assert deadly.error.startswith("engine_unavailable: ")
    assert "died 4 times" in deadly.error
    assert deadly.result["stopPod"] is True
    assert (fate.ended.status, fate.ended.within_s < IDLE_S) == (1, True)
    assert later.status == "IN_QUEUE", "a worker that can do nothing took another job"


async def test_missing_token_is_told_what_for(hub: Hub, tmp_path: Path) -> None:
    async with running_stand(tmp_path / "stand", from_hub(hub, tmp_path / "engine")) as stand:
        job = stand.queue.put({"audio_url": stand.url(), "language": "fr"})
        await stand.queue.finished(job)
        assert job.error.startswith("model_unavailable: ")
        assert NAME in job.error
        assert "HF_TOKEN" in job.error


async def test_engine_that_cannot_start_is_the_same_everywhere(tmp_path: Path) -> None:
    async with running_stand(tmp_path / "stand", own_engine(tmp_path, Manners(start="exit"))) as stand:
        jobs = []
        for _ in range(2):
            jobs.append(stand.queue.put({"audio_url": stand.url(), "language": "fr"}))
            await stand.queue.finished(jobs[-1], within_s=15)
        for job in jobs:
            assert job.error.startswith("engine_unavailable: ")
            assert set(job.result) == {"error"}
            assert "/models" not in job.error


async def test_model_that_does_not_come_in_time(hub: Hub, tmp_path: Path) -> None:
    """RunPod's clock runs while the worker still waits for its model."""
    hub.silent, settings = True, from_hub(hub, tmp_path / "engine")
    async with running_stand(tmp_path / "stand", settings | {"DEADLINE_MARGIN_S": "2"}) as stand:
        job = stand.queue.put({"audio_url": stand.url(), "language": "fr"}, policy={"executionTimeout": 5_000})
        await stand.queue.finished(job)
        assert job.error.startswith("deadline_exceeded: ")
        assert job.results[0].at - job.handed_out[0] < 5


async def test_cancel_and_signal_while_the_model_does_not_come(hub: Hub, tmp_path: Path) -> None:
    hub.silent, settings = True, from_hub(hub, tmp_path / "engine")
    async with running_stand(tmp_path / "stand", settings) as stand:
        job = stand.queue.put({"audio_url": stand.url()})
        assert await stand.queue.pings_for(job)
        stand.queue.cancel(job)
        assert await stand.queue.pings_idle(within_s=3)
        ended = await stand.worker.stop()
        assert (ended.status, ended.within_s < IDLE_S) == (0, True), ended


async def test_self_test_engine_is_never_a_silent_replacement(tmp_path: Path) -> None:
    async with running_stand(tmp_path / "stand", {"ENGINE": "auto", "PATH": str(tmp_path)}) as stand:
        job = stand.queue.put({"audio_url": stand.url()})
        await stand.queue.finished(job)
        assert job.error.startswith("engine_unavailable: ")
        assert "ENGINE" in job.error


async def ended_at_once(folder: Path, settings: dict[str, str]) -> str:
    """The output of a worker that does not even start."""
    async with running_queue() as queue, running_worker(queue, folder, settings, takes=False) as worker:
        ended = await worker.end(within_s=20)
        assert (ended.status, queue.takes) == (1, [])
        assert "Traceback" not in worker.output
        return worker.output


@pytest.mark.parametrize("defaults", ['{"num_speaker": 2}', "{", '{"language": "xx"}', "[]"])
async def test_bad_settings_are_refused_at_the_start(defaults: str, tmp_path: Path) -> None:
    output = await ended_at_once(tmp_path / "worker", {"JOB_DEFAULTS": defaults})
    assert "invalid_configuration: JOB_DEFAULTS: " in output


async def test_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / f"voxtral-serverless-{os.getuid()}").touch()
    assert "invalid_configuration: " in await ended_at_once(tmp_path / "worker", {"TMPDIR": str(tmp_path)})


async def test_start_is_the_worker_where_runpod_runs_it(tmp_path: Path) -> None:
    async with running_queue() as queue, running_worker(queue, tmp_path / "worker", command=START) as worker:
        job = queue.put({})
        await queue.finished(job)
        assert job.error.startswith("invalid_input: ")
        assert (await worker.stop()).status == 0


def test_elsewhere_it_says_so(tmp_path: Path) -> None:
    """What `start` does there, tests/user_readme/test_api.py shows."""
    environment = environment_of(RunpodQueue(), tmp_path)
    del environment["RUNPOD_WEBHOOK_GET_JOB"]
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("invalid_configuration: RUNPOD_WEBHOOK_GET_JOB")
