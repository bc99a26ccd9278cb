"""What the worker adds to the start of vLLM itself.

    python bench/cold_start.py [--rounds 3]

Needs the real vLLM (`make engine`); the model is the tiny Voxtral of the tests, and nobody tells speakers apart. In
each round, in turn, with an engine cache that is new (cold) and once more with the same one (warm):

- `vllm serve` by itself, with the command line and the environment that the worker would give it: seconds from its
  process to `/health` 200, and until a transcription is answered after that;
- `voxtral-serverless worker`, on a queue of RunPod's shape on loopback in which the bundled call (67 s) waits: seconds
  from its process until it says "ready for jobs", by when its engine has answered such a transcription too, and until
  the call's result is in the queue.

Prints one JSON object: every measurement, the medians, and how much later ours was ready in each pair. A claim of the
project: under 3 s with a warm cache, in the median. "Cold" is the engine's own cache alone: the operating system keeps the libraries' files in memory
all the while, and without a GPU there is nothing to compile.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes.runpod_queue import Job, running_queue  # noqa: E402
from tests.runpod_worker.harness import Worker, running_worker  # noqa: E402
from voxtral_serverless.engine.caches import cache_variables  # noqa: E402
from voxtral_serverless.engine.client import EngineClient, warm_up  # noqa: E402
from voxtral_serverless.engine.command import PRIVATE, Boot, Launch, launch  # noqa: E402
from voxtral_serverless.engine.machine import find_vllm, free_port  # noqa: E402
from voxtral_serverless.engine.weights import find_weights  # noqa: E402
from voxtral_serverless.settings import load_settings  # noqa: E402

TINY = ROOT / "tests" / "engines" / "tiny_voxtral"
CALL = ROOT / "examples" / "call.ogg"
PORT, KEY = 18_700, "k3y"
LOOK_S = 0.05
READY = '"message": "ready for jobs"'

Seconds = dict[str, float]


def tiny_voxtral(vllm: str, folder: Path) -> Path:
    """The tests' model in `folder`."""
    folder.mkdir()
    for name in ("params.json", "consolidated.safetensors"):
        shutil.copy(TINY / name, folder)
    subprocess.run([Path(vllm).with_name("python"), TINY / "tokenizer.py", folder], check=True, capture_output=True)
    return folder


def by_itself(vllm: str, model: Path, cache: Path, port: int) -> Launch:
    """What the worker would start."""
    weights = find_weights(load_settings(voxtral_model=str(model)))
    inherited = {"PATH": os.environ["PATH"], "HOME": str(cache.parent)}
    boot = Boot(caches=cache_variables(cache, [], inherited))
    return launch(vllm, weights, [], port=port, key=KEY, extra="", inherited=inherited, boot=boot)


async def theirs(vllm: str, model: Path, cache: Path) -> Seconds:
    """The start of vLLM alone."""
    port = free_port(PORT)
    command = by_itself(vllm, model, cache, port)
    client = EngineClient(f"http://127.0.0.1:{port}", model.name, KEY, ours=True)
    with tempfile.TemporaryDirectory() as private:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            env=command.environment | dict.fromkeys(PRIVATE, private),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while await client.health(LOOK_S * 10) != 200:
                assert process.returncode is None, "vLLM did not start"
                await asyncio.sleep(LOOK_S)
            healthy_s = time.monotonic() - began
            await warm_up(client)
            return {"health": healthy_s, "ready": time.monotonic() - began}
        finally:
            await client.close()
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def ours(vllm: str, model: Path, cache: Path) -> Seconds:
    """The worker's start, with a job that waits for it."""
    settings = {
        "ENGINE": "vllm", "DIARIZER": "none", "VOXTRAL_MODEL": str(model), "VLLM_EXECUTABLE": vllm,
        "VLLM_PORT": str(PORT), "ENGINE_CACHE_DIR": str(cache),
    }  # fmt: skip
    call = base64.b64encode(CALL.read_bytes()).decode()
    with tempfile.TemporaryDirectory() as folder:
        async with running_queue() as queue:
            job = queue.put({"audio_base64": call, "task": "transcribe", "language": "en"})
            began = time.monotonic()
            async with running_worker(queue, Path(folder, "worker"), settings, takes=False) as worker:
                ready_s = await _ready(worker, job) - began
                await queue.finished(job)
                assert job.output["text"], worker.output
                await worker.stop()
                return {
                    "asking for jobs": queue.takes[0].at - began,
                    "ready": ready_s,
                    "first job": job.results[0].at - began,
                }


async def _ready(worker: Worker, job: Job) -> float:
    """When it says so."""
    while READY not in worker.output:
        assert worker.process.returncode is None, worker.output
        assert not job.results, worker.output
        await asyncio.sleep(LOOK_S)
    return time.monotonic()


STARTS = {"theirs": theirs, "ours": ours}


async def measure(vllm: str, rounds: int) -> dict[str, Any]:
    """The figures."""
    measured: dict[str, dict[str, list[Seconds]]] = {kind: {who: [] for who in STARTS} for kind in ("cold", "warm")}
    with tempfile.TemporaryDirectory() as name:
        model = tiny_voxtral(vllm, Path(name, "tiny-voxtral"))
        for number in range(rounds):
            for kind in measured:
                for who in list(STARTS)[:: -1 if number % 2 else 1]:  # each is the first one in turn
                    took = await STARTS[who](vllm, model, Path(name, f"cache-{who}-{number}"))
                    measured[kind][who].append({what: round(seconds, 2) for what, seconds in took.items()})
                    print(kind, who, measured[kind][who][-1], file=sys.stderr)
    return {kind: _summary(by_whom) for kind, by_whom in measured.items()}


def _summary(by_whom: dict[str, list[Seconds]]) -> dict[str, Any]:
    medians = {who: {what: _median(starts, what) for what in starts[0]} for who, starts in by_whom.items()}
    pairs = zip(by_whom["ours"], by_whom["theirs"], strict=True)
    later_s = [round(our["ready"] - their["ready"], 2) for our, their in pairs]
    return {"measured": by_whom, "medians": medians, "ours_later_by_s": later_s, "median": statistics.median(later_s)}


def _median(starts: list[Seconds], what: str) -> float:
    return round(statistics.median(start[what] for start in starts), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    vllm = find_vllm(os.environ.get("VLLM_EXECUTABLE"))
    if vllm is None:
        sys.exit("there is no vLLM: make engine")
    print(json.dumps(asyncio.run(measure(vllm, arguments.rounds)), indent=1))


if __name__ == "__main__":
    main()
