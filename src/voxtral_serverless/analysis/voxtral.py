"""Voxtral on vLLM reads a conversation: a summary in prose, a sentiment that follows a JSON schema.

One question each over the whole transcript. Leaves out: a transcript longer than the model's context, which fails
with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxtral_serverless.analysis.judgement import Judgement
from voxtral_serverless.analysis.prompts import (
    SENTIMENT_QUESTION,
    SENTIMENT_SCHEMA,
    labelled,
    summary_question,
    transcript_prompt,
)
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.engine.client import Answer, RequestRefused
from voxtral_serverless.engine.requests import Requests
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.transcription.plan import Utterance

SUMMARY_TOKENS, SENTIMENT_TOKENS = 600, 200
SUMMARY_TEMPERATURE = 0.2
"""As Voxtral's model card has it for chat."""


class _Verdict(BaseModel):
    """The model's answer, not trusted to follow the schema."""

    model_config = ConfigDict(extra="forbid")

    sentiment: SentimentLabel
    score: float = Field(ge=0, le=1)
    emotions: tuple[Emotion, ...] = Field(max_length=5)
    satisfaction_client: Satisfaction | None


class VoxtralAnalyst:
    """Reads conversations with the Voxtral behind `requests`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def summarise(self, utterances: Sequence[Utterance], language: str) -> str:
        """A summary in `language`, its word in front.

        Raises:
            KillsEngine, StageFailed: the engine does not answer, or not with a whole text.
            EngineUnavailable: there is no engine any more.
        """
        prompt = transcript_prompt(utterances) + summary_question(language)
        answer = await self._ask(prompt, max_tokens=SUMMARY_TOKENS, temperature=SUMMARY_TEMPERATURE)
        summary = labelled(answer.text, language)
        if answer.finish_reason == "length" or not summary:
            raise StageFailed("the summary failed: the model wrote nothing, or did not come to an end.")
        return summary

    async def judge(self, utterances: Sequence[Utterance], language: str) -> Judgement:  # noqa: ARG002
        """The customer's sentiment. The model reads the language off the transcript.

        Raises:
            KillsEngine, StageFailed: the engine does not answer, or not with a verdict.
            EngineUnavailable: there is no engine any more.
        """
        prompt = transcript_prompt(utterances) + SENTIMENT_QUESTION
        answer = await self._ask(prompt, max_tokens=SENTIMENT_TOKENS, temperature=0.0, schema=SENTIMENT_SCHEMA)
        try:
            verdict = _Verdict.model_validate_json(answer.text)
        except ValidationError as error:
            raise StageFailed("the sentiment failed: the model's answer is no verdict.") from error
        emotions = tuple(dict.fromkeys(verdict.emotions))
        return Judgement(verdict.sentiment, verdict.score, emotions, verdict.satisfaction_client)

    async def _ask(
        self, prompt: str, *, max_tokens: int, temperature: float, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        try:
            return await self._requests.answer(
                lambda client: client.chat(prompt, max_tokens=max_tokens, temperature=temperature, schema=schema)
            )
        except RequestRefused as error:
            raise StageFailed("the engine refuses the question: the transcript may be too long for it.") from error
