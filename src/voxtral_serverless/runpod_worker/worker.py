"""The worker's process, in the order in which its parts start and end.

The engine is started first of all, and boots while the SDK, which takes seconds, is imported, and while the first job is
fetched and decoded.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.runpod_worker.backend import Backend, running_backend
from voxtral_serverless.runpod_worker.handler import Handler
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import StartUp, process_began
from voxtral_serverless.workspace import sweep_leftovers, workspace

log = logging.getLogger(__name__)

QUEUE = "RUNPOD_WEBHOOK_GET_JOB"
"""Where the SDK asks for jobs: set by RunPod in every serverless worker."""
MIN_FREE_BYTES = 1_000_000_000
"""Two and a half hours of stereo take as much, decoded."""
DECODER_TIMEOUT_S = 60.0
ENGINE_FIRST_S = 2.0
"""The engine's process has so long to be started before the SDK is imported, which would slow that down. Where weights
have to be downloaded first, the SDK does not wait for them."""


def run_worker(settings: Settings) -> int:
    """Do RunPod's jobs until the process is asked to end; its exit status. Blocks, in the main thread.

    Raises:
        InvalidConfiguration: this is no worker of RunPod.
    """
    if not os.environ.get(QUEUE):
        raise InvalidConfiguration(
            f"{QUEUE} is not set: this command does the jobs of a RunPod serverless endpoint, and runs there. Elsewhere "
            "`voxtral-serverless serve` takes jobs by HTTP, and `voxtral-serverless transcribe` does one recording."
        )
    startup = StartUp(process_began())
    startup.note("interpreter", startup.now())
    _quiet_sdk()
    sweep_leftovers()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the SDK has a handler of its own
    retired: list[bool] = []
    with running_backend(settings, startup) as backend:
        backend.begun(ENGINE_FIRST_S)
        with startup.phase("sdk"):
            from voxtral_serverless.runpod_worker.sdk import Handle, Retire, serve

        def handler(retire: Retire) -> Handle:
            def retire_for_good() -> None:
                retired.append(True)
                retire()

            return Handler(backend, settings, retire_for_good).handle

        checks = _fitness_checks(backend)
        serve(
            handler,
            concurrency=settings.max_concurrency,
            checks=checks,
            taking=lambda: startup.reached("asking_for_jobs"),
        )
    return 1 if retired else 0


def _quiet_sdk() -> None:
    """At its default level, DEBUG, the SDK writes every answer into the log."""
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")


def _fitness_checks(backend: Backend) -> list[Callable[[], None]]:
    """What must hold before the first job. A check that fails ends the worker, and RunPod starts another one elsewhere.

    The engine is not among them: it boots beside the first job, and where it cannot, every job is told why.
    """

    def decoder_works() -> None:
        backend.wait_for(_decode_silence(), DECODER_TIMEOUT_S)

    def disk_has_room() -> None:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if free < MIN_FREE_BYTES:
            raise RuntimeError(f"the temporary folder has {free / 1e9:.1f} GB free; a long recording takes more")

    return [decoder_works, disk_has_room]


async def _decode_silence() -> None:
    """Decode half a second."""
    with workspace() as folder:
        sample = folder / "sample"
        _write_silence(sample)
        await decode(sample, folder, 1.0, lambda _done, _total: None)


def _write_silence(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(bytes(SAMPLE_BYTES * SAMPLE_RATE // 2))
