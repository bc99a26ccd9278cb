"""The service within the test's own process, on a free port of loopback: where a test shortens a pause, or needs a part."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.runpod_worker.harness import as_wav
from voxtral_serverless.http_api import server
from voxtral_serverless.http_api.app import make_app
from voxtral_serverless.http_api.dependencies import Parts
from voxtral_serverless.lifetime import EngineState
from voxtral_serverless.settings import Settings

TICKS = as_wav((np.arange(16_000) % 160 < 8).astype(np.int16) * 9000)
"""A second of something."""
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass(frozen=True)
class Near:
    """A service, its parts, and who asks it."""

    parts: Parts
    url: str
    client: httpx.AsyncClient

    @property
    def uploads(self) -> list[Path]:
        """The files that came with jobs and are still there."""
        return list(self.parts.desk.uploads.iterdir())

    async def run(self, job: dict[str, Any]) -> str:
        """Post a job; its id."""
        response = await self.client.post("/run", json=job)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    async def send(self, **fields: str) -> str:
        """Post a second of something as a file; the job's id."""
        response = await self.client.post("/run", files={"file": ("call.wav", TICKS)}, data=fields)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    async def status(self, job_id: str) -> dict[str, Any]:
        """A job as it is."""
        return dict((await self.client.get(f"/status/{job_id}")).json())

    async def until(self, job_id: str, *states: str, within_s: float = 30.0) -> dict[str, Any]:
        """A job when it is in one of these states."""
        async with asyncio.timeout(within_s):
            while (job := await self.status(job_id))["status"] not in states:  # noqa: ASYNC110 — a service sets no event
                await asyncio.sleep(0.02)
        return job


@asynccontextmanager
async def near_service(folder: Path, *, works: bool = True, **settings: Any) -> AsyncIterator[Near]:
    """A service with its jobs in `folder`; with `works` it is ready, without it does nothing but take jobs in."""
    given: dict[str, Any] = {"engine": "embedded", "data_dir": folder, "host": "127.0.0.1", "port": 0}
    chosen = Settings(**given | settings)
    with server._listening(chosen.host, chosen.port) as sockets:
        async with (
            server._running_parts(chosen) as parts,
            server._answering(make_app(parts), sockets),
        ):
            url = f"http://{server._name(sockets[0])}"
            async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
                near = Near(parts, url, client)
                if not works:
                    yield near
                    return
                async with server._jobs_done(parts):
                    await _begun(parts)
                    yield near


async def _begun(parts: Parts) -> None:
    async with asyncio.timeout(30):
        while await parts.desk.engine.state() is EngineState.STARTING:  # noqa: ASYNC110 — it sets no event
            await asyncio.sleep(0.01)


def inline(sound: bytes, **fields: Any) -> dict[str, Any]:
    """A job to transcribe `sound`, which it brings along."""
    return {"input": {"audio_base64": base64.b64encode(sound).decode(), "task": "transcribe"} | fields}


def rows(folder: Path, columns: str = "*") -> list[dict[str, Any]]:
    """The jobs in the folder of a service, as they lie on the disk, in the order of acceptance."""
    with closing(sqlite3.connect(folder / "jobs.sqlite3", timeout=30)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f"SELECT {columns} FROM jobs ORDER BY number")]


def traces(folder: Path, words: str) -> list[str]:
    """The files below `folder` that hold `words`, in any of the ways in which JSON writes them."""
    wanted = words.encode()
    return [path.name for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()]
