"""Lives of workers that are mostly waiting: they go on beside the other tests (`conftest`)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from tests.engine.test_weights import model
from tests.fakes.hub import Hosted, Hub, running_hub, write
from tests.fakes.runpod_queue import Job
from tests.fakes.vllm_server import Manners, set_manners, vllm_command
from tests.runpod_worker.harness import Ended, Stand, running_stand

IDLE_S = 5.0
"""A worker that does nothing ends within so many seconds."""
NAME = "acme/voxtral"
JOBS = 100
OUTAGE_S, CALM_S = 10.0, 4.0


def own_engine(folder: Path, manners: Manners) -> dict[str, str]:
    """The settings of a worker that starts a stand-in for vLLM."""
    (folder / "engine").mkdir(parents=True)
    weights = write(folder / "tiny", model())
    command = vllm_command(folder / "engine", manners)
    return {
        "ENGINE": "vllm", "DIARIZER": "embedded", "VOXTRAL_MODEL": str(weights), "VLLM_EXECUTABLE": str(command),
        "VLLM_PORT": "18100",
    }  # fmt: skip


def private_hub() -> Hub:
    """A Hub whose one model needs a token."""
    return Hub({NAME: Hosted(model(), private=True)}, token="hf_right")


def from_hub(hub: Hub, folder: Path) -> dict[str, str]:
    """The settings of a worker that has to download its model."""
    folder.mkdir(parents=True)
    command = vllm_command(folder, Manners())
    return {
        "ENGINE": "vllm", "DIARIZER": "embedded", "VOXTRAL_MODEL": NAME, "VLLM_EXECUTABLE": str(command),
        "HF_ENDPOINT": hub.url, "VLLM_PORT": "18200",
    }  # fmt: skip


@dataclass(frozen=True)
class Fate:
    """What became of a worker and its jobs.

    Attributes:
        asked: How many requests its Hub got, or its queue for jobs.
        fetched: How many recordings were.
    """

    jobs: list[Job]
    output: str
    ended: Ended
    lasted_s: float = 0.0
    asked: int = 0
    fetched: int = 0


async def with_a_bad_token(folder: Path) -> Fate:
    """A hundred jobs at a worker whose token is refused."""
    async with running_hub(private_hub()) as hub:
        began, settings = time.monotonic(), from_hub(hub, folder / "engine")
        async with running_stand(folder / "stand", settings | {"HF_TOKEN": "hf_wrong"}) as stand:
            jobs = [stand.queue.put({"audio_url": stand.url(), "language": "fr"}) for _ in range(JOBS)]
            await stand.queue.finished(*jobs, within_s=100)
            lasted_s = time.monotonic() - began
            ended = await stand.worker.stop()
            fetched = len(stand.recordings.requests)
            return Fate(jobs, stand.worker.output, ended, lasted_s, len(hub.requests), fetched)


async def with_an_engine_that_dies(folder: Path) -> Fate:
    """A job that goes well, one that ends the engine, which does not start again, and one after that."""
    settings = own_engine(folder, Manners(dies_over=4))
    async with running_stand(folder / "stand", settings | {"MAX_CONCURRENCY": "2"}) as stand:
        fine = stand.queue.put({"audio_url": stand.url(3.0), "language": "fr"})
        await stand.queue.finished(fine)
        set_manners(folder / "engine", Manners(start="exit"))
        deadly = stand.queue.put({"audio_url": stand.url(4.6), "language": "fr"})
        await stand.queue.finished(deadly, within_s=100)
        later = stand.queue.put({"audio_url": stand.url(), "language": "fr"})
        ended = await stand.worker.end(within_s=10)
        assert stand.worker.leftovers() == []
        return Fate([fine, deadly, later], stand.worker.output, ended)


async def with_a_failing_queue(folder: Path) -> Fate:
    """Job-take fails for ten seconds, job-done twice; a job is being done meanwhile, another comes after that."""
    async with running_stand(folder) as stand:
        during = stand.queue.put(_short(stand))
        assert await stand.queue.until(lambda: during.handed_out)
        stand.queue.manners.take_status, stand.queue.manners.done_failures = 500, 2
        before = len(stand.queue.takes)
        await asyncio.sleep(OUTAGE_S)
        asked = len(stand.queue.takes) - before
        stand.queue.manners.take_status = None
        after = stand.queue.put(_short(stand))
        await stand.queue.finished(during, after)
        return Fate([during, after], stand.worker.output, await stand.worker.stop(), asked=asked)


async def with_a_hasty_queue(folder: Path) -> Fate:
    """The queue says at once that it has nothing, for four seconds; then it has something."""
    async with running_stand(folder) as stand:
        stand.queue.manners.holds = False
        first = stand.queue.put(_short(stand))
        await stand.queue.finished(first)
        before = len(stand.queue.takes)
        await asyncio.sleep(CALM_S)
        asked = len(stand.queue.takes) - before
        last = stand.queue.put(_short(stand))
        await stand.queue.finished(last)
        return Fate([first, last], stand.worker.output, await stand.worker.stop(), asked=asked)


def _short(stand: Stand) -> dict[str, str]:
    return {"audio_url": stand.url(3.0), "language": "fr"}
