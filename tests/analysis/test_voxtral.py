"""Questions about a conversation, over a stand-in for vLLM that answers what a test tells it to."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_external import watched
from tests.engine.test_server import started
from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from voxtral_serverless.analysis.answers import SENTIMENT_SCHEMA, TONE_SCHEMA
from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.analysis.prompts import ENGLISH, FRENCH
from voxtral_serverless.analysis.voxtral import TRIES, VoxtralAnalyst, VoxtralReading, sentences_for
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.engine import external, requests
from voxtral_serverless.engine.requests import ATTEMPTS, Requests
from voxtral_serverless.errors import AnswerUnusable, EngineUnavailable, KillsEngine, StageFailed
from voxtral_serverless.transcription.plan import Utterance

CALL = [
    Utterance(Span(0, 2), "AGENT", "Bonjour, que puis-je pour vous ?"),
    Utterance(Span(2, 6), "CLIENT", "Ma table est arrivée cassée."),
]
VERDICT: dict[str, Any] = {
    "sentiment": "négatif",
    "score": 0.8,
    "emotions": ["déception", "colère", "déception"],
    "satisfaction_client": "insatisfait",
}
TONE: dict[str, Any] = {"quote": "est arrivée cassée", "sentiment": "neutre", "score": 0.6, "emotions": ["déception"]}
LONG = [
    Utterance(Span(index, index + 1), f"SPEAKER_0{index % 2}", f"Tour {index}, où il est question de {index} tables.")
    for index in range(400)
]
SMALL = 4096
"""A context into which the long conversation goes in several parts."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between two attempts."""
    monkeypatch.setattr(requests, "BACK_OFF_S", 0.01)


@asynccontextmanager
async def analyst(manners: Manners) -> AsyncIterator[tuple[Vllm, VoxtralAnalyst]]:
    vllm = Vllm(manners)
    async with running_vllm(vllm), watched(vllm.url) as engine:
        engine._known = True  # a chat alone is asked for here
        yield vllm, VoxtralAnalyst(Requests(engine, 8))


@asynccontextmanager
async def reading(
    manners: Manners, utterances: list[Utterance] = CALL, language: str = "fr"
) -> AsyncIterator[tuple[Vllm, VoxtralReading]]:
    async with analyst(manners) as (vllm, voxtral):
        yield vllm, await voxtral.read(utterances, language)


def verdict(**changes: Any) -> Manners:
    return Manners(chat_json=json.dumps(VERDICT | changes))


def tone(**changes: Any) -> Manners:
    return Manners(chat_json=json.dumps(TONE | changes))


def asked(vllm: Vllm) -> list[str]:
    return [body["messages"][0]["content"] for body in vllm.prompts]


def points(count: int) -> str:
    """A long summary."""
    return " ".join(f"Il est question du point {number}." for number in range(count))


def lines(prompt: str) -> list[str]:
    """What stands between the marks."""
    [mark] = set(re.findall(r"^\[(\w+)\]$", prompt, re.MULTILINE))
    return prompt.split(f"\n[{mark}]\n")[1].splitlines()


async def test_summary_is_labelled() -> None:
    async with reading(Manners(chat="\nLa table est cassée.")) as (vllm, call):
        assert await call.summarise("fr") == "Résumé: La table est cassée."
        vllm.manners.chat = "Résumé : La table est cassée."
        assert await call.summarise("fr") == "Résumé: La table est cassée."
        assert await call.summarise("de") == "Zusammenfassung: La table est cassée."
    assert "Résume la conversation en français" in asked(vllm)[0]
    assert "Résume la conversation en allemand" in asked(vllm)[2]


async def test_nothing_but_the_question_is_sent() -> None:
    """No tools, no system prompt, no secrets, a bound on the answer."""
    async with reading(verdict()) as (vllm, call):
        await call.summarise("fr")
        await call.judge()
    summary, sentiment = vllm.prompts
    assert summary.keys() == {"model", "messages", "max_tokens", "temperature"}
    assert sentiment.keys() == summary.keys() | {"response_format"}
    assert [message["role"] for body in vllm.prompts for message in body["messages"]] == ["user", "user"]
    assert summary["max_tokens"] == 270
    assert sentiment["max_tokens"] == 300


