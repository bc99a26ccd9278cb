"""How near the scheduler of requests comes to what a server can do, whatever the speed of the server.

    python bench/transcription.py [--latency 0.25] [--batch 16]

A call of 10 minutes with 120 turns (the bundled one, repeated), against a stand-in for vLLM in a process of its own
that takes a fixed time for every request and works on so many at once. Prints one JSON object: the time for all
turns, for all of them one at a time, and the ideal: full batches without a gap; and the time for the same speech in
windows, whoever speaks. A claim of the project: at least 0.8 of the ideal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes.vllm_server import Manners, vllm_command  # noqa: E402
from voxtral_serverless.audio.decode import decode  # noqa: E402
from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording, Span  # noqa: E402
from voxtral_serverless.diarization.turns import Turn  # noqa: E402
from voxtral_serverless.engine.client import Engine, EngineClient  # noqa: E402
from voxtral_serverless.engine.external import ExternalServer, external_server  # noqa: E402
from voxtral_serverless.engine.machine import free_port  # noqa: E402
from voxtral_serverless.engine.requests import Requests  # noqa: E402
from voxtral_serverless.settings import Settings  # noqa: E402
from voxtral_serverless.transcription.plan import Clip, plan_by_turns, plan_by_windows  # noqa: E402
from voxtral_serverless.transcription.voxtral import VoxtralTranscriber  # noqa: E402

CALL_S, TURNS = 600, 120
PAUSE_S = 0.4
"""Silence between two turns."""


async def long_call(folder: Path) -> Recording:
    """The bundled call, over and over."""
    call = await decode(ROOT / "examples" / "call.ogg", folder, 3600, lambda *_: None)
    samples = call.mix.read_bytes()
    wanted = CALL_S * SAMPLE_RATE * SAMPLE_BYTES
    file = folder / "long.s16"
    file.write_bytes((samples * math.ceil(wanted / len(samples)))[:wanted])
    return Recording(file, (), CALL_S * SAMPLE_RATE, 1, SAMPLE_RATE)


def by_turns(recording: Recording) -> list[Clip]:
    """The clips of turns of one length, by two speakers."""
    turns = [Turn(span, f"SPEAKER_0{index % 2}") for index, span in enumerate(speech())]
    clips = plan_by_turns(turns, {None: speech()}, CALL_S, quietest=recording.quietest)
    assert len(clips) == TURNS
    return clips


def by_windows(recording: Recording) -> list[Clip]:
    """The same speech in windows."""
    return plan_by_windows({None: speech()}, quietest=recording.quietest)


def speech() -> list[Span]:
    """Stretches of speech of one length."""
    edges = [CALL_S * index / TURNS for index in range(TURNS + 1)]
    return [Span(start, end - PAUSE_S) for start, end in pairwise(edges)]


@asynccontextmanager
async def served(folder: Path, manners: Manners) -> AsyncIterator[Engine]:
    """The stand-in, ready, as a server that is not ours."""
    port = free_port(18_500)
    arguments = ("bare", "model", "--port", str(port), "--served-model-name", "voxtral")
    process = await asyncio.create_subprocess_exec(
        vllm_command(folder, manners), *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    client = EngineClient(f"http://127.0.0.1:{port}", "voxtral", None)
    try:
        async with external_server(ExternalServer(client, freeze_timeout_s=60)) as engine:
            await engine.ready()
            yield engine
    finally:
        process.terminate()
        await process.wait()


async def taken_s(engine: Engine, max_requests: int, recording: Recording, clips: list[Clip]) -> float:
    """Wall time for all clips, with so many requests at once."""
    began = time.perf_counter()
    transcript = await VoxtralTranscriber(Requests(engine, max_requests)).transcribe(
        recording, clips, "en", lambda *_: None
    )
    taken = time.perf_counter() - began
    assert None not in transcript.texts
    return taken


async def measure(latency_s: float, batch: int) -> dict[str, float]:
    """The figures."""
    at_once: int = Settings.model_fields["max_requests"].default
    with tempfile.TemporaryDirectory() as name:
        recording = await long_call(Path(name))
        turns, windows = by_turns(recording), by_windows(recording)
        async with served(Path(name), Manners(latency_s=latency_s, batch=batch)) as engine:
            wall_s = await taken_s(engine, at_once, recording, turns)
            windows_s = await taken_s(engine, at_once, recording, windows)
            one_at_a_time_s = await taken_s(engine, 1, recording, turns)
    ideal_s = math.ceil(TURNS / batch) * latency_s
    return {
        "wall_s": wall_s,
        "one_at_a_time_s": one_at_a_time_s,
        "ideal_s": ideal_s,
        "share_of_ideal": ideal_s / wall_s,
        "times_faster": one_at_a_time_s / wall_s,
        "windows": len(windows),
        "windows_wall_s": windows_s,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.25, help="seconds that every request takes")
    parser.add_argument("--batch", type=int, default=16, help="requests that are worked on at once")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.latency, arguments.batch))
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
