"""What Voxtral answers about a conversation, trusted in nothing: the schemas that it is held to, and how it is read.

An answer that cannot be used has a fault; who asks may ask once more (`voxtral`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, get_args
from unicodedata import category, normalize

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxtral_serverless.analysis.judgement import MAX_EMOTIONS, Judgement, SpeakerTone
from voxtral_serverless.analysis.quotes import find_quote
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.engine.client import Answer
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.guards import without_loop
from voxtral_serverless.transcription.plan import Utterance

QUOTE_CHARACTERS = 200
SUMMARY_CHARACTERS = 20_000
"""Several times what the longest summary has: one that is longer was never bounded."""
REPLACEMENT = "\ufffd"
LEAST_WORDS = 0.5
"""Prose has more letters, digits and spaces than this."""
Verdict = TypeVar("Verdict", bound=BaseModel)


class Fault(Enum):
    """Why an answer cannot be used, as the caller is told."""

    UNFINISHED = "the model did not come to an end"
    EMPTY = "the model wrote nothing"
    GARBLED = "the model wrote no prose"
    LOOP = "the model went round in circles"
    ECHO = "the model repeated the question"
    MALFORMED = "the model's answer is no verdict"
    CONTRADICTORY = "the model contradicts itself"
    MISQUOTED = "the model quotes what was not said"


class Unusable(Exception):
    """An answer with a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True)
class OutputLanguage:
    """How a language is called in the prompts, and its word in front of a summary."""

    in_english: str
    in_french: str
    summary: str


LANGUAGES = {
    "en": OutputLanguage("English", "anglais", "Summary"),
    "fr": OutputLanguage("French", "français", "Résumé"),
    "es": OutputLanguage("Spanish", "espagnol", "Resumen"),
    "de": OutputLanguage("German", "allemand", "Zusammenfassung"),
    "it": OutputLanguage("Italian", "italien", "Riassunto"),
    "pt": OutputLanguage("Portuguese", "portugais", "Resumo"),
    "nl": OutputLanguage("Dutch", "néerlandais", "Samenvatting"),
    "hi": OutputLanguage("Hindi", "hindi", "सारांश"),
    "ar": OutputLanguage("Arabic", "arabe", "ملخص"),
}
"""Voxtral's languages."""

_LABEL: dict[str, Any] = {"type": "string", "enum": list(get_args(SentimentLabel))}
_SCORE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_EMOTIONS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "enum": list(get_args(Emotion))},
    "maxItems": MAX_EMOTIONS,
}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties, all of them, and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SENTIMENT_SCHEMA = _object(
    sentiment=_LABEL,
    score=_SCORE,
    emotions=_EMOTIONS,
    satisfaction_client={"anyOf": [{"type": "string", "enum": list(get_args(Satisfaction))}, {"type": "null"}]},
)
TONE_SCHEMA = _object(
    quote={"type": "string", "minLength": 1, "maxLength": QUOTE_CHARACTERS},
    sentiment=_LABEL,
    score=_SCORE,
    emotions=_EMOTIONS,
)
"""The quote comes first, so that the verdict follows from it."""


class _Sentiment(BaseModel):
    """The schemas once more, since a server may not hold the model to them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sentiment: SentimentLabel
    score: float = Field(ge=0, le=1)
    emotions: tuple[Emotion, ...] = Field(max_length=MAX_EMOTIONS)
    satisfaction_client: Satisfaction | None


class _Tone(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    quote: str = Field(min_length=1, max_length=QUOTE_CHARACTERS)
    sentiment: SentimentLabel
    score: float = Field(ge=0, le=1)
    emotions: tuple[Emotion, ...] = Field(max_length=MAX_EMOTIONS)


def read_judgement(answer: Answer) -> Judgement:
    """The customer's tone.

    Raises:
        Unusable: it is no verdict, or contradicts itself.
    """
    verdict = _parsed(_Sentiment, answer)
    judgement = Judgement(verdict.sentiment, verdict.score, _each_once(verdict.emotions), verdict.satisfaction_client)
    if judgement.contradictory:
        raise Unusable(Fault.CONTRADICTORY)
    return judgement


def read_tone(answer: Answer, utterances: Sequence[Utterance]) -> SpeakerTone:
    """The tone of the speaker of `utterances`.

    Raises:
        Unusable: it is no verdict, or quotes what is not in `utterances`.
    """
    verdict = _parsed(_Tone, answer)
    found = find_quote(verdict.quote, utterances)
    if found is None:
        raise Unusable(Fault.MISQUOTED)
    return SpeakerTone(Judgement(verdict.sentiment, verdict.score, _each_once(verdict.emotions)), *found)


def read_summary(answer: Answer, mark: str) -> str:
    """A summary without a word in front, on one line.

    Raises:
        Unusable: it is empty, cut off, no prose, goes round in circles, or repeats the `mark` of the prompt.
    """
    written = _finished(answer)
    if len(written) > SUMMARY_CHARACTERS:
        raise Unusable(Fault.UNFINISHED)
    text = plain(without_label(written))
    if fault := _fault(text, mark):
        raise Unusable(fault)
    return text


def _fault(text: str, mark: str) -> Fault | None:
    """What is wrong with a summary, where something is."""
    if not text:
        return Fault.EMPTY
    if mark in text.lower():
        return Fault.ECHO
    if REPLACEMENT in text or _share_of_words(text) < LEAST_WORDS:
        return Fault.GARBLED
    return Fault.LOOP if without_loop(text) != text else None


def labelled(summary: str, language: str) -> str:
    """The summary with its language's word in front; English is the word where a language has none."""
    return f"{LANGUAGES.get(language, LANGUAGES['en']).summary}: {summary}"


def without_label(summary: str) -> str:
    """The summary without a word in front that the model put there itself."""
    words = "|".join(known.summary for known in LANGUAGES.values())
    text = normalize("NFC", "\n".join(map(plain, summary.splitlines()))).strip()
    # Before a colon or on a line of its own, in Markdown or not; else it is the first word of a sentence.
    own = re.match(rf"[\s#*_>]*({words})([\s*_]*[:\uff1a]|[ *_]*\n)[*_]*", text, re.IGNORECASE)
    return text[own.end() if own else 0 :].strip()


def _finished(answer: Answer) -> str:
    """The text of an answer that came to its own end."""
    if answer.finish_reason != "stop":
        raise Unusable(Fault.UNFINISHED)
    return answer.text


def _share_of_words(text: str) -> float:
    """How much of the text is letters, digits and spaces."""
    return sum(category(character)[0] in "LMNZ" for character in text) / (len(text) or 1)


def _parsed(model: type[Verdict], answer: Answer) -> Verdict:
    try:
        return model.model_validate_json(_finished(answer))
    except ValidationError as error:
        raise Unusable(Fault.MALFORMED) from error


def _each_once(emotions: Sequence[Emotion]) -> tuple[Emotion, ...]:
    return tuple(dict.fromkeys(emotions))
