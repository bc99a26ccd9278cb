"""Voxtral on vLLM reads a conversation: a summary in prose, verdicts on tone that follow a JSON schema.

Promises: what does not fit into the model's context, counted by the server's own tokenizer, is read in parts, side by
side, whose summaries are summarised (and theirs, as deep as it takes) and whose verdicts are weighed; an answer that
cannot be used is asked for once more, then given up. No part that failed is passed over in silence: the whole then
fails. Leaves out: how often a lost request is repeated (`engine/requests`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from voxtral_serverless.analysis.answers import (
    SENTIMENT_SCHEMA,
    TONE_SCHEMA,
    Unusable,
    labelled,
    read_judgement,
    read_summary,
    read_tone,
)
from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone, combined, combined_tone
from voxtral_serverless.analysis.prompts import (
    Material,
    Phrasing,
    again,
    framed,
    new_mark,
    phrasing_for,
    summary_question,
    tone_question,
)
from voxtral_serverless.analysis.transcript import Line, Part, characters, lines_of, parts_of
from voxtral_serverless.concurrency import together
from voxtral_serverless.engine.client import Answer, EngineClient, RequestRefused
from voxtral_serverless.engine.requests import Requests
from voxtral_serverless.errors import AnswerUnusable, StageFailed
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.plan import Utterance

TRIES = 2
"""An answer that cannot be used is asked for once more."""
QUESTION_TOKENS = 900
"""More than a question has, with what is added to it the second time, even in the small vocabulary of the tests."""
SENTENCE_TOKENS, MOST_SENTENCES = 90, 20
"""Tokens for each sentence of a summary: a long French one has 70."""
VERDICT_TOKENS = 300
"""More than a verdict with the longest quote and five emotions."""
ROOM_BESIDE = QUESTION_TOKENS + SENTENCE_TOKENS * (MOST_SENTENCES + 2)
"""Of the context, what is not for the transcript: the longest question, and the longest answer."""
LEAST_ROOM = 512
SUMMARY_TEMPERATURE = 0.2
"""As Voxtral's model card has it for chat."""
Value = TypeVar("Value")


