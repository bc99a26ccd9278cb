"""Jobs that are stopped, by their owner or by the clock, in every stage of their way."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio

from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from tests.runpod_worker.harness import Stand, as_wav, check_cancelled, codes, in_stage, running_stand
from tests.test_child import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm() -> AsyncIterator[Vllm]:
    async with running_vllm(Vllm()) as vllm:
        yield vllm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """A worker over a served engine, whose pace the tests choose."""
    folder = tmp_path_factory.mktemp("served")
    settings = {
        "ENGINE": "vllm", "DIARIZER": "embedded", "VLLM_BASE_URL": vllm.url, "VOXTRAL_MODEL": "voxtral",
        "DEADLINE_MARGIN_S": "15", "MAX_CONCURRENCY": "2",
    }  # fmt: skip
    async with running_stand(folder, settings) as stand:
        # An hour of noise takes a moment to decode, and some seconds to be searched for speech.
        noise = np.random.default_rng(1).integers(-200, 200, 16_000 * 60, dtype=np.int16)
        stand.recordings.body = as_wav(np.tile(noise, 60))
        assert await stand.queue.until(lambda: stand.queue.pings)  # the heartbeat's process has started
        yield stand


@pytest.fixture
def manners(vllm: Vllm) -> Manners:
    """Those of the engine, new for each test."""
    vllm.manners, vllm._batch = Manners(), asyncio.Semaphore(64)
    vllm.requests.clear()
    vllm.prompts.clear()
    vllm.aborted = 0
    return vllm.manners


async def test_cancel_while_fetching(served: Stand, manners: Manners) -> None:
    before = served.worker.below()
    job = served.queue.put({"audio_url": f"{served.recordings.url}/drip"})
    assert await _seen(lambda: in_stage(job, "fetching") and served.worker.leftovers() != [])
    await check_cancelled(served, job, before)


async def test_cancel_while_decoding(served: Stand, manners: Manners) -> None:
    before = served.worker.below()
    job = served.queue.put({"audio_url": f"{served.recordings.url}/ok"})
    assert await _seen(lambda: not served.worker.below() <= before)
    await check_cancelled(served, job, before)


async def test_cancel_while_speech_is_searched_for(served: Stand, manners: Manners) -> None:
    before = served.worker.below()
    job = served.queue.put({"audio_url": f"{served.recordings.url}/ok"})
    assert await served.queue.until(lambda: in_stage(job, "voice_activity") or job.results)
    await check_cancelled(served, job, before)


async def test_cancel_during_diarization(served: Stand, manners: Manners) -> None:
    """Or just after it: updates are a second apart, and it may take less."""
    before, manners.frozen = served.worker.below(), True
    job = served.queue.put({"audio_url": served.url(66.0), "language": "fr"})
    assert await served.queue.until(
        lambda: in_stage(job, "diarization") or in_stage(job, "transcription") or job.results
    )
    await check_cancelled(served, job, before)


async def test_cancel_during_transcription(served: Stand, vllm: Vllm, manners: Manners) -> None:
    before, manners.frozen = served.worker.below(), True
    job = served.queue.put({"audio_url": served.url(12.0), "language": "fr"})
    assert await _seen(lambda: len(vllm.requests) == 2)
    await check_cancelled(served, job, before)
    assert vllm.aborted == 2


async def test_cancel_during_analysis(served: Stand, vllm: Vllm, manners: Manners) -> None:
    before, manners.latency_s = served.worker.below(), 3.0
    job = served.queue.put({"audio_url": served.url(4.0), "language": "fr", "summary": True, "sentiment": True})
    assert await _seen(lambda: len(vllm.prompts) == 2)
    await check_cancelled(served, job, before)
    assert vllm.aborted == 2


async def test_cancelled_job_takes_no_other_along(served: Stand, vllm: Vllm, manners: Manners) -> None:
    manners.latency_s = 2.0
    one, other = (served.queue.put({"audio_url": served.url(4.0), "language": "fr"}) for _ in range(2))
    assert await _seen(lambda: len(vllm.requests) == 2)
    served.queue.cancel(one)
    await served.queue.finished(other)
    assert other.output["transcriptions"][0]["text"].endswith("s in fr")
    assert not one.results


async def _seen(holds: Callable[[], bool]) -> bool:
    return await eventually(holds, within_s=30)


async def test_time_is_over_on_the_way(served: Stand, vllm: Vllm, manners: Manners) -> None:
    """One recording never comes; of the other, one turn of two is transcribed before the engine makes no more tokens."""
    url, policy = served.url(12.0), {"executionTimeout": 14_000}
    manners.latency_s, vllm._batch = 1, asyncio.Semaphore(1)
    never = served.queue.put({"audio_url": f"{served.recordings.url}/drip"}, policy=policy)
    job = served.queue.put({"audio_url": url, "language": "fr", "summary": True}, policy=policy)
    assert await _seen(lambda: vllm._working == 1)
    await asyncio.sleep(0.2)
    manners.frozen = True
    await served.queue.finished(never, job)
    assert never.error.startswith("deadline_exceeded: ")
    assert sorted(turn["text"] is None for turn in job.output["transcriptions"]) == [False, True]
    assert job.output["summary"] is None
    assert "deadline_reached" in codes(job.output)
    assert all(one.results[0].at - one.handed_out[0] < 10 for one in (never, job))
    assert served.worker.leftovers() == []


async def test_nothing_transcribed_in_time(served: Stand, manners: Manners) -> None:
    manners.frozen = True
    job = served.queue.put({"audio_url": served.url(12.0), "language": "fr"}, policy={"executionTimeout": 6_000})
    await served.queue.finished(job)
    assert job.error.startswith("deadline_exceeded: ")
    assert job.results[0].at - job.handed_out[0] < 5


async def test_job_with_time_enough(served: Stand, manners: Manners) -> None:
    job = served.queue.put({"audio_url": served.url(4.0), "language": "fr"}, policy={"executionTimeout": 600_000})
    await served.queue.finished(job)
    assert not codes(job.output) & {"deadline_reached", "deadline_exceeded"}
