"""The engine that the settings ask for, over a stand-in for vLLM."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_placement import A100_40, RTX_3060, RTX_4090
from tests.engine.test_weights import model, repository
from tests.fakes.hub import own_home, write
from tests.fakes.vllm_server import Manners, vllm_command
from voxtral_serverless.engine.machine import Gpu, free_port
from voxtral_serverless.engine.running import running_engine, used_gpus
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration
from voxtral_serverless.settings import load_settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


@asynccontextmanager
async def running(folder: Path, files: dict[str, bytes], **settings: Any) -> AsyncIterator[Path]:
    """An engine that serves a model of `files`; its process, in /proc."""
    chosen = load_settings(
        engine="vllm",
        voxtral_model=str(write(folder / "model", files)),
        vllm_executable=str(vllm_command(folder, Manners())),
        vllm_port=free_port(18_300),
        **settings,
    )
    async with running_engine(chosen) as engine:
        await engine.ready()
        assert isinstance(engine, VllmServer)
        assert engine.process is not None
        yield Path("/proc", str(engine.process.group))


def words(file: Path) -> list[str]:
    return file.read_text().split("\0")


async def test_settings_reach_the_engine(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    async with running(
        tmp_path, model(), engine_loading="prefetch", engine_cache_dir=cache, engine_start_timeout_s=77
    ) as process:
        environment = dict(word.split("=", 1) for word in words(process / "environ") if word)
        assert "--safetensors-load-strategy" in words(process / "cmdline")
    assert environment["VLLM_CACHE_ROOT"] == str(cache / "cpu" / "vllm")
    assert environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "77"
    assert environment["VLLM_ENABLE_STARTUP_PLAN"] == "1"
    assert environment["TMPDIR"] == environment["VLLM_RPC_BASE_PATH"]


@pytest.mark.parametrize("whole_repository", [True, False])
async def test_reader_that_would_read_other_weights_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whole_repository: bool
) -> None:
    """RunPod's cached model is the whole repository, with the weights once more in another format."""
    files = repository() if whole_repository else model()
    with caplog.at_level(logging.WARNING):
        async with running(tmp_path, files, engine_loading="fastsafetensors") as process:
            given = words(process / "cmdline")
    assert given[given.index("--load-format") + 1] == ("mistral" if whole_repository else "fastsafetensors")
    assert ("ENGINE_LOADING=fastsafetensors is not used" in caplog.text) == whole_repository


MINI, SMALL = "mistralai/Voxtral-Mini-3B-2507", "mistralai/Voxtral-Small-24B-2507"


@pytest.mark.parametrize(
    ("name", "gpus", "extra", "used"),
    [
        (MINI, [RTX_4090, A100_40], "", 1),
        (SMALL, [A100_40] * 4, "", 2),
        (SMALL, [RTX_3060] * 4, "--quantization fp8", 4),
        (MINI, [RTX_4090] * 4, "--max-model-len 8192 --tensor-parallel-size 2", 2),
        (MINI, [RTX_4090] * 4, "--tensor_parallel_size=4", 4),
        (MINI, [RTX_4090] * 4, "-tp 4 -tp=2", 2),
        (MINI, [RTX_4090] * 4, "--tensor-parallel 2 -pp 2", 4),
        (MINI, [RTX_4090] * 4, "--data-parallel-size 3 --data-parallel-size-local 1", 3),
        (MINI, [RTX_4090] * 2, "-tp 8", 2),
        (MINI, [], "", 0),
        ("me/voxtral", [RTX_4090] * 2, "", 2),
    ],
)
def test_gpus_that_the_engine_uses_are_known_before_the_weights_are_here(
    name: str, gpus: list[Gpu], extra: str, used: int
) -> None:
    settings = load_settings(engine="vllm", voxtral_model=name, vllm_extra_args=extra)
    assert used_gpus(settings, gpus) == tuple(gpus[:used])


def test_gpus_that_are_used_by_what_is_here_and_elsewhere(tmp_path: Path) -> None:
    folder = str(write(tmp_path / "model", model()))
    own = load_settings(engine="vllm", voxtral_model=folder)
    assert used_gpus(own, [RTX_4090, A100_40]) == (RTX_4090,)
    elsewhere = load_settings(engine="vllm", voxtral_model=MINI, vllm_base_url="http://gpu.example")
    assert used_gpus(elsewhere, [RTX_4090, A100_40]) == (RTX_4090, A100_40)


def test_gpus_that_nothing_can_use() -> None:
    with pytest.raises(EngineUnavailable, match="of GPU memory"):
        used_gpus(load_settings(engine="vllm", voxtral_model=SMALL), [RTX_4090])
    with pytest.raises(InvalidConfiguration, match="VLLM_EXTRA_ARGS: argument --tensor-parallel-size"):
        used_gpus(load_settings(engine="vllm", voxtral_model=MINI, vllm_extra_args="-tp two"), [RTX_4090])
