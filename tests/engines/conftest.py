"""The real vLLM on a CPU, with a Voxtral so tiny that it has learnt two short calls by heart, and hears them; and the
real pyannote, with networks that tell tones apart.

One engine serves all tests of the session that do not need one of their own: a boot takes most of a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from voxtral_serverless.engine.machine import find_vllm
from voxtral_serverless.engine.running import running_engine
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.qualify.killing import Killing
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import find_python

TINY = Path(__file__).with_name("tiny_voxtral")
TINY_ALIGNER = Path(__file__).with_name("tiny_aligner")
TOY = Path(__file__).with_name("toy_pyannote")
FREEZE_S = 15.0
START_S, TEST_S = 300.0, 420.0
"""The engine's boot is part of the first test that needs it: on a busy machine, from a cold disk, it takes minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here the time of a boot, unless it says how much it needs."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_S))


def needed(found: str | None, without: str) -> str:
    """What was found; without it a test fails in CI, and is skipped elsewhere."""
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(without, pytrace=False)
        pytest.skip(without)
    return found


@pytest.fixture(scope="session")
def vllm() -> str:
    """The real `vllm` command."""
    return needed(find_vllm(os.environ.get("VLLM_EXECUTABLE")), "there is no vLLM: make engine")


@pytest.fixture(scope="session")
def tiny(vllm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Voxtral, complete with its tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "tiny-voxtral"
    folder.mkdir()
    for name in ("params.json", "consolidated.safetensors"):
        shutil.copy(TINY / name, folder)
    python = Path(vllm).with_name("python")
    subprocess.run([python, TINY / "tokenizer.py", folder], check=True, capture_output=True)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(vllm: str, tiny: Path) -> AsyncIterator[VllmServer]:
    """An engine of our own, ready."""
    settings = load_settings(
        engine="vllm", voxtral_model=str(tiny), vllm_executable=vllm, engine_freeze_timeout_s=FREEZE_S, vllm_port=18_500,
        engine_start_timeout_s=START_S,
    )  # fmt: skip
    async with running_engine(settings) as server:
        assert isinstance(server, VllmServer)
        await server.ready()
        yield server


@pytest.fixture
def killing(engine: VllmServer) -> Killing:
    """The session's engine, to be killed."""
    return Killing(engine)


@pytest.fixture(scope="session")
def diarization_python() -> str:
    """The Python that has the real pyannote."""
    return needed(find_python(os.environ.get("DIARIZATION_PYTHON")), "there is no pyannote: make diarization")


@pytest.fixture(scope="session")
def toy_python(diarization_python: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, which finds the toy networks too: a checkpoint names the module of its network."""
    command = tmp_path_factory.mktemp("python") / "python"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={TOY} exec {diarization_python} "$@"\n')
    command.chmod(0o755)
    return str(command)


@pytest.fixture(scope="session")
def toy_pipelines(toy_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pipelines: `ahc-toy` in the style of 3.1, `vbx-toy` and `vbx-full` in that of community-1."""
    root = tmp_path_factory.mktemp("pipelines")
    for style, size in (("ahc", "toy"), ("vbx", "toy"), ("vbx", "full")):
        subprocess.run(
            [toy_python, TOY / "make.py", style, size, root / f"{style}-{size}"],
            check=True,
            capture_output=True,
            env={**os.environ, "PYANNOTE_METRICS_ENABLED": "0"},
        )
    return root
