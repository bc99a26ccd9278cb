"""The real worker as a process of its own, and recordings for its jobs, all on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from tests.conftest import leftovers
from tests.fakes.origin import Origin
from tests.fakes.runpod_queue import Job, Manners, RunpodQueue, running_queue
from tests.media import CALL
from tests.test_child import alive, eventually
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Span

COMMAND = (sys.executable, "-m", "voxtral_serverless", "worker")
START_S = 60.0
"""A start on two busy cores."""
NONE: Mapping[str, str] = MappingProxyType({})
GONE_S = 2.0
"""Within so many seconds nothing is left of a job that was cancelled."""


class Recordings(Origin):
    """An origin that also has `/clip/4.5`: so many seconds of the bundled call, from its beginning."""

    def __init__(self, call: NDArray[np.int16]) -> None:
        super().__init__(as_wav(call[: 16_000 * 4]))
        self.call = call

    def application(self) -> web.Application:
        app = super().application()
        app.router.add_get("/clip/{seconds}", self.clip)
        return app

    async def clip(self, request: web.Request) -> web.Response:
        return web.Response(body=self.wav(float(request.match_info["seconds"])), content_type="audio/wav")

    def wav(self, seconds: float) -> bytes:
        """So many seconds of the call as a file."""
        return as_wav(self.call[: round(16_000 * seconds)])


def as_wav(samples: NDArray[np.int16]) -> bytes:
    """A mono WAV file at 16 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


@asynccontextmanager
async def running_recordings(folder: Path) -> AsyncIterator[Recordings]:
    """The recordings on a free port of 127.0.0.1."""
    recording = await decode(CALL, folder, 9000, lambda done, total: None)
    recordings = Recordings(np.asarray(recording.clip(Span(0, recording.duration))))
    runner = web.AppRunner(recordings.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    recordings.url = f"http://{host}:{port}"
    try:
        yield recordings
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Ended:
    """How a worker ended: its exit status, and the seconds since it was told to."""

    status: int
    within_s: float


@dataclass(frozen=True)
class Worker:
    """A worker under test.

    Attributes:
        temporary: Its temporary folder.
        out: The file that its stdout goes to; `err` is that of stderr.
    """

    process: asyncio.subprocess.Process
    temporary: Path
    out: Path
    err: Path

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self.out.read_text("utf-8", "replace") + self.err.read_text("utf-8", "replace")

    def log(self) -> list[dict[str, Any]]:
        """Its log: every line of its output is a JSON object."""
        return [json.loads(line) for line in self.output.splitlines()]

    def below(self) -> set[int]:
        """Its living processes, but for itself."""
        parents = dict(_parents())
        found, level = set[int](), {self.process.pid}
        while level := {pid for pid, parent in parents.items() if parent in level} - found:
            found |= level
        return found

    def cpu_s(self) -> float:
        """Seconds of a processor that it has used itself."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def leftovers(self) -> list[Path]:
        """What is in its temporary folder."""
        return leftovers(self.temporary)

    async def stop(self, number: int = signal.SIGTERM, within_s: float = 60.0) -> Ended:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return await self.end(within_s)

    async def end(self, within_s: float = 60.0) -> Ended:
        """Wait for the end; nothing of the worker may survive it."""
        began, below = time.monotonic(), self.below()
        status = await asyncio.wait_for(self.process.wait(), within_s)
        took_s = time.monotonic() - began
        assert await eventually(lambda: not any(alive(pid) for pid in below)), "a child outlives the worker"
        return Ended(status, took_s)

    async def kill(self) -> None:
        """End what is still there, at once."""
        below = self.below()
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _parents() -> Iterator[tuple[int, int]]:
    """Every living process and its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(stat.parent.name), int(parent)


def environment_of(queue: RunpodQueue, folder: Path, settings: Mapping[str, str] = NONE) -> dict[str, str]:
    """What a worker is started with: nothing of this machine's but the PATH."""
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "temporary"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "ENGINE": "embedded",
        "FETCH_ALLOW_PRIVATE": "true",
    }
    return own | queue.environment() | dict(settings)


@asynccontextmanager
async def running_worker(
    queue: RunpodQueue,
    folder: Path,
    settings: Mapping[str, str] = NONE,
    *,
    command: Sequence[str] = COMMAND,
    takes: bool = True,
) -> AsyncIterator[Worker]:
    """A worker of `queue`, which takes jobs when the block is entered. Nothing of it stays."""
    (folder / "temporary").mkdir(parents=True)
    out, err = folder / "stdout", folder / "stderr"
    environment, before = environment_of(queue, folder, settings), len(queue.takes)
    with _new(out) as stdout, _new(err) as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=folder
        )
    worker = Worker(process, folder / "temporary", out, err)
    try:
        if takes:
            taken = await queue.until(lambda: len(queue.takes) > before or process.returncode is not None, START_S)
            assert taken, worker.output
            assert process.returncode is None, worker.output
        yield worker
    finally:
        await worker.kill()


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        yield file


@dataclass(frozen=True)
class Stand:
    """A queue, its worker, and the recordings for its jobs."""

    queue: RunpodQueue
    worker: Worker
    recordings: Recordings

    def url(self, seconds: float = 4.0) -> str:
        """Of a recording of so many seconds."""
        return f"{self.recordings.url}/clip/{seconds}"


@asynccontextmanager
async def running_stand(
    folder: Path,
    settings: Mapping[str, str] = NONE,
    *,
    manners: Manners | None = None,
    key: str = "rpa_key",
    takes: bool = True,
) -> AsyncIterator[Stand]:
    """All of it, ready for jobs."""
    cut = folder / "call"
    cut.mkdir(parents=True)
    async with (
        running_recordings(cut) as recordings,
        running_queue(manners, key) as queue,
        running_worker(queue, folder / "worker", settings, takes=takes) as worker,
    ):
        yield Stand(queue, worker, recordings)


def codes(output: dict[str, Any]) -> set[str]:
    """The codes of the warnings in an answer."""
    return {warning["code"] for warning in output["meta"]["warnings"]}


def in_stage(job: Job, stage: str) -> bool:
    """Whether the job has told that it was there."""
    return any(post.body["output"]["stage"] == stage for post in job.progress)


async def check_cancelled(stand: Stand, job: Job, before: set[int]) -> None:
    """Cancel a job that is running: soon nothing of it is there any more, and nothing is heard of it."""
    assert not job.results
    stand.queue.cancel(job)
    quiet_from = (
        time.monotonic() + GONE_S
    )  # a thread ends with its next report, after a first import of scikit-learn too
    assert await eventually(lambda: stand.worker.leftovers() == [], GONE_S), stand.worker.leftovers()
    assert await eventually(lambda: stand.worker.below() <= before, GONE_S / 4)
    await asyncio.sleep(max(quiet_from - time.monotonic(), 0))
    heard, busy_s = len(job.posts), stand.worker.cpu_s()
    await asyncio.sleep(1.0)
    assert (job.results, len(job.posts)) == ([], heard)
    assert stand.worker.cpu_s() - busy_s < 0.4, "something goes on in the worker"
    after = stand.queue.put({"audio_base64": ""})
    await stand.queue.finished(after, within_s=10)
