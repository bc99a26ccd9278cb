"""The whole way through the real engine: every turn has its own words, in the shape of the contract."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import no_report
from tests.engines.conftest import TINY
from tests.media import CALL
from tests.reference import bundled_call
from tests.test_child import eventually
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.audio.recording import SAMPLE_RATE, Span
from voxtral_serverless.contract import parse_options
from voxtral_serverless.engine.client import as_wav, warm_up
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.qualify.media import wav
from voxtral_serverless.services import Services, running_services, served_services
from voxtral_serverless.settings import load_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_WRONG = 1
"""Of the turns of a call: another processor rounds otherwise, and the model is tiny."""


def reference(stm: Path) -> list[str]:
    """The texts of the turns."""
    return [line.split(" ", 5)[5] for line in stm.read_text("utf-8").splitlines()]


ENGLISH, FRENCH = reference(CALL.with_suffix(".stm")), reference(TINY / "appel.stm")
SUMMARY = "La cliente conteste une facture payée deux fois, et l'agent promet un remboursement sous huit jours."
SENTIMENT = {
    "sentiment": "neutre", "score": 0.75, "emotions": ["politesse", "soulagement"], "satisfaction_client": "satisfait",
}  # fmt: skip
"""What the model has learnt to answer in a chat (tiny_voxtral/README.md)."""


def services(engine: VllmServer) -> Services:
    return served_services(load_settings(engine="vllm", diarizer="embedded"), engine)


async def transcribed(engine: VllmServer, file: Path, **fields: Any) -> dict[str, Any]:
    result = await process(parse_options(fields), LocalAudio(file), services(engine), NoEvents())
    return result.to_json()


def right(answer: dict[str, Any], texts: list[str]) -> int:
    """How many turns have their own words."""
    heard = [entry["text"] for entry in answer["transcriptions"]]
    assert len(heard) == len(texts)
    return sum(one == other for one, other in zip(heard, texts, strict=True))


async def test_each_turn_has_its_own_words(engine: VllmServer) -> None:
    answer = await transcribed(engine, CALL, language="en", num_speakers=2)
    assert right(answer, ENGLISH) >= len(ENGLISH) - MOST_WRONG
    assert {entry["speaker"] for entry in answer["transcriptions"][::2]} == {"SPEAKER_00"}
    assert {entry["speaker"] for entry in answer["transcriptions"][1::2]} == {"SPEAKER_01"}
    assert [warning["code"] for warning in answer["meta"]["warnings"]] == ["diarization_basic"]


async def test_channels_of_a_stereo_call_are_its_speakers(engine: VllmServer, tmp_path: Path) -> None:
    """The second speaker's turns are moved to channel 0, the first speaker's to channel 1."""
    recording = await decode(CALL, tmp_path, 9000, no_report)
    sides = np.zeros((2, recording.samples), np.int16)
    turns = bundled_call()
    edges = [0.0, *((one.end + other.start) / 2 for one, other in pairwise(turns)), recording.duration]
    for turn, (start, end) in zip(turns, pairwise(edges), strict=True):
        own = slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        sides[int(turn.speaker == turns[0].speaker), own] = recording.clip(Span(start, end))
    file = wav(tmp_path / "stereo.wav", sides)
    answer = await transcribed(engine, file, language="en", speaker_labels=["Caller", "Agent"])
    assert right(answer, ENGLISH) >= len(ENGLISH) - MOST_WRONG
    assert [entry["speaker"] for entry in answer["transcriptions"]] == ["Agent", "Caller"] * 7
    assert answer["meta"]["channels"]["reason"] == "two_parties"


async def test_language_is_identified(engine: VllmServer) -> None:
    answer = await transcribed(engine, TINY / "appel.ogg", num_speakers=2)
    assert answer["language"] == "fr"
    assert right(answer, FRENCH) >= len(FRENCH) - MOST_WRONG


async def test_job_of_the_contract_in_french(engine: VllmServer) -> None:
    """The user's own example: diarized, in French, with summary and sentiment."""
    answer = await transcribed(
        engine, TINY / "appel.ogg", task="transcribe_diarized", language="fr", summary=True, sentiment=True
    )
    assert list(answer)[:6] == ["task", "language", "duration", "transcriptions", "summary", "sentiment"]
    assert right(answer, FRENCH) >= len(FRENCH) - MOST_WRONG
    assert answer["summary"] == f"Résumé: {SUMMARY}"
    assert answer["sentiment"] == SENTIMENT


async def test_words_without_speakers(engine: VllmServer) -> None:
    answer = await transcribed(engine, CALL, task="transcribe", language="en")
    assert "speaker" not in answer["transcriptions"][0]
    assert all(entry["end"] - entry["start"] <= 30 for entry in answer["transcriptions"])
    assert answer["text"]


async def test_language_reaches_the_prompt(engine: VllmServer) -> None:
    """`lang:fr` is a few tokens of the prompt, more than none."""
    counts = [await _prompt_tokens(engine, language) for language in (None, "fr", "en")]
    assert counts[0] < min(counts[1:])


async def _prompt_tokens(engine: VllmServer, language: str | None) -> int:
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("file", as_wav(bytes(32_000)), filename="clip.wav", content_type="audio/wav")
    fields = {
        "model": engine.client.model,
        "stream": "true",
        "stream_include_usage": "true",
        "max_completion_tokens": "2",
    }
    for name, value in (fields | ({"language": language} if language else {})).items():
        form.add_field(name, value)
    url = f"{engine.client.url}/v1/audio/transcriptions"
    async with (
        aiohttp.ClientSession(headers=engine.client._headers) as session,
        session.post(url, data=form) as response,
    ):
        events = [line.removeprefix("data: ") for line in (await response.text()).splitlines() if "usage" in line]
    return int(json.loads(events[-1])["usage"]["prompt_tokens"])


async def test_cancelled_job_lets_go_of_the_engine(engine: VllmServer) -> None:
    options = parse_options({"language": "en", "num_speakers": 2})
    job = asyncio.create_task(process(options, LocalAudio(CALL), services(engine), NoEvents()))
    assert await eventually(lambda: engine.client.in_flight > 0, within_s=60)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert engine.client.in_flight == 0
    await warm_up(engine.client)


async def test_server_that_is_already_there(engine: VllmServer) -> None:
    """By `VLLM_BASE_URL`: used, watched, and left running."""
    key = engine.client._headers["Authorization"].removeprefix("Bearer ")
    deaths = engine.deaths
    settings = load_settings(diarizer="embedded", vllm_base_url=f"{engine.client.url}/v1", vllm_api_key=key)
    async with running_services(settings) as external:
        result = await process(parse_options({"num_speakers": 2}), LocalAudio(CALL), external, NoEvents())
    assert right(result.to_json(), ENGLISH) >= len(ENGLISH) - MOST_WRONG
    assert result.meta.models["transcription"] == "tiny-voxtral"
    assert await engine.client.health() == 200
    assert engine.deaths == deaths
