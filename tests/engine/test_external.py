"""A server that is somebody else's: found, waited for, watched, never touched."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from tests.test_child import eventually
from voxtral_serverless.engine import external
from voxtral_serverless.engine.client import EngineClient, EngineLost, as_wav
from voxtral_serverless.engine.external import ExternalServer, external_server
from voxtral_serverless.engine.machine import free_port
from voxtral_serverless.errors import EngineUnavailable

CLIP = as_wav(bytes(2 * 16_000))


@asynccontextmanager
async def watched(
    url: str, *, model: str = "voxtral", key: str | None = None, freeze_s: float = 60.0
) -> AsyncIterator[ExternalServer]:
    async with external_server(ExternalServer(EngineClient(url, model, key), freeze_timeout_s=freeze_s)) as server:
        yield server


async def transcribe(server: ExternalServer) -> str:
    return (await server.client.transcribe(CLIP, language="fr", max_tokens=9)).text


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between two looks."""
    monkeypatch.setattr(external, "WATCH_S", 0.05)


@pytest.fixture
def nobody() -> str:
    """An address at which nobody answers."""
    return f"http://127.0.0.1:{free_port(19_100)}"


@pytest.mark.parametrize(
    ("models", "chosen"), [(("voxtral",), "voxtral"), (("small", "voxtral"), "voxtral"), (("small",), "small")]
)
async def test_ready_with_the_wanted_model_or_the_only_one(models: tuple[str, ...], chosen: str) -> None:
    vllm = Vllm(model=models[0], others=models[1:])
    async with running_vllm(vllm), watched(vllm.url) as server:
        await server.ready()
        assert server.client.model == chosen
        assert [request["model"] for request in vllm.requests] == [chosen]
        assert await transcribe(server) == "1.00 s in fr"


async def test_ready_is_found_out_once() -> None:
    vllm = Vllm()
    async with running_vllm(vllm), watched(vllm.url) as server:
        await asyncio.gather(*(server.ready() for _ in range(9)))
        await server.ready()
    assert len(vllm.requests) == 1


async def test_several_models_and_none_is_the_wanted_one() -> None:
    vllm = Vllm(model="small", others=("mixtral",))
    async with running_vllm(vllm), watched(vllm.url) as server:
        with pytest.raises(EngineUnavailable, match="'small', 'mixtral': set VOXTRAL_MODEL"):
            await server.ready()


@pytest.mark.parametrize("key", [None, "another"])
async def test_wrong_key_is_told_at_once(key: str | None) -> None:
    vllm = Vllm(key="k3y")
    async with running_vllm(vllm), watched(vllm.url, key=key) as server:
        async with asyncio.timeout(external.PATIENCE_S / 2):
            with pytest.raises(EngineUnavailable, match="VLLM_API_KEY"):
                await server.ready()


async def test_model_that_does_not_transcribe_is_told_at_once() -> None:
    vllm = Vllm(Manners(refuses=400, why="The model does not support Transcriptions API"))
    async with running_vllm(vllm), watched(vllm.url) as server:
        async with asyncio.timeout(external.PATIENCE_S / 2):
            with pytest.raises(EngineUnavailable, match=r"does not transcribe .*Transcriptions API"):
                await server.ready()


async def test_unreachable_server_is_told_after_a_while(
    nobody: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(external, "PATIENCE_S", 0.3)
    began = time.monotonic()
    async with watched(nobody) as server:
        with pytest.raises(EngineUnavailable, match="cannot be reached: is it running"):
            await server.ready()
    assert time.monotonic() - began >= 0.3
    assert caplog.text.count("is waited for") == 1


async def test_server_that_comes_up_later_is_waited_for(nobody: str) -> None:
    async with watched(nobody) as server:
        waiting = asyncio.create_task(server.ready())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        async with running_vllm(Vllm(Manners(fails=2), url=nobody)):
            await waiting
            assert await transcribe(server) == "1.00 s in fr"


async def test_server_that_was_not_there_is_asked_again(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "PATIENCE_S", 0.0)
    async with watched(nobody) as server:
        with pytest.raises(EngineUnavailable):
            await server.ready()
        async with running_vllm(Vllm(url=nobody)):
            await server.ready()


async def test_frozen_server_is_asked_anew() -> None:
    vllm = Vllm()
    async with running_vllm(vllm), watched(vllm.url, freeze_s=0.4) as server:
        await server.ready()
        vllm.manners.frozen = True
        for _ in range(2):  # the watch goes on after it was needed
            with pytest.raises(EngineLost):
                await transcribe(server)
        assert await eventually(lambda: vllm.aborted == 2)
        vllm.manners.frozen = False
        await server.recovered()
        assert await transcribe(server) == "1.00 s in fr"
        assert server.deaths == 0


async def test_server_that_says_nothing_of_its_steps_is_watched_all_the_same() -> None:
    vllm = Vllm(Manners(metrics="many"))
    async with running_vllm(vllm), watched(vllm.url, freeze_s=0.4) as server:
        await server.ready()
        vllm.manners.frozen = True
        with pytest.raises(EngineLost):
            await transcribe(server)


async def test_busy_server_is_not_frozen() -> None:
    vllm = Vllm(Manners(latency_s=0.3, batch=1))
    async with running_vllm(vllm), watched(vllm.url, freeze_s=1.0) as server:
        texts = await asyncio.gather(*(transcribe(server) for _ in range(6)))
    assert len(texts) == 6
    assert vllm.aborted == 0


async def test_busy_server_that_says_nothing_of_its_steps_is_not_frozen() -> None:
    vllm = Vllm(Manners(metrics="many", latency_s=0.3, batch=1))
    async with running_vllm(vllm), watched(vllm.url, freeze_s=1.0) as server:
        texts = await asyncio.gather(*(transcribe(server) for _ in range(6)))
    assert len(texts) == 6
    assert vllm.aborted == 0


async def test_recovered_waits_until_it_answers_again(nobody: str) -> None:
    async with watched(nobody) as server:
        waiting = asyncio.create_task(server.recovered())
        vllm = Vllm(Manners(health=503), url=nobody)
        async with running_vllm(vllm):
            await asyncio.sleep(0.3)
            assert not waiting.done()
            vllm.manners.health = 200
            await waiting


@pytest.mark.parametrize("there", [True, False])
async def test_recovered_does_not_wait_for_ever(nobody: str, there: bool) -> None:
    vllm = Vllm(Manners(health=503), url=nobody if there else "")
    async with running_vllm(vllm), watched(nobody, freeze_s=0.3) as server:
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await server.recovered()


async def test_nothing_of_the_watch_stays(nobody: str) -> None:
    before = asyncio.all_tasks()
    async with watched(nobody):
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before
