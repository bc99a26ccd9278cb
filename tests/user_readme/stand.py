"""Jobs through the edge of the product: JSON and environment go in as their senders write them, the answer comes out as JSON.

The recordings are the bundled call's. The engine is the stand-in for vLLM (`fakes.vllm_server`), which hears nothing and
answers at once; the speakers are told apart by the embedded diarizer, or by the channels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tests.diarization.test_channels import parties, sound
from tests.fakes.origin import Origin, running_origin
from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from tests.media import CALL
from voxtral_serverless.contract import parse_job
from voxtral_serverless.pipeline import process, source_of
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.qualify.media import wav
from voxtral_serverless.services import running_services
from voxtral_serverless.settings import load_settings

NONE: Mapping[str, Any] = MappingProxyType({})
SAYS = "Bonjour, ma table est arrivée cassée."
SUMMARY = "La cliente signale une table cassée."
VERDICT = {
    "sentiment": "positif", "score": 0.75, "emotions": ["satisfaction", "politesse"], "satisfaction_client": "satisfait",
}  # fmt: skip
TONE = {"quote": "ma table est arrivée cassée", "sentiment": "neutre", "score": 0.6, "emotions": ["déception"]}
TWO_TURNS_S = 12.0


@dataclass(frozen=True)
class Done:
    """A job that was done, and what its engine and its origin saw of it."""

    answer: dict[str, Any]
    vllm: Vllm
    origin: Origin

    @property
    def codes(self) -> set[str]:
        """The codes of its warnings."""
        return {warning["code"] for warning in self.answer["meta"]["warnings"]}

    @property
    def speakers(self) -> list[str | None]:
        return [entry["speaker"] for entry in self.answer["transcriptions"]]

    @property
    def languages(self) -> list[str | None]:
        """What the engine was told of the language, by transcription; the first was its warm-up."""
        return [request.get("language") for request in self.vllm.requests[1:]]

    @property
    def questions(self) -> list[str]:
        """What it was asked about the conversation."""
        return [body["messages"][0]["content"] for body in self.vllm.prompts]


@cache
def recording(*, stereo: bool = False, swapped: bool = False, seconds: float = TWO_TURNS_S) -> bytes:
    """A WAV file: so much of the bundled call, in one channel, or the agent left and the customer right, or swapped."""
    sides = parties()[:: -1 if swapped else 1] if stereo else sound(CALL)
    samples = np.stack([side[: round(16_000 * seconds)] for side in sides]).astype(np.int16)
    with TemporaryDirectory() as folder:
        return wav(Path(folder, "call.wav"), samples).read_bytes()


def reply(body: dict[str, Any], verdict: Mapping[str, Any]) -> str:
    """A summary, or the verdict that is asked for by its schema."""
    if "response_format" not in body:
        return SUMMARY
    return json.dumps(TONE if '"quote"' in json.dumps(body["response_format"]) else VERDICT | dict(verdict))


def ask(
    fields: Mapping[str, Any] = NONE,
    environment: Mapping[str, str] = NONE,
    *,
    sent: bytes | None = None,
    manners: Manners | None = None,
    verdict: Mapping[str, Any] = NONE,
    key: str | None = None,
) -> Done:
    """Do the job `{"input": fields}` about `sent`, by its URL unless the fields bring a recording.

    The engine has these `manners` and this `key`; its verdict is `VERDICT`, changed by `verdict`.
    """
    vllm = Vllm(manners or Manners(says=SAYS), key=key, replies=lambda body: reply(body, verdict))
    with pytest.MonkeyPatch.context() as patch:
        return asyncio.run(_ask(dict(fields), environment, sent or recording(), vllm, patch))


async def _ask(
    fields: dict[str, Any], environment: Mapping[str, str], sent: bytes, vllm: Vllm, patch: pytest.MonkeyPatch
) -> Done:
    async with running_origin(sent) as origin, running_vllm(vllm):
        surroundings = {"VLLM_BASE_URL": vllm.url, "DIARIZER": "embedded", "FETCH_ALLOW_PRIVATE": "true"}
        for name, value in (surroundings | dict(environment)).items():
            patch.setenv(name, value)
        if not {"audio_url", "audio_base64"} & fields.keys():
            fields["audio_url"] = f"{origin.url}/ok"
        settings = load_settings()
        async with running_services(settings) as services:
            job = parse_job({"input": fields}, settings.job_defaults)
            result = await process(job, source_of(job), services, NoEvents())
        return Done(json.loads(json.dumps(result.to_json())), vllm, origin)


@cache
def example() -> Done:
    """The job of the README, about our recording."""
    from tests.user_readme.contract import REQUEST

    return ask({name: value for name, value in REQUEST["input"].items() if name != "audio_url"})
