"""The real engine reads conversations: what it writes is held to the schemas, whatever is said to it; what is too long
for its context goes in parts; what is asked about the same transcript shares its beginning in the engine's cache.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import pytest

from tests.analysis.injections import CANARY, INJECTIONS
from tests.engines.conftest import TINY
from tests.engines.test_whole_way import FRENCH, MOST_WRONG, SENTIMENT, SUMMARY, right, transcribed
from voxtral_serverless.analysis.answers import LANGUAGES, SENTIMENT_SCHEMA, TONE_SCHEMA, Fault
from voxtral_serverless.analysis.judgement import MAX_EMOTIONS, Judgement
from voxtral_serverless.analysis.prompts import (
    ENGLISH,
    Phrasing,
    again,
    framed,
    new_mark,
    summary_question,
    tone_question,
)
from voxtral_serverless.analysis.prompts import FRENCH as IN_FRENCH
from voxtral_serverless.analysis.transcript import lines_of
from voxtral_serverless.analysis.voxtral import MOST_SENTENCES, QUESTION_TOKENS, VERDICT_TOKENS, VoxtralAnalyst
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.engine.client import Answer, EngineClient
from voxtral_serverless.engine.requests import Requests
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.errors import AnswerUnusable
from voxtral_serverless.transcription.plan import Utterance

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE = 8
CONTEXT = 16_384
PROMPTS = (
    "Bonjour.",
    "What is the capital of France? Answer in one word.",
    "Write a poem about the sea, in three verses.",
    'Réponds en XML, jamais en JSON : <sentiment valeur="extatique"/>',
    '{"sentiment": "extatique", "score": 12, "emotions": "toutes"}',
    "日本語で答えてください。",
    "x" * 500,
    "1 2 3 4 5 6 7 8 9",
)


@dataclass(frozen=True)
class Chat:
    """What was asked, and what the engine answered."""

    prompt: str
    max_tokens: int
    answer: Answer

    @property
    def mark(self) -> str:
        """What stands around the material."""
        [mark] = set(re.findall(r"^\[(\w+)\]$", self.prompt, re.MULTILINE))
        return str(mark)

    @property
    def lines(self) -> list[str]:
        """What stands between the marks."""
        return self.prompt.split(f"\n[{self.mark}]\n")[1].splitlines()


@pytest.fixture
def chats(engine: VllmServer, monkeypatch: pytest.MonkeyPatch) -> list[Chat]:
    """Every chat with the engine, as it ends."""
    heard: list[Chat] = []
    chat = engine.client.chat

    async def overheard(prompt: str, *, max_tokens: int, **rest: Any) -> Answer:
        answer = await chat(prompt, max_tokens=max_tokens, **rest)
        heard.append(Chat(prompt, max_tokens, answer))
        return answer

    monkeypatch.setattr(engine.client, "chat", overheard)
    return heard


def conversation(texts: Sequence[str]) -> list[Utterance]:
    """Two people, in turn."""
    return [Utterance(Span(3 * turn, 3 * turn + 3), f"SPEAKER_0{turn % 2}", text) for turn, text in enumerate(texts)]


async def cache_counts(client: EngineClient) -> tuple[int, int]:
    """How many tokens of prompts the engine has looked for in its prefix cache so far, and how many it found there."""
    _, metrics = await client._get("/metrics", 10) or (0, "")
    queries, hits = (
        re.search(rf"^vllm:prefix_cache_{name}_total\{{.*\}} (\S+)$", metrics, re.MULTILINE)
        for name in ("queries", "hits")
    )
    assert queries
    assert hits
    return int(float(queries.group(1))), int(float(hits.group(1)))


async def block_tokens(client: EngineClient) -> int:
    """Tokens that the prefix cache keeps or forgets together."""
    _, metrics = await client._get("/metrics", 10) or (0, "")
    return int(re.findall(r'[{,]block_size="(\d+)"', metrics)[0])


async def test_job_with_every_question(engine: VllmServer) -> None:
    """The tiny model's quotes make no sense: nobody's tone is told, and nothing else suffers from it."""
    answer = await transcribed(
        engine, TINY / "appel.ogg", language="fr", summary=True, sentiment=True, sentiment_by_speaker=True
    )
    assert right(answer, FRENCH) >= len(FRENCH) - MOST_WRONG
    assert answer["summary"] == f"Résumé: {SUMMARY}"
    assert answer["sentiment"] == SENTIMENT
    assert answer["sentiment_by_speaker"] is None
    unusable = [one["message"] for one in answer["meta"]["warnings"] if one["code"] == "answer_unusable"]
    assert unusable
    assert all("the sentiment of SPEAKER_0" in message for message in unusable)


def follows(value: Any, schema: dict[str, Any]) -> bool:
    """Whether `value` follows a schema of ours, to the order of its keys."""
    properties: dict[str, Any] = schema.get("properties", {})
    match schema.get("type"):
        case None:
            fits = any(follows(value, one) for one in schema["anyOf"])
        case "object":
            fits = list(value) == list(properties) and all(follows(value[key], properties[key]) for key in properties)
        case "array":
            fits = len(value) <= schema["maxItems"] and all(follows(item, schema["items"]) for item in value)
        case "number":
            fits = type(value) in (int, float) and schema["minimum"] <= value <= schema["maximum"]
        case "string" if "enum" in schema:
            fits = value in schema["enum"]
        case "string":
            fits = isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
        case "null":
            fits = value is None
        case kind:
            raise AssertionError(kind)
    return fits


async def test_check_of_schemas_finds_what_breaks_them() -> None:
    right_one = SENTIMENT | {"satisfaction_client": None}
    assert follows(right_one, SENTIMENT_SCHEMA)
    wrong: tuple[dict[str, Any], ...] = (
        {"sentiment": "extatique"}, {"score": 1.5}, {"score": "1"}, {"emotions": ["politesse"] * 6},
        {"emotions": ["amour"]}, {"satisfaction_client": "comblé"}, {"more": 1},
    )  # fmt: skip
    assert not any(follows(right_one | change, SENTIMENT_SCHEMA) for change in wrong)
    assert not follows(dict(reversed(right_one.items())), SENTIMENT_SCHEMA)
    tone = {"quote": "x" * 200} | {key: right_one[key] for key in ("sentiment", "score", "emotions")}
    assert follows(tone, TONE_SCHEMA)
    assert not any(follows(tone | {"quote": quote}, TONE_SCHEMA) for quote in ("", "x" * 201))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("schema", [SENTIMENT_SCHEMA, TONE_SCHEMA], ids=["sentiment", "tone"])
async def test_under_a_schema_comes_one_compact_object_that_follows_it(
    engine: VllmServer, schema: dict[str, Any], temperature: float
) -> None:
    """But for a control character in a string, which the engine's grammar lets through: such an answer is malformed."""
    ask = partial(engine.client.chat, max_tokens=VERDICT_TOKENS, temperature=temperature, schema=schema)
    for answer in await asyncio.gather(*map(ask, PROMPTS)):
        assert answer.finish_reason == "stop"
        assert follows(json.loads(answer.text, strict=False), schema)
        assert not re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", answer.text))


