"""The real service as a process of its own, on a free port of loopback, and clients for it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.media import CALL
from tests.runpod_worker.harness import NONE, Worker, as_wav
from tests.test_child import eventually
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Span

COMMAND = (sys.executable, "-m", "voxtral_serverless", "serve")
START_S = 60.0
DONE_S = 90.0
"""For a short job with the embedded engine, on a busy machine."""


@dataclass(frozen=True)
class Service:
    """A service under test: `process` has its output and its children.

    Attributes:
        url: Where it answers.
        folder: Its `DATA_DIR`.
        client: Asks it.
    """

    process: Worker
    url: str
    folder: Path
    client: httpx.AsyncClient

    async def run(self, job: Mapping[str, Any], **options: Any) -> str:
        """Post a job; its id."""
        response = await self.client.post("/run", json=job, **options)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    async def status(self, job_id: str) -> dict[str, Any]:
        """A job as it is."""
        response = await self.client.get(f"/status/{job_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def over(self, job_id: str, within_s: float = DONE_S) -> dict[str, Any]:
        """A job when it is over."""
        job = await self.status(job_id)
        async with asyncio.timeout(within_s):
            while job["status"] in ("IN_QUEUE", "IN_PROGRESS"):
                await asyncio.sleep(0.1)
                job = await self.status(job_id)
        return job

    def uploads(self) -> list[Path]:
        """The files that came with jobs and are still there."""
        return [path for path in (self.folder / "uploads").rglob("*") if path.is_file()]


def environment_of(folder: Path, settings: Mapping[str, str] = NONE) -> dict[str, str]:
    """What a service is started with: nothing of this machine's but the PATH."""
    own = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder / "temporary"),
        "HF_ENDPOINT": "http://127.0.0.1:9", "ENGINE": "embedded", "FETCH_ALLOW_PRIVATE": "true",
        "DATA_DIR": str(folder / "data"), "PORT": "0",
    }  # fmt: skip
    return own | dict(settings)


@asynccontextmanager
async def running_service(
    folder: Path,
    settings: Mapping[str, str] = NONE,
    *,
    command: Sequence[str] = COMMAND,
    headers: Mapping[str, str] = NONE,
) -> AsyncIterator[Service]:
    """A service that answers when the block is entered, with its jobs in `folder`, where an earlier one may have been.

    Nothing of the process stays.
    """
    (folder / "temporary").mkdir(parents=True, exist_ok=True)
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment_of(folder, settings), stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            cwd=folder,
        )  # fmt: skip
    worker = Worker(process, folder / "temporary", out, err)
    try:
        assert await eventually(lambda: bool(listening(worker)) or process.returncode is not None, START_S), (
            worker.output
        )
        url = listening(worker)
        assert url, worker.output
        async with httpx.AsyncClient(base_url=url, headers=dict(headers), timeout=60, trust_env=False) as client:
            yield Service(worker, url, Path(environment_of(folder, settings)["DATA_DIR"]), client)
    finally:
        await worker.kill()


def listening(worker: Worker) -> str | None:
    """The first address that its log names, as this machine reaches it."""
    found = re.search(r"listening on (http://\S+:\d+)", worker.output)
    return found[1].replace("0.0.0.0", "127.0.0.1") if found else None


async def clip(folder: Path, seconds: float) -> bytes:
    """So many seconds of the bundled call, from its beginning, as a WAV file."""
    folder.mkdir(parents=True, exist_ok=True)
    recording = await decode(CALL, folder, 9000, lambda done, total: None)
    return as_wav(recording.clip(Span(0, seconds)))
