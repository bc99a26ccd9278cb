"""Questions about a conversation, over a stand-in for vLLM that answers what a test tells it to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_external import watched
from tests.engine.test_server import started
from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from voxtral_serverless.analysis.judgement import Judgement
from voxtral_serverless.analysis.prompts import SENTIMENT_QUESTION, SENTIMENT_SCHEMA, transcript_prompt
from voxtral_serverless.analysis.voxtral import VoxtralAnalyst
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.engine import external
from voxtral_serverless.engine.requests import ATTEMPTS, Requests
from voxtral_serverless.errors import EngineUnavailable, KillsEngine, StageFailed
from voxtral_serverless.transcription.plan import Utterance

CALL = [
    Utterance(Span(0, 2), "AGENT", "Bonjour, que puis-je pour vous ?"),
    Utterance(Span(2, 5), "CLIENT", "Ma table est arrivée cassée."),
]
VERDICT: dict[str, Any] = {
    "sentiment": "négatif",
    "score": 0.8,
    "emotions": ["déception", "colère", "déception"],
    "satisfaction_client": "insatisfait",
}


@asynccontextmanager
async def analyst(manners: Manners) -> AsyncIterator[tuple[Vllm, VoxtralAnalyst]]:
    vllm = Vllm(manners)
    async with running_vllm(vllm), watched(vllm.url) as engine:
        engine._known = True  # a chat alone is asked for here
        yield vllm, VoxtralAnalyst(Requests(engine, 8))


def verdict(**changes: Any) -> Manners:
    return Manners(chat=json.dumps(VERDICT | changes))


def asked(vllm: Vllm) -> list[str]:
    return [body["messages"][0]["content"] for body in vllm.prompts]  # type: ignore[index]


async def test_summary_is_labelled() -> None:
    async with analyst(Manners(chat="\nLa table est cassée.")) as (vllm, voxtral):
        assert await voxtral.summarise(CALL, "fr") == "Résumé: La table est cassée."
        vllm.manners.chat = "Résumé : La table est cassée."
        assert await voxtral.summarise(CALL, "fr") == "Résumé: La table est cassée."
    assert "Summarise the conversation in French" in asked(vllm)[0]
    assert "response_format" not in vllm.prompts[0]


async def test_both_questions_begin_with_the_transcript() -> None:
    async with analyst(verdict()) as (vllm, voxtral):
        await voxtral.summarise(CALL, "fr")
        await voxtral.judge(CALL, "fr")
    assert len(set(asked(vllm))) == 2
    assert all(question.startswith(transcript_prompt(CALL)) for question in asked(vllm))
    assert "CLIENT: Ma table est arrivée cassée." in transcript_prompt(CALL)


async def test_sentiment() -> None:
    async with analyst(verdict()) as (vllm, voxtral):
        assert await voxtral.judge(CALL, "fr") == Judgement("négatif", 0.8, ("déception", "colère"), "insatisfait")
    [body] = vllm.prompts
    assert asked(vllm)[0].endswith(SENTIMENT_QUESTION)
    assert body["temperature"] == 0
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SENTIMENT_SCHEMA, "strict": True},
    }


async def test_sentiment_without_a_customer() -> None:
    async with analyst(verdict(satisfaction_client=None, emotions=[])) as (_, voxtral):
        assert await voxtral.judge(CALL, "fr") == Judgement("négatif", 0.8, (), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": 1.1},
        {"score": -0.1},
        {"score": None},
        {"score": float("nan")},
        {"sentiment": "positive"},
        {"sentiment": None},
        {"emotions": ["ennui"]},
        {"emotions": ["joie"] * 6},
        {"emotions": None},
        {"satisfaction_client": "ravi"},
        {"reason": "Because."},
    ],
)
async def test_what_is_no_verdict(changes: dict[str, Any]) -> None:
    async with analyst(verdict(**changes)) as (_, voxtral):
        with pytest.raises(StageFailed, match="no verdict"):
            await voxtral.judge(CALL, "fr")


@pytest.mark.parametrize("chat", ["", "The customer is angry.", "[]", "null", '{"sentiment": "neutre"}', '{"sentim'])
async def test_what_is_no_json(chat: str) -> None:
    async with analyst(Manners(chat=chat)) as (_, voxtral):
        with pytest.raises(StageFailed, match="no verdict"):
            await voxtral.judge(CALL, "fr")


@pytest.mark.parametrize(
    "manners", [Manners(chat="It begins and", chat_finish="length"), Manners(chat=" \n"), Manners(chat="Résumé :")]
)
async def test_summary_that_is_none(manners: Manners) -> None:
    async with analyst(manners) as (_, voxtral):
        with pytest.raises(StageFailed, match="did not come to an end"):
            await voxtral.summarise(CALL, "fr")


async def test_sentiment_that_is_cut_off() -> None:
    async with analyst(Manners(chat='{"sentiment": "neutre", "score": 0.', chat_finish="length")) as (_, voxtral):
        with pytest.raises(StageFailed, match="no verdict"):
            await voxtral.judge(CALL, "fr")


async def test_refused_questions_are_not_asked_again() -> None:
    async with analyst(Manners(refuses=400, why="maximum context length is 16384 tokens")) as (vllm, voxtral):
        with pytest.raises(StageFailed, match="too long"):
            await voxtral.summarise(CALL, "fr")
        with pytest.raises(StageFailed, match="too long"):
            await voxtral.judge(CALL, "fr")
    assert len(vllm.prompts) == 2


async def test_lost_questions_are_asked_anew() -> None:
    async with analyst(Manners(fails=ATTEMPTS - 1)) as (vllm, voxtral):
        assert await voxtral.summarise(CALL, "fr") == "Résumé: A chat."
    assert len(vllm.prompts) == ATTEMPTS


async def test_questions_are_not_asked_for_ever() -> None:
    async with analyst(Manners(refuses=503)) as (vllm, voxtral):
        with pytest.raises(StageFailed, match="3 times"):
            await voxtral.judge(CALL, "fr")
    assert len(vllm.prompts) == ATTEMPTS == 3


async def test_engine_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "WATCH_S", 0.05)
    async with watched("http://127.0.0.1:9", freeze_s=0.2) as engine:
        engine._known = True
        with pytest.raises(EngineUnavailable):
            await VoxtralAnalyst(Requests(engine, 8)).summarise(CALL, "fr")


async def test_question_that_kills_the_engine_does_not_spend_its_restarts(tmp_path: Path) -> None:
    async with started(tmp_path, Manners(dies_over=0)) as bench:
        voxtral = VoxtralAnalyst(Requests(bench.server, 8))
        with pytest.raises(KillsEngine, match="dies over it"):
            await voxtral.summarise(CALL, "fr")
        assert bench.server.deaths == 2
