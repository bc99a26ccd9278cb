"""RunPod's own clients, and curl, against the running service: written for an endpoint there, they work here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import runpod
from runpod.endpoint.asyncio.asyncio_runner import Endpoint as AsyncEndpoint

from tests.http_api.near import inline
from tests.http_api.service import Service, clip, running_service
from tests.http_api.test_webhooks import silent

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "k-1234"
CLIP_S = 8.0
HUNG: dict[str, Any] = {"input": {"audio_url": "http://127.0.0.1:9/"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service with a key, which does one job at a time."""
    settings = {"MAX_CONCURRENCY": "1", "API_KEY": KEY}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with running_service(tmp_path_factory.mktemp("service"), settings, headers=headers) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The beginning of the bundled call."""
    return await clip(tmp_path_factory.mktemp("clip"), CLIP_S)


@pytest.fixture
def endpoint(service: Service, monkeypatch: pytest.MonkeyPatch) -> runpod.Endpoint:
    """RunPod's client; its methods block."""
    monkeypatch.setattr(runpod, "endpoint_url_base", service.url)
    return runpod.Endpoint("voxtral", api_key=KEY)


async def apart(work: Callable[[], Any]) -> Any:
    """What blocking `work` returns."""
    return await asyncio.to_thread(work)


def diarized(call: bytes) -> dict[str, Any]:
    """A job that takes some seconds."""
    return {"input": {"audio_base64": base64.b64encode(call).decode(), "language": "en"}}


async def test_run_and_wait(endpoint: runpod.Endpoint, call: bytes) -> None:
    job = await apart(lambda: endpoint.run(diarized(call)))
    assert await apart(job.status) in ("IN_QUEUE", "IN_PROGRESS")
    output = await apart(lambda: job.output(timeout=90))
    assert await apart(job.status) == "COMPLETED"
    assert output["transcriptions"][0]["speaker"].startswith("SPEAKER_")


async def test_progress_is_the_output_of_a_job_under_way(
    endpoint: runpod.Endpoint, service: Service, call: bytes
) -> None:
    job = await apart(lambda: endpoint.run(diarized(call)))
    seen: list[dict[str, Any]] = []
    while (state := await service.status(job.job_id))["status"] in ("IN_QUEUE", "IN_PROGRESS"):
        if "output" in state:
            seen.append(await apart(job.output) or {})
        await asyncio.sleep(0.02)
    stages = [progress["stage"] for progress in seen if "stage" in progress]
    assert len(set(stages)) > 1
    percents = [progress["percent"] for progress in seen if "stage" in progress]
    assert percents == sorted(percents)


async def test_run_sync(endpoint: runpod.Endpoint, service: Service, call: bytes) -> None:
    output = await apart(lambda: endpoint.run_sync(diarized(call), timeout=90))
    assert output["task"] == "transcribe_diarized"
    job = (await service.client.post("/v2/voxtral/runsync", json=inline(call))).json()
    assert (job["status"], job["output"]["task"]) == ("COMPLETED", "transcribe")
    assert job["executionTime"] > 0
    assert job["delayTime"] >= 0


async def test_failure(endpoint: runpod.Endpoint, service: Service) -> None:
    job = await apart(lambda: endpoint.run({"input": {"audio_base64": "AAAA"}}))
    assert await apart(lambda: job.output(timeout=60)) is None
    assert await apart(job.status) == "FAILED"
    assert (await service.status(job.job_id))["error"].startswith("audio_")
    wrong = await apart(lambda: endpoint.run({"input": {"audio_urls": "x"}}))
    await apart(lambda: wrong.output(timeout=60))
    assert (await service.status(wrong.job_id))["error"].startswith("invalid_input: ")


async def test_stream(endpoint: runpod.Endpoint, call: bytes) -> None:
    job = await apart(lambda: endpoint.run(diarized(call)))
    told = await apart(lambda: list(job.stream()))
    output = await apart(job.output)
    said = [{name: one[name] for name in ("speaker", "start", "end", "text")} for one in output["transcriptions"]]
    assert said
    assert sorted(told, key=lambda one: one["start"]) == said
    assert await apart(lambda: list(job.stream())) == [], "told once"


async def test_cancel_health_and_purge(endpoint: runpod.Endpoint, call: bytes) -> None:
    async with silent() as url:
        running = await apart(lambda: endpoint.run({"input": {"audio_url": url}}))
        while await apart(running.status) != "IN_PROGRESS":  # noqa: ASYNC110 — another process
            await asyncio.sleep(0.05)
        waiting = [await apart(lambda: endpoint.run(diarized(call))) for _ in range(2)]
        health = await apart(endpoint.health)
        assert (health["jobs"]["inQueue"], health["jobs"]["inProgress"]) == (2, 1)
        assert (health["workers"]["running"], health["workers"]["idle"]) == (1, 0)
        assert await apart(endpoint.purge_queue) == {"removed": 2, "status": "completed"}
        assert [await apart(job.status) for job in waiting] == ["CANCELLED"] * 2
        assert (await apart(running.cancel))["status"] == "CANCELLED"
        assert await apart(running.status) == "CANCELLED"
        assert (await apart(endpoint.health))["jobs"]["inProgress"] == 0


async def test_wrong_key(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runpod, "endpoint_url_base", service.url)
    stranger = runpod.Endpoint("voxtral", api_key="k-1235")
    with pytest.raises(RuntimeError, match="401"):
        await apart(lambda: stranger.run(HUNG))


async def test_asynchronous_client(service: Service, call: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{service.url}/v2")
    async with aiohttp.ClientSession() as session, silent() as url:
        endpoint = AsyncEndpoint("any-name", session, api_key=KEY)
        hung = await endpoint.run({"audio_url": url})
        job = await endpoint.run(diarized(call)["input"])
        assert (await hung.cancel())["status"] == "CANCELLED"
        told = [one async for one in job.stream()]
        output = await job.output(timeout=60)
        assert await job.status() == "COMPLETED"
        assert len(told) == len(output["transcriptions"]) > 0
        assert (await endpoint.health())["jobs"]["inQueue"] == 0
        assert (await endpoint.purge_queue())["removed"] == 0


@pytest.mark.skipif(not shutil.which("curl") and not os.environ.get("CI"), reason="there is no curl")
async def test_curl_sends_a_file(service: Service, call: bytes, tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(call)
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--fail-with-body", f"{service.url}/runsync", "-H", f"Authorization: Bearer {KEY}",
        "-F", "file=@call.wav", "-F", 'input={"task": "transcribe", "metadata": {"from": "curl"}}',
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    answer, _ = await process.communicate()
    assert process.returncode == 0, answer
    job = json.loads(answer)
    assert (job["status"], job["output"]["metadata"]) == ("COMPLETED", {"from": "curl"})
    assert job["output"]["duration"] == CLIP_S
    assert service.uploads() == []
