"""The robustness of an examination, with real harm; that of the engine is done to a real one in tests/engines."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import leftovers
from tests.fakes.hub import Hosted, Hub, running_hub
from voxtral_serverless.contract import JobResult, Meta, Transcription
from voxtral_serverless.errors import Notice, StageFailed
from voxtral_serverless.progress import Events
from voxtral_serverless.qualify import robustness
from voxtral_serverless.qualify.hostile import files


async def test_a_leak_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted one: a file that simply is the secret."""
    monkeypatch.setattr(files, "HOSTILE", {"the secret itself": lambda ground: ground.sound})
    reading = await robustness.hostile()
    leaked = reading["leaked_bytes"]
    assert isinstance(leaked, int)
    assert leaked > 30_000


async def test_a_token_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    models = {"pyannote/speaker-diarization-3.1": Hosted({"config.yaml": b"version: 3.1.0"}, gated=True)}
    async with running_hub(Hub(models, token="hf_the_only_one")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        reading = await robustness.bad_token()
        asked = [headers.get("Authorization", "") for _, _, headers in hub.requests]
    assert (reading["code"], reading["token_shown"]) == ("model_unavailable", False)
    assert any(value.startswith("Bearer hf_") for value in asked)
    assert leftovers(temporary) == []


async def test_a_hub_behind_a_proxy_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(Hub({}, token="hf_the_only_one")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, hub.url)
        reading = await robustness.bad_token()
        assert hub.requests
    assert reading["code"] == "model_unavailable"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_hub_has_not_judged_the_token(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", busy)
    async with TestServer(app) as server:
        monkeypatch.setenv("HF_ENDPOINT", str(server.make_url("")).rstrip("/"))
        with pytest.raises(StageFailed, match=f"the Hub has not judged the token: .*{status}"):
            await robustness.bad_token()


async def test_without_the_hub_nothing_is_said_of_it() -> None:
    with pytest.raises(StageFailed, match="cannot be reached"):
        await robustness.bad_token()


def result(*entries: tuple[float, float, str | None], duration: float = 9000.0) -> JobResult:
    return JobResult(
        task="transcribe_diarized", language="fr", duration=duration, summary="Résumé : rien.",
        transcriptions=[Transcription(speaker="SPEAKER_00", start=s, end=e, text=text) for s, e, text in entries],
        meta=Meta(
            version="0", engine="vllm", models={}, channels={}, timings={}, warnings=[Notice("turns_lost", "…")],
            quality={"speech_s": 8998.5},
        ),
    )  # fmt: skip


async def test_the_longest_recording() -> None:
    async def job(_events: Events) -> JobResult:
        await asyncio.sleep(0.05)
        return result((0.0, 4.0, "bonjour"), (3.0, 5.0, "oui"), (6.0, 8999.5, None))

    reading: dict[str, Any] = await robustness.longest(job, 150, lambda: {"disk_mib": 576})
    assert reading.pop("took_s") >= 0.05
    assert reading == {
        "minutes": 150, "duration_s": 9000.0, "turns": 3, "turns_without_text": 1, "last_turn_end_s": 8999.5,
        "speech_s": 8998.5, "written_s": 5.0, "summary": True, "sentiment": False, "warnings": ["turns_lost"], "peaks": {"disk_mib": 576},
    }  # fmt: skip


async def test_a_hub_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(Hub({}, silent=True)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr(robustness, "TOLD_WITHIN_S", 2.0)
        began = time.monotonic()
        with pytest.raises(StageFailed, match="not told within 2 s"):
            await robustness.bad_token()
        assert time.monotonic() - began < 30
