"""The user's own request on port 8000 of the container's command, from another address; and the variables of the API."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.diarization.test_models import community
from tests.engine.test_weights import model
from tests.fakes.hub import write
from tests.fakes.torch_process import command
from tests.fakes.vllm_server import Manners, vllm_command
from tests.http_api.service import Service, running_service
from tests.runpod_worker.harness import running_recordings
from tests.user_readme.contract import REQUEST, shows
from voxtral_serverless.doctor.surroundings import is_free

CONTAINER = (sys.executable, "-m", "voxtral_serverless", "start")
IMAGE = {"ENGINE": "vllm", "HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}


def own_address() -> str:
    """An address of this machine by which others reach it; one of loopback's others where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.2"
        return str(asking.getsockname()[0])


def port_8000() -> int:
    """8000, or a free one where somebody on this machine has that."""
    if is_free("0.0.0.0", 8000) and is_free("127.0.0.1", 8000):
        return 8000
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def engines(folder: Path) -> dict[str, str]:
    """What stands in for a vLLM that hears and judges, and for a pyannote."""
    folder.mkdir(parents=True)
    vllm_command(folder, Manners())
    return {
        "VLLM_EXECUTABLE": str(folder / "vllm"),
        "VOXTRAL_MODEL": str(write(folder / "tiny", model())),
        "DIARIZATION_PYTHON": command(folder),
        "DIARIZATION_MODEL": str(write(folder / "who", community())),
        "FETCH_ALLOW_PRIVATE": "true",
    }


async def answering(url: str, within_s: float) -> None:
    """Wait until somebody answers."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client, asyncio.timeout(within_s):
        while True:
            with suppress(httpx.TransportError):
                await client.get("/ping")
                return
            await asyncio.sleep(0.1)


async def posted(url: str, job: Mapping[str, Any], within_s: float = 90) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is answered to a job, and the job when it is over."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client, asyncio.timeout(within_s):
        taken = (await client.post("/run", json=job)).json()
        seen = taken
        while seen["status"] in ("IN_QUEUE", "IN_PROGRESS"):
            await asyncio.sleep(0.1)
            seen = (await client.get(f"/status/{taken['id']}")).json()
        return taken, seen


@shows("Commands: POST /run", "Environment: PORT", "Environment: ALLOW_ANONYMOUS", "Environment: HOST")
async def test_request_of_the_user_on_the_port_that_vllm_wanted(tmp_path: Path) -> None:
    (tmp_path / "call").mkdir()
    port = str(port_8000())
    environment = {**IMAGE, **engines(tmp_path / "engines"), "VLLM_PORT": port, "PORT": port}
    if port == "8000":
        environment["PORT"] = ""  # as it is
    async with (
        running_recordings(tmp_path / "call") as recordings,
        running_service(tmp_path / "service", environment, command=CONTAINER) as service,
    ):
        job = {"input": REQUEST["input"] | {"audio_url": f"{recordings.url}/clip/6"}}
        taken, done = await posted(f"http://{own_address()}:{port}", job)
        log = service.process.log()
        ended = await service.process.stop()
    assert taken["status"] == "IN_QUEUE"
    assert done["status"] == "COMPLETED", done
    output = done["output"]
    assert list(output) == [*("task", "language", "duration", "transcriptions", "summary", "sentiment"), "meta"]
    assert output["transcriptions"], output
    assert (output["task"], output["language"], output["meta"]["engine"]) == ("transcribe_diarized", "fr", "vllm")
    [warning] = [line for line in log if "ANYBODY" in line["message"]]
    assert warning["level"] == "WARNING"
    assert any("port" in line["message"] and port in line["message"] for line in log), "vLLM moved, and says so"
    assert (ended.status, service.process.leftovers()) == (0, [])


@asynccontextmanager
async def refused(folder: Path, **environment: str) -> AsyncIterator[str]:
    """What a service says that does not even start."""
    process = await asyncio.create_subprocess_exec(
        *CONTAINER, env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            _, told = await process.communicate()
        assert process.returncode == 1
        yield told.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@shows("Environment: HOST", "Environment: ALLOW_ANONYMOUS", "Environment: API_KEY")
async def test_beyond_loopback_a_key_is_needed_or_the_word(tmp_path: Path) -> None:
    async with refused(tmp_path, ENGINE="embedded", HOST="0.0.0.0", PORT="0") as told:
        assert "invalid_configuration" in told
        assert "ALLOW_ANONYMOUS" in told


@shows("Environment: API_KEY")
async def test_key(tmp_path: Path) -> None:
    settings = {"API_KEY": "the key of the house", "HOST": "0.0.0.0"}
    async with running_service(tmp_path / "service", settings) as service:
        assert (await service.client.get("/health")).status_code == 401
        assert (await service.client.get("/health", headers=bearer("another key"))).status_code == 401
        assert (await service.client.get("/health", headers=bearer(settings["API_KEY"]))).status_code == 200
        assert "ANYBODY" not in service.process.output


@shows("Environment: HOST")
async def test_only_this_machine_is_answered_by_default(tmp_path: Path) -> None:
    async with running_service(tmp_path / "service") as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert (await service.client.get("/health", headers={"Host": "page.example"})).status_code == 403


@shows("Environment: DATA_DIR")
async def test_jobs_are_kept_in_the_folder(tmp_path: Path) -> None:
    async with running_service(tmp_path / "service", {"DATA_DIR": str(tmp_path / "kept")}) as service:
        job = await over(service)
        await service.process.stop()
    assert (tmp_path / "kept" / "jobs.sqlite3").is_file()
    async with running_service(tmp_path / "service", {"DATA_DIR": str(tmp_path / "kept")}) as service:
        assert await service.status(job["id"]) == job


@shows("Environment: DATA_DIR")
async def test_folder_of_the_platform(tmp_path: Path) -> None:
    settings = {"DATA_DIR": "", "XDG_DATA_HOME": str(tmp_path / "share")}
    async with running_service(tmp_path / "service", settings):
        assert (tmp_path / "share" / "voxtral-serverless" / "jobs.sqlite3").is_file()


async def over(service: Service) -> dict[str, Any]:
    """A job that fails quickly."""
    return await service.over(
        await service.run({"input": {"audio_url": "http://127.0.0.1:9/call.wav", "task": "none"}})
    )


def bearer(key: str) -> dict[str, str]:
    """The header with a key."""
    return {"Authorization": f"Bearer {key}"}
