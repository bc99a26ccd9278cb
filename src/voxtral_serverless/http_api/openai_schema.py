"""OpenAI's API for transcriptions as the OpenAPI document tells of it: what comes in a form, and every answer.

A form is not read by these (`openai_routes` does that, as it comes), and an answer not made by them
(`openai_answers`); the tests hold both against them.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel

from voxtral_serverless.contract import Channels
from voxtral_serverless.http_api.openai_answers import Format


class OpenAIFault(BaseModel):
    """What is wrong, as OpenAI's clients read it."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class OpenAIFaultAnswer(BaseModel):
    """An error."""

    error: OpenAIFault


class Model(BaseModel):
    """A model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(BaseModel):
    """All models: one."""

    object: Literal["list"]
    data: list[Model]


class Usage(BaseModel):
    """What a transcription is reckoned by: the recording's length."""

    type: Literal["duration"]
    seconds: float


class TranscriptionText(BaseModel):
    """`json`."""

    text: str
    usage: Usage


class Word(BaseModel):
    """A word, and when it is spoken, in seconds."""

    word: str
    start: float
    end: float


class Segment(BaseModel):
    """A turn as Whisper has them. What the engine does not tell is null."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: None
    compression_ratio: float
    no_speech_prob: None


class VerboseTranscription(BaseModel):
    """`verbose_json`, with the `timestamp_granularities` that were asked for."""

    task: Literal["transcribe"]
    language: str
    duration: float
    text: str
    usage: Usage
    segments: list[Segment] | None = None
    words: list[Word] | None = None


class DiarizedSegment(BaseModel):
    """A turn, with its speaker: `A`, `B`, …."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str


class DiarizedTranscription(BaseModel):
    """`diarized_json`."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: Usage


AnyTranscription = DiarizedTranscription | VerboseTranscription | TranscriptionText
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": OpenAIFaultAnswer, "description": what}
    for status, what in {
        400: "The request, or its recording, is not valid.", 401: "The key is missing, or wrong.", 403: "Refused.",
        413: "Too large.", 429: "Too many jobs wait.", 500: "It failed.", 503: "It cannot be done now.",
    }.items()
}  # fmt: skip
NO_MODEL: dict[int | str, dict[str, Any]] = {
    404: {"model": OpenAIFaultAnswer, "description": "There is no such model."}
}
ANSWERS: dict[int | str, dict[str, Any]] = FAULTS | {
    200: {
        "model": AnyTranscription,
        "description": "The transcription: an object, a text, subtitles, or events, as asked for.",
        "content": {"text/plain": {"schema": {"type": "string"}}, "text/event-stream": {}},
    }
}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_LEFT = {"description": "Has no meaning here."}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": {"description": "Any: there is one."},
        "language": {"type": "string", "description": "Spoken, ISO 639-1; detected where absent."},
        "response_format": {"type": "string", "enum": list(get_args(Format)), "default": "json"},
        "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["segment", "word"]}},
        "stream": {"type": "boolean", "default": False},
        "num_speakers": _COUNT, "min_speakers": _COUNT, "max_speakers": _COUNT,
        "channels": {"type": "string", "enum": list(get_args(Channels))},
        "prompt": _LEFT, "temperature": _LEFT,
    },
}  # fmt: skip
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}
