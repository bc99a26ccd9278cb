"""The HTTP API over the real vLLM: the bundled call by RunPod's routes and by OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests.engines.test_whole_way import ENGLISH, MOST_WRONG, right
from tests.http_api.service import running_service
from tests.media import CALL, ROOT
from voxtral_serverless.engine.server import VllmServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_call_by_both_apis(engine: VllmServer, tmp_path: Path) -> None:
    await engine.ready()
    key = engine.client._headers["Authorization"].removeprefix("Bearer ")
    settings = {
        "ENGINE": "vllm", "DIARIZER": "embedded", "VLLM_BASE_URL": engine.client.url, "VLLM_API_KEY": key,
        "VOXTRAL_MODEL": engine.client.model,
    }  # fmt: skip
    job = json.loads((ROOT / "examples" / "call.json").read_text())["input"]
    async with running_service(tmp_path, settings) as service:
        client = AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none is asked for")
        form = {"input": json.dumps({name: value for name, value in job.items() if name != "audio_url"})}
        posted = service.client.post("/runsync", data=form, files={"file": CALL.read_bytes()}, params={"wait": 300_000})
        asked = client.audio.transcriptions.create(
            model="voxtral", file=CALL, language="en", response_format="diarized_json", extra_body={"num_speakers": 2}
        )
        done, diarized = await asyncio.gather(posted, asked)
        status = (await service.process.stop()).status
        await client.close()
    output = done.json()["output"]
    assert (done.json()["status"], output["meta"]["engine"], status) == ("COMPLETED", "vllm", 0)
    assert right(output, ENGLISH) >= len(ENGLISH) - MOST_WRONG
    assert [segment.text for segment in diarized.segments] == [turn["text"] for turn in output["transcriptions"]]
    assert [segment.speaker for segment in diarized.segments] == ["A", "B"] * 7