@pytest.mark.parametrize(("language", "phrasing"), [("fr", FRENCH), ("en", ENGLISH), ("de", ENGLISH)])
async def test_all_questions_begin_with_the_transcript(language: str, phrasing: Any) -> None:
    async with reading(verdict(), CALL, language) as (vllm, call):
        await call.summarise("es")
        await call.judge()
    summary, sentiment = asked(vllm)
    assert sentiment.endswith(phrasing.sentiment)
    assert summary.startswith(sentiment.removesuffix(phrasing.sentiment))
    assert lines(sentiment) == ["AGENT: Bonjour, que puis-je pour vous ?", "CLIENT: Ma table est arrivée cassée."]


async def test_marks_differ_from_job_to_job() -> None:
    async with analyst(Manners()) as (vllm, voxtral):
        for _ in range(2):
            await (await voxtral.read(CALL, "fr")).summarise("fr")
    one, other = asked(vllm)
    assert one != other
    assert lines(one) == lines(other)


async def test_sentiment() -> None:
    async with reading(verdict()) as (vllm, call):
        assert await call.judge() == Judgement("négatif", 0.8, ("déception", "colère"), "insatisfait")
    [body] = vllm.prompts
    assert body["temperature"] == 0
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SENTIMENT_SCHEMA, "strict": True},
    }


async def test_sentiment_without_a_customer() -> None:
    async with reading(verdict(satisfaction_client=None, emotions=[])) as (_, call):
        assert await call.judge() == Judgement("négatif", 0.8, (), None)


async def test_tone_of_a_speaker() -> None:
    async with reading(tone()) as (vllm, call):
        judged = await call.judge_speaker("CLIENT")
    assert judged == SpeakerTone(Judgement("neutre", 0.6, ("déception",)), "est arrivée cassée", judged.span)
    assert 2 < judged.span.start < judged.span.end <= 6
    [body] = vllm.prompts
    assert body["response_format"]["json_schema"]["schema"] == TONE_SCHEMA
    assert "CLIENT" in asked(vllm)[0].rpartition("]")[2]


BAD_VERDICTS: list[dict[str, Any]] = [
    {"score": 1.1},
    {"score": -0.1},
    {"score": None},
    {"score": float("nan")},
    {"score": "0.5"},
    {"sentiment": "positive"},
    {"sentiment": None},
    {"emotions": ["ennui"]},
    {"emotions": ["joie"] * 6},
    {"emotions": None},
    {"satisfaction_client": "ravi"},
    {"reason": "Because."},
]


@pytest.mark.parametrize("changes", BAD_VERDICTS)
async def test_what_is_no_verdict(changes: dict[str, Any]) -> None:
    async with reading(verdict(**changes)) as (vllm, call):
        with pytest.raises(AnswerUnusable, match="the sentiment failed: the model's answer is no verdict, twice"):
            await call.judge()
    assert len(vllm.prompts) == TRIES == 2


@pytest.mark.parametrize("chat", ["", "The customer is angry.", "[]", "null", '{"sentiment": "neutre"}', '{"sentim'])
async def test_what_is_no_json(chat: str) -> None:
    async with reading(Manners(chat=chat)) as (_, call):
        with pytest.raises(AnswerUnusable, match="no verdict"):
            await call.judge()


@pytest.mark.parametrize(("label", "satisfaction"), [("positif", "insatisfait"), ("négatif", "satisfait")])
async def test_label_against_satisfaction(label: str, satisfaction: str) -> None:
    async with reading(verdict(sentiment=label, satisfaction_client=satisfaction)) as (vllm, call):
        with pytest.raises(AnswerUnusable, match="contradicts itself"):
            await call.judge()
    first, second = asked(vllm)
    assert second.startswith(first)
    assert "se contredisaient" in second.removeprefix(first)