async def test_without_a_schema_comes_prose(engine: VllmServer) -> None:
    ask = partial(engine.client.chat, max_tokens=100, temperature=0)
    answers = [answer.text for answer in await asyncio.gather(*map(ask, PROMPTS))]
    assert answers[0] == SUMMARY
    assert all(text and not text.startswith("{") for text in answers)


def within_contract(judgement: Judgement) -> bool:
    return (
        judgement.label in get_args(SentimentLabel)
        and 0 <= judgement.score <= 1
        and set(judgement.emotions) <= set(get_args(Emotion))
        and len(judgement.emotions) <= MAX_EMOTIONS
        and judgement.satisfaction in (*get_args(Satisfaction), None)
        and not judgement.contradictory
    )


async def judged_and_summarised(requests: Requests, language: str, text: str) -> tuple[Any, Any]:
    """What comes of a call in which somebody says `text`, or why nothing does."""
    reading = await VoxtralAnalyst(requests).read(conversation([*FRENCH[:2], text, FRENCH[2]]), language)
    return await asyncio.gather(reading.judge(), reading.summarise(language), return_exceptions=True)


async def test_nothing_said_in_a_call_takes_over(engine: VllmServer, chats: list[Chat]) -> None:
    requests = Requests(engine, AT_ONCE)
    outcomes = await asyncio.gather(*(judged_and_summarised(requests, *injection) for injection in INJECTIONS))
    assert len(outcomes) == 50
    for judgement, summary in outcomes:
        assert isinstance(judgement, AnswerUnusable) or within_contract(judgement)
        assert isinstance(summary, AnswerUnusable | str)
    assert sum(isinstance(judgement, Judgement) for judgement, _ in outcomes) > len(outcomes) / 2
    assert len(chats) >= 2 * len(outcomes)
    assert all(len(chat.lines) == 4 for chat in chats)
    key = engine.client._headers["Authorization"].removeprefix("Bearer ")
    assert not [chat for chat in chats for secret in (key, chat.mark, CANARY) if secret in chat.answer.text]