class VoxtralAnalyst:
    """Reads conversations with the Voxtral behind `requests`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> VoxtralReading:
        """What can be asked about `utterances`, the whole of a conversation in `language` or an excerpt of it.

        Raises:
            KillsEngine, StageFailed, EngineUnavailable: the engine cannot be asked, or has hardly any context.
        """
        lines = lines_of(utterances)
        desk = _Desk(self._requests, phrasing_for(language), new_mark(lines))
        parts = await parts_of(lines, desk.filling)
        return VoxtralReading(desk, tuple(utterances), parts, "excerpt" if excerpt or len(parts) > 1 else "transcript")


@dataclass(frozen=True)
class VoxtralReading:
    """A conversation that can be asked about, in parts that fit into the context; each is asked about at once."""

    _desk: _Desk
    _utterances: tuple[Utterance, ...]
    _parts: Sequence[Part]
    _material: Material

    async def summarise(self, language: str) -> str:
        """A summary in `language`, its word in front, of a length that follows that of the conversation.

        Raises:
            AnswerUnusable: the model writes none.
            KillsEngine, StageFailed, EngineUnavailable: the engine does not answer, or only at great length.
        """
        parts, material = self._parts, self._material
        while len(parts) > 1:
            questions = [self._summary(language, part, excerpt=True) for part in parts]
            summaries = await self._asked(parts, questions, material)
            fewer = await parts_of(tuple(Line(None, summary) for summary in summaries), self._desk.filling)
            if len(fewer) >= len(parts):
                raise StageFailed(
                    "the summary failed: the summaries of the parts are too long for the engine's context."
                )
            parts, material = fewer, "summaries"
        whole = [line for part in self._parts for line in part]
        [summary] = await self._asked(parts, [self._summary(language, whole)], material)
        return labelled(summary, language)

    async def judge(self) -> Judgement:
        """The customer's sentiment.

        Raises:
            AnswerUnusable: the model gives no verdict that holds.
            KillsEngine, StageFailed, EngineUnavailable: the engine does not answer.
        """
        question = Question(
            "the sentiment", self._desk.words.sentiment, VERDICT_TOKENS, read_judgement, schema=SENTIMENT_SCHEMA
        )
        judgements = await self._asked(self._parts, [question] * len(self._parts), self._material)
        return combined(judgements, [characters(part) for part in self._parts])

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        """The tone of `speaker`, who says something here.

        Raises:
            AnswerUnusable: the model gives no verdict that holds, or none with words that are there.
            KillsEngine, StageFailed, EngineUnavailable: the engine does not answer.
        """
        own = [utterance for utterance in self._utterances if utterance.speaker == speaker]
        name = plain(speaker)
        theirs = [tuple(line for line in part if line.speaker == name) for part in self._parts]
        parts = [part for part, lines in zip(self._parts, theirs, strict=True) if lines]
        question = Question(
            f"the sentiment of {name}",
            tone_question(self._desk.words, name),
            VERDICT_TOKENS,
            lambda answer: read_tone(answer, own),
            schema=TONE_SCHEMA,
        )
        tones = await self._asked(parts, [question] * len(parts), self._material)
        return combined_tone(tones, [characters(lines) for lines in theirs if lines])

    def _summary(self, language: str, about: Sequence[Line], *, excerpt: bool = False) -> Question[str]:
        """Asks for a summary of the length that `about` deserves."""
        sentences = sentences_for(characters(about))
        return Question(
            "the summary",
            summary_question(self._desk.words, language, sentences, excerpt=excerpt),
            SENTENCE_TOKENS * (sentences + 2),
            lambda answer: read_summary(answer, self._desk.mark),
            temperature=SUMMARY_TEMPERATURE,
        )

    async def _asked(
        self, parts: Sequence[Part], questions: Sequence[Question[Value]], material: Material
    ) -> list[Value]:
        """The answers about the parts, one question each, in order."""
        async with together() as tasks:
            asked = [
                tasks.create_task(self._desk.ask(part, material, question))
                for part, question in zip(parts, questions, strict=True)
            ]
        return [task.result() for task in asked]


def sentences_for(length: int) -> int:
    """How many sentences a summary of so many characters may have: 2 for half a minute, 6 for ten minutes, 18 for
    two hours and a half.
    """
    return min(MOST_SENTENCES, max(1, round(2 * math.pow(length / 600, 0.4))))


@dataclass(frozen=True)
class Question(Generic[Value]):
    """What is asked about a part, and how the answer is read.

    Attributes:
        what: What fails where no answer can be used.
        read: The answer's value; raises Unusable.
    """

    what: str
    text: str
    max_tokens: int
    read: Callable[[Answer], Value]
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Desk:
    """Where one reading's questions are asked: in one language, with one mark around what they are about."""

    requests: Requests
    words: Phrasing
    mark: str

    async def filling(self, part: Part) -> float:
        """How much of the context's room for a transcript the part takes, counted by the server's own tokenizer.

        Raises:
            StageFailed: the context has hardly any room.
        """
        prompt = framed(self.words, part, self.mark, "transcript")
        size = await self._answered(lambda client: client.size(prompt))
        room = size.context - ROOM_BESIDE
        if room < LEAST_ROOM:
            raise StageFailed(f"the engine's context of {size.context} tokens is too small to read a conversation in.")
        return size.tokens / room

    async def ask(self, part: Part, material: Material, question: Question[Value]) -> Value:
        """The answer's value; asked for once more where it has none.

        Raises:
            AnswerUnusable: it has none again.
            KillsEngine, StageFailed, EngineUnavailable: the engine does not answer.
        """
        prompt = framed(self.words, part, self.mark, material) + question.text
        fault = None
        for _ in range(TRIES):
            asked = prompt + again(self.words, fault) if fault else prompt
            answer = await self._answered(partial(_chat, question, asked))
            try:
                return question.read(answer)
            except Unusable as error:
                fault = error.fault
        raise AnswerUnusable(f"{question.what} failed: {fault and fault.value}, twice.")

    async def _answered(self, request: Callable[[EngineClient], Awaitable[Value]]) -> Value:
        try:
            return await self.requests.answer(request)
        except RequestRefused as error:
            raise StageFailed("the engine refuses a question about the transcript.") from error


async def _chat(question: Question[Any], prompt: str, client: EngineClient) -> Answer:
    return await client.chat(
        prompt, max_tokens=question.max_tokens, temperature=question.temperature, schema=question.schema
    )