@pytest.mark.parametrize("quote", ["est arrivée entière", "que puis-je pour vous", "…", "<script>"])
async def test_quotes_that_are_not_the_speakers_are_rejected(quote: str) -> None:
    async with reading(tone(quote=quote)) as (_, call):
        with pytest.raises(AnswerUnusable, match="the sentiment of CLIENT failed: the model quotes what was not said"):
            await call.judge_speaker("CLIENT")


async def test_second_answer_counts() -> None:
    async with reading(verdict()) as (vllm, call):
        answers = iter([json.dumps(VERDICT | {"satisfaction_client": "satisfait"}), json.dumps(VERDICT)])
        vllm.replies = lambda _: next(answers)
        assert (await call.judge()).satisfaction == "insatisfait"
        texts = iter(["", "La table est cassée."])
        vllm.replies = lambda _: next(texts)
        assert await call.summarise("fr") == "Résumé: La table est cassée."


async def test_nothing_of_a_bad_answer_is_sent_back() -> None:
    async with reading(Manners(chat="canary")) as (vllm, call):
        with pytest.raises(AnswerUnusable) as raised:
            await call.judge()
    assert "canary" not in "".join(asked(vllm)) + str(raised.value)


@pytest.mark.parametrize(
    ("manners", "why"),
    [
        (Manners(chat="It begins and", chat_finish="length"), "did not come to an end"),
        (Manners(chat=" " * 5000, chat_finish="length"), "did not come to an end"),
        (Manners(chat="A loop.", chat_finish="repetition"), "did not come to an end"),
        (Manners(chat="Whole?", chat_finish=None), "did not come to an end"),
        (Manners(chat=" \n\u200b"), "wrote nothing"),
        (Manners(chat="Résumé :"), "wrote nothing"),
    ],
)
async def test_summary_that_is_none(manners: Manners, why: str) -> None:
    async with reading(manners) as (vllm, call):
        with pytest.raises(AnswerUnusable, match=f"the summary failed: .*{why}, twice"):
            await call.summarise("fr")
    assert len(vllm.prompts) == TRIES


async def test_summary_that_repeats_the_question() -> None:
    async with reading(Manners()) as (vllm, call):
        vllm.replies = lambda body: body["messages"][0]["content"]
        with pytest.raises(AnswerUnusable, match="repeated the question"):
            await call.summarise("fr")


@pytest.mark.parametrize(
    ("characters", "sentences"), [(0, 1), (300, 2), (9_000, 6), (50_000, 12), (150_000, 18), (10**7, 20)]
)
def test_length_of_a_summary_follows_that_of_the_conversation(characters: int, sentences: int) -> None:
    assert sentences_for(characters) == sentences


async def test_long_conversation_is_read_in_parts() -> None:
    async with reading(Manners(context=SMALL), LONG) as (vllm, call):
        vllm.replies = lambda body: f"Il y a {len(lines(body['messages'][0]['content']))} lignes."
        assert re.fullmatch(r"Résumé: Il y a \d lignes\.", await call.summarise("fr"))
    *parts, last = asked(vllm)
    said = [
        line
        for prompt in sorted(parts, key=lambda one: int(re.findall(r"Tour (\d+)", one)[0]))
        for line in lines(prompt)
    ]
    assert said == [f"{one.speaker}: {one.text}" for one in LONG]
    assert lines(last) == [f"Il y a {len(lines(prompt))} lignes." for prompt in parts]
    assert "une partie de la transcription" in parts[0]
    assert "les résumés des parties successives" in last
    assert "12 phrases" not in parts[0]


async def test_summaries_are_summarised_as_deep_as_it_takes() -> None:
    async with reading(Manners(context=SMALL), LONG * 4) as (vllm, call):
        vllm.replies = lambda body: points(40) if "Tour" in body["messages"][0]["content"] else None
        assert await call.summarise("fr") == "Résumé: A chat."
    depth = sum("résumés" in prompt for prompt in asked(vllm))
    assert depth > 2


