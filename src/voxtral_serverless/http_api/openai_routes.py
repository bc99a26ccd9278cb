"""OpenAI's API for transcriptions, over the same queue as every job.

Any model name is taken: there is one model. What has no meaning here (`prompt`, `temperature`, `chunking_strategy`,
`include`) is taken and left; speakers known by samples of their voices are refused, since their names would be wrong. The
job is gone with the answer, and cancelled where nobody waits for that any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from voxtral_serverless.contract import parse_options
from voxtral_serverless.errors import EngineUnavailable, InternalError, InvalidJob, JobNotFound, StageFailed
from voxtral_serverless.http_api.answers import Json, failure, refusal, told
from voxtral_serverless.http_api.dependencies import DeskOf
from voxtral_serverless.http_api.desk import JobDesk
from voxtral_serverless.http_api.forms import Form
from voxtral_serverless.http_api.openai_answers import Format, answered, diarized_segment, text_of
from voxtral_serverless.http_api.openai_schema import ANSWERS, BODY, FAULTS, NO_MODEL, Model, Models
from voxtral_serverless.http_api.records import Record
from voxtral_serverless.http_api.runpod_routes import utterance_shown
from voxtral_serverless.http_api.uploads import received_form

PATH = "/v1/audio/transcriptions"
QUIET_S = 15.0
"""A stream that has nothing to say says so, this often: proxies end those that say nothing."""
FINAL = {"x-should-retry": "false"}
"""For OpenAI's clients: the same again would come to the same."""
IGNORED = ("model", "prompt", "temperature", "chunking_strategy", "include", "keywords", "user")
OURS = ("num_speakers", "min_speakers", "max_speakers", "channels")
"""Fields of our own jobs that are taken besides."""
KNOWN = ("response_format", "timestamp_granularities", "stream", "language", "languages", *IGNORED, *OURS)
SWITCHES = {"true": True, "1": True, "false": False, "0": False}
STREAMED = ("json", "text", "diarized_json")
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Has nginx pass events on as they come."""
GONE = "the service is being stopped before the transcription was done; send it again."

router = APIRouter(tags=["OpenAI's API"])


@dataclass(frozen=True)
class Asked:
    """What a request wants, apart from what its job does."""

    response_format: Format
    granularities: set[str]
    streams: bool

    @classmethod
    def of(cls, form: Form) -> Asked:
        """From the fields of a form.

        Raises:
            InvalidJob: naming what is wrong.
        """
        if unknown := sorted(name for name in form.fields if not _is_known(name)):
            raise InvalidJob(_unknown(unknown[0]))
        response_format = _one_of(get_args(Format), "response_format", form.text("response_format") or "json")
        granularities = form.fields.get("timestamp_granularities") or ["segment"]
        for one in granularities:
            _one_of(("segment", "word"), "timestamp_granularities", one)
        streams = SWITCHES[_one_of(tuple(SWITCHES), "stream", (form.text("stream") or "false").lower())]
        if streams and response_format not in STREAMED:
            raise InvalidJob(f"only {', '.join(STREAMED)} are streamed.")
        return cls(cast("Format", response_format), set(granularities), streams)

    @property
    def diarizes(self) -> bool:
        """Whether speakers are told apart."""
        return self.response_format == "diarized_json"

    def job(self, form: Form) -> dict[str, Any]:
        """The fields of the job."""
        fields: dict[str, Any] = {name: _number(text) for name in OURS if (text := form.text(name))}
        languages = form.fields.get("languages", [])
        if language := form.text("language") or (languages[0] if len(languages) == 1 else None):
            fields["language"] = language
        if self.response_format in ("srt", "vtt"):
            fields["formats"] = [self.response_format]
        words = self.response_format == "verbose_json" and "word" in self.granularities
        return fields | {"task": "transcribe_diarized" if self.diarizes else "transcribe", "word_timestamps": words}


@router.post(PATH, responses=ANSWERS, openapi_extra=BODY, response_class=Response)
async def transcribe(request: Request, desk: DeskOf) -> Response:
    """Transcribe a file: the answer is the transcription, in the format that is asked for."""
    await desk.check_open()
    async with received_form(request, desk.uploads, desk.settings.max_audio_bytes) as form:
        asked = Asked.of(form)
        if form.file is None:
            raise InvalidJob("file: the recording is needed.")
        fields = asked.job(form)
        parse_options(fields, desk.settings.job_defaults)
        record = await desk.accept({"input": fields}, form.file, kept=False)
    if asked.streams:
        return _Events(record.id, asked, desk)
    try:
        over = await _unless_gone(request, record.id, desk)
    finally:
        desk.discard(record.id)
    return _answer(over, asked)


@router.get("/v1/models", response_model=Models, responses=FAULTS)
async def models(desk: DeskOf) -> Response:
    """The one model that is here."""
    return Json({"object": "list", "data": [await _model(desk)]})


@router.get("/v1/models/{model:path}", response_model=Model, responses=FAULTS | NO_MODEL)
async def model(model: str, desk: DeskOf) -> Response:
    """The model of that name."""
    found = await _model(desk)
    if model != found["id"]:
        return failure(404, "model_not_found", f"there is one model: {found['id']}.", "/v1/models")
    return Json(found)


async def _model(desk: JobDesk) -> dict[str, Any]:
    settings = desk.settings
    name = Path(settings.voxtral_model).name if Path(settings.voxtral_model).exists() else settings.voxtral_model
    if desk.engine.came_up:
        services = await desk.engine.services()
        name = name if services.engine == "vllm" else services.models["transcription"]
    return {"id": name, "object": "model", "created": 0, "owned_by": "voxtral-serverless"}


async def _unless_gone(request: Request, job_id: str, desk: JobDesk) -> Record:
    """The job when it is over; or as it is when the client goes, or the service ends."""
    waiting = asyncio.create_task(desk.until_over(job_id))
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else await desk.get(job_id)
    finally:
        waiting.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(record: Record, asked: Asked) -> Response:
    found = _output(record)
    if isinstance(found, Response):
        return found
    body = answered(found, asked.response_format, asked.granularities)
    return PlainTextResponse(body) if isinstance(body, str) else Json(body)


def _output(record: Record) -> dict[str, Any] | Response:
    """What came of a job, or the error to answer."""
    if record.output is not None:
        why = _nothing_heard(record.output)
        return failure(500, StageFailed.code, why, PATH, FINAL) if why else record.output
    if not record.is_final:
        return refusal(EngineUnavailable(GONE), PATH)
    return failure(*told(record.error or f"{InternalError.code}: the job was cancelled."), PATH)


def _nothing_heard(output: dict[str, Any]) -> str | None:
    """Why there is no text at all where somebody speaks."""
    turns = output["transcriptions"]
    if not turns or any(turn["text"] is not None for turn in turns):
        return None
    return " ".join(warning["message"] for warning in output["meta"]["warnings"]) or "nothing could be transcribed."


class _Events(StreamingResponse):
    """Server-sent events: what is said, as it is done, and all of it in order at the end. Then the job is gone."""

    def __init__(self, job_id: str, asked: Asked, desk: JobDesk) -> None:
        super().__init__(_events(job_id, asked, desk), media_type="text/event-stream", headers=UNBUFFERED)
        self._job_id, self._desk = job_id, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as long as somebody listens."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._desk.discard(self._job_id)


async def _events(job_id: str, asked: Asked, desk: JobDesk) -> AsyncIterator[str]:
    live, sent, over = desk.live(job_id), 0, False
    while not over:
        over = live.over.is_set() or desk.closing  # before what is left is sent, which takes a while
        live.news.clear()
        for utterance in live.utterances[sent:]:
            sent += 1
            if utterance.text:
                yield _part(sent - 1, utterance_shown(utterance), asked)
        if not over:
            await desk.news(live, QUIET_S)
            if not (live.news.is_set() or desk.closing):
                yield ": still at it\n\n"
    try:
        yield _last(_output(await desk.get(job_id)))
    except JobNotFound as error:  # somebody has deleted it
        yield _last(refusal(error, PATH))


def _part(index: int, turn: dict[str, Any], asked: Asked) -> str:
    """What tells of a turn that is done: its text, and, where speakers are told apart, the turn with its speaker."""
    delta = {"type": "transcript.text.delta", "delta": f"{turn['text']} "}
    if not asked.diarizes:
        return _event(delta)
    segment = diarized_segment(index, turn)
    return _event(delta | {"segment_id": segment["id"]}) + _event(segment)


def _last(found: dict[str, Any] | Response) -> str:
    """All of it, or why there is nothing. Without its usage: OpenAI reckons that in tokens here."""
    if isinstance(found, Response):
        return f"data: {bytes(found.body).decode()}\n\n"
    return _event({"type": "transcript.text.done", "text": text_of(found)})


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _one_of(known: tuple[str, ...], name: str, given: str) -> str:
    """What is given, where it is one of the known.

    Raises:
        InvalidJob: it is not.
    """
    if given not in known:
        raise InvalidJob(f"{name}: one of {', '.join(known)} is needed.")
    return given


def _is_known(name: str) -> bool:
    """Whether a field means something here; what means nothing may also come in parts (`chunking_strategy[type]`)."""
    return name in KNOWN or name.partition("[")[0] in IGNORED


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _unknown(name: str) -> str:
    if name.startswith("known_speaker_"):
        return f"{name}: speakers are not known by their voices here; speaker labels are A, B, …."
    nearest = get_close_matches(name[:60].lower(), KNOWN, n=1, cutoff=0.5)
    return f"unknown field {name[:60]!r}: " + (
        f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(KNOWN)}."
    )
