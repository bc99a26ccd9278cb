"""The services of an open door, from their start to their end: what is told of them meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from tests.runpod_worker.scenarios import own_engine
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration, VoxtralError
from voxtral_serverless.lifetime import EngineState, Lifetime
from voxtral_serverless.settings import Settings, load_settings


@asynccontextmanager
async def living(settings: Settings) -> AsyncIterator[Lifetime]:
    """A lifetime that runs beside the block."""
    life = Lifetime(settings)
    running = asyncio.create_task(life.run())
    try:
        yield life
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(life: Lifetime, state: EngineState) -> None:
    """Wait until the engine is so."""
    async with asyncio.timeout(30):
        while await life.state() is not state:  # noqa: ASYNC110 — it sets no event
            await asyncio.sleep(0.02)


async def test_embedded_engine_is_ready_at_once() -> None:
    async with living(load_settings(engine="embedded")) as life:
        assert await life.state() is EngineState.STARTING
        await until(life, EngineState.READY)
        assert (await life.services()).engine == "embedded"
        assert (life.came_up, life.failure) == (True, None)


async def test_slow_engine_is_starting_until_it_is_ready() -> None:
    async with running_vllm(Vllm(Manners(frozen=True))) as vllm:
        life = Lifetime(load_settings(engine="vllm", vllm_base_url=vllm.url, diarizer="none"))
        running = asyncio.create_task(life.run())
        await asyncio.sleep(0.5)
        assert (await life.state(), life.came_up) == (EngineState.STARTING, False)
        vllm.manners.frozen = False
        await until(life, EngineState.READY)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_engine_that_is_not_there() -> None:
    async with living(load_settings(engine="vllm", vllm_executable="/nonexistent", diarizer="none")) as life:
        await until(life, EngineState.DEAD)
        assert not life.came_up
        with pytest.raises(VoxtralError) as caught:
            await life.services()
        assert caught.value is life.failure


async def test_failed_start_is_known_to_the_jobs_that_wait_for_it(tmp_path: Path) -> None:
    """What a job is told is the failure itself: it tells by that whether the job or the engine is at fault."""
    values = own_engine(tmp_path, Manners(start="exit")) | {"DIARIZER": "none"}
    settings = load_settings(**{name.lower(): value for name, value in values.items()})
    async with living(settings) as life:
        services = await life.services()
        with pytest.raises(EngineUnavailable) as caught:
            await asyncio.wait_for(services.ready(), 60)
        assert life.failure is caught.value
        assert await life.state() is EngineState.DEAD


async def test_nobody_has_to_ask() -> None:
    """A failure that no job ever hears of does not trouble the loop."""
    begun = asyncio.Event()
    life = Lifetime(load_settings(engine="vllm", vllm_executable="/nonexistent", diarizer="none"))
    running = asyncio.create_task(life.run(begun.set))
    await asyncio.wait_for(begun.wait(), 10)
    assert isinstance(life.failure, EngineUnavailable | InvalidConfiguration)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