async def test_summaries_that_are_no_shorter_are_given_up() -> None:
    async with reading(Manners(context=SMALL), LONG) as (vllm, call):
        vllm.replies = lambda body: points(400)
        with pytest.raises(StageFailed, match="the summaries of the parts are too long"):
            await call.summarise("fr")


async def test_verdicts_on_parts_are_weighed() -> None:
    async with reading(Manners(context=SMALL), LONG) as (vllm, call):
        vllm.replies = lambda body: json.dumps(
            VERDICT | ({} if "Tour 399," in body["messages"][0]["content"] else {"sentiment": "neutre"})
        )
        judgement = await call.judge()
    assert len(vllm.prompts) > 2
    assert (judgement.label, judgement.satisfaction) == ("neutre", "insatisfait")


async def test_speaker_is_judged_in_the_parts_in_which_they_speak() -> None:
    guest = [Utterance(Span(500, 510), "GUEST", "Ma table est arrivée cassée.")]
    async with reading(tone(), LONG + guest) as (vllm, call):
        assert (await call.judge_speaker("GUEST")).span.start > 500
    assert len(vllm.prompts) == 1
    async with analyst(Manners(context=SMALL, chat_json=tone().chat_json)) as (vllm, voxtral):
        await (await voxtral.read(LONG + guest, "fr")).judge_speaker("GUEST")
    assert len(vllm.prompts) == 1


@pytest.mark.parametrize("ask", ["summarise", "judge"])
async def test_part_that_fails_fails_the_whole(ask: str) -> None:
    async with reading(Manners(context=SMALL, chat_json=verdict().chat_json), LONG) as (vllm, call):
        vllm.replies = lambda body: "" if "Tour 399," in body["messages"][0]["content"] else None
        with pytest.raises(AnswerUnusable):
            await (call.summarise("fr") if ask == "summarise" else call.judge())


async def test_server_that_does_not_count_gets_parts_that_fit() -> None:
    async with reading(Manners(tokenizes=False), LONG * 4) as (vllm, call):
        await call.summarise("fr")
    assert len(vllm.prompts) > 2


async def test_context_that_is_too_small() -> None:
    async with analyst(Manners(context=2048)) as (_, voxtral):
        with pytest.raises(StageFailed, match="context of 2048 tokens is too small"):
            await voxtral.read(CALL, "fr")


async def test_refused_questions_are_not_asked_again() -> None:
    async with reading(Manners(chat_refuses=400, why="maximum context length")) as (vllm, call):
        for work in (call.summarise("fr"), call.judge()):
            with pytest.raises(StageFailed, match="refuses"):
                await work
    assert len(vllm.prompts) == 2


async def test_lost_questions_are_asked_anew() -> None:
    async with reading(Manners()) as (vllm, call):
        vllm.manners.fails = ATTEMPTS - 1
        assert await call.summarise("fr") == "Résumé: A chat."
    assert len(vllm.prompts) == ATTEMPTS


async def test_questions_are_not_asked_for_ever() -> None:
    async with reading(Manners(chat_refuses=503)) as (vllm, call):
        with pytest.raises(StageFailed, match="3 times"):
            await call.judge()
    assert len(vllm.prompts) == ATTEMPTS == 3


async def test_engine_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "WATCH_S", 0.05)
    async with watched("http://127.0.0.1:9", freeze_s=0.2) as engine:
        engine._known, engine.client.ours = True, True
        with pytest.raises(EngineUnavailable):
            await VoxtralAnalyst(Requests(engine, 8)).read(CALL, "fr")


async def test_question_that_kills_the_engine_does_not_spend_its_restarts(tmp_path: Path) -> None:
    async with started(tmp_path, Manners(dies_over=0)) as bench:
        call = await VoxtralAnalyst(Requests(bench.server, 8)).read(CALL, "fr")
        with pytest.raises(KillsEngine, match="dies over it"):
            await call.summarise("fr")
        assert bench.server.deaths == 2