@pytest.fixture
def long_call() -> list[Utterance]:
    """About 37,000 tokens that even the tiny model can summarise, however many it gets of them at once."""
    return conversation([f"{number}. {SUMMARY}" for number in range(740)])


async def test_conversation_longer_than_the_context_is_read_whole_in_parts(
    engine: VllmServer, chats: list[Chat], long_call: list[Utterance]
) -> None:
    everything = lines_of(long_call)
    size = await engine.client.size(framed(IN_FRENCH, everything, new_mark(everything), "transcript"))
    assert size.tokens > 35_000
    assert size.context == CONTEXT
    reading = await VoxtralAnalyst(Requests(engine, AT_ONCE)).read(long_call, "fr")

    assert within_contract(await reading.judge())
    parts = [chat.lines for chat in chats]
    assert len(parts) == 3
    assert sorted(line for part in parts for line in part) == sorted(map(str, everything))

    summary = await reading.summarise("fr")
    assert summary.startswith("Résumé: ")
    assert summary.count("Résumé") == 1
    [merging] = {chat.prompt for chat in chats if IN_FRENCH.material["summaries"] in chat.prompt}
    assert len(merging.split(f"\n[{chats[0].mark}]\n")[1].splitlines()) == len(parts)

    for chat in chats:
        assert (await engine.client.size(chat.prompt)).tokens + chat.max_tokens <= CONTEXT


def questions(words: Phrasing) -> list[str]:
    """Every question in the longest form that it takes."""
    summaries = [
        summary_question(words, language, MOST_SENTENCES, excerpt=excerpt)
        for language in (*LANGUAGES, "ja")
        for excerpt in (False, True)
    ]
    return [
        *summaries,
        words.sentiment,
        tone_question(words, "Maître Jean-Éloi Wojciechowski, à l'accueil, " * 2 + "x" * 12),
    ]


@pytest.mark.parametrize("words", [ENGLISH, IN_FRENCH], ids=["English", "French"])
async def test_question_has_the_room_that_is_kept_for_it(engine: VllmServer, words: Phrasing) -> None:
    requests = Requests(engine, AT_ONCE)
    asked = [question + again(words, fault) for question in questions(words) for fault in Fault]
    sizes = await asyncio.gather(*(requests.answer(partial(EngineClient.size, prompt=text)) for text in asked))
    assert max(size.tokens for size in sizes) < QUESTION_TOKENS


async def test_questions_about_a_transcript_share_its_prefix(engine: VllmServer, chats: list[Chat]) -> None:
    """Even when they are asked at the same moment."""
    reading = await VoxtralAnalyst(Requests(engine, AT_ONCE)).read(conversation(FRENCH * 5), "fr")
    before = await cache_counts(engine.client)
    await asyncio.gather(reading.summarise("fr"), reading.judge())
    queries, hits = (after - count for after, count in zip(await cache_counts(engine.client), before, strict=True))
    sizes = [(await engine.client.size(chat.prompt)).tokens for chat in chats]
    assert len(sizes) == 2
    assert queries == sum(sizes)
    block = await block_tokens(engine.client)
    transcript = (await engine.client.size("\n".join(chats[0].lines))).tokens
    assert hits >= 0.9 * (transcript // block) * block


async def test_jobs_share_nothing_in_the_cache(engine: VllmServer, chats: list[Chat]) -> None:
    """The mark before the transcript is another: how quickly it answers tells nobody what others have said."""
    analyst = VoxtralAnalyst(Requests(engine, AT_ONCE))
    for job in range(2):
        reading = await analyst.read(conversation(FRENCH * 5), "fr")
        before = await cache_counts(engine.client)
        await reading.judge()
        after = await cache_counts(engine.client)
        assert after[0] > before[0]
        assert after[1] == before[1], job
    assert chats[0].lines == chats[1].lines
