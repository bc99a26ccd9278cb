"""OpenAI's own client against the running service: every format, streaming, refusals, and nothing kept."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import pytest_asyncio
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
)
from pydantic import ValidationError

from tests.http_api.service import DONE_S, Service, clip, running_service
from tests.media import CALL
from tests.reference import bundled_call, word_error_rate
from tests.runpod_worker.harness import as_wav
from tests.test_child import eventually
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Span

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIP_S, CALL_S = 6.3, 12.0
"""One speaker, and both."""
MODEL = "voxtral"
WER = 0.5
"""What the embedded engine, which is no Voxtral, gets wrong at most of the clip."""
CUE = re.compile(r"WEBVTT|\d+$|[\d:,.]+ --> ")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service that does one job at a time, and is ready."""
    async with running_service(tmp_path_factory.mktemp("service"), {"MAX_CONCURRENCY": "1"}) as running:
        await ping(running, 200)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first turn of the bundled call."""
    return await clip(tmp_path_factory.mktemp("clip"), CLIP_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Its first two turns."""
    return await clip(tmp_path_factory.mktemp("clip"), CALL_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client of it."""
    async with client_of(service) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(client: openai.AsyncOpenAI, speech: bytes) -> Transcription:
    """The transcription as `json`."""
    return await client.audio.transcriptions.create(file=("call.wav", speech), model=MODEL)


async def ping(service: Service, status: int) -> None:
    """Wait until the service answers a ping so."""
    async with asyncio.timeout(DONE_S):
        while (await service.client.get("/ping")).status_code != status:  # noqa: ASYNC110 — in another process
            await asyncio.sleep(0.05)


def client_of(service: Service, key: str = "anything") -> openai.AsyncOpenAI:
    """OpenAI's client, which asks once."""
    return openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0, timeout=DONE_S)


def kept(service: Service) -> list[Any]:
    """What is still there of any job: rows and files."""
    return [*rows(service, "id"), *service.uploads()]


def rows(service: Service, column: str) -> list[Any]:
    """A column of the jobs that are in the store."""
    with closing(sqlite3.connect(f"file:{service.folder / 'jobs.sqlite3'}?mode=ro", uri=True)) as store:
        return store.execute(f"SELECT {column} FROM jobs").fetchall()


async def nothing_kept(service: Service) -> bool:
    """Whether soon nothing is there of any job."""
    return await eventually(lambda: not kept(service), 10)


def spoken(until: float) -> str:
    """What the reference has said by then."""
    return " ".join(turn.text for turn in bundled_call() if turn.end <= until)


async def test_the_text_is_that_of_the_call(service: Service, plain: Transcription) -> None:
    assert Transcription.model_validate(plain.to_dict()) == plain
    assert word_error_rate([spoken(CLIP_S)], [plain.text]) < WER
    assert plain.usage is not None
    assert plain.usage.type == "duration"
    assert plain.usage.seconds == pytest.approx(CLIP_S, abs=0.1)
    assert await nothing_kept(service)


async def test_text_srt_and_vtt_are_plain_texts(
    service: Service, client: openai.AsyncOpenAI, speech: bytes, plain: Transcription
) -> None:
    create, file = client.audio.transcriptions.create, ("call.wav", speech)
    assert await create(file=file, model=MODEL, response_format="text") == f"{plain.text}\n"
    srt = await create(file=file, model=MODEL, response_format="srt")
    assert srt.startswith("1\n00:00:0")
    assert " --> " in srt
    vtt = await create(file=file, model=MODEL, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n")
    for subtitles in (srt, vtt):
        lines = [line for line in subtitles.splitlines() if line and not CUE.match(line)]
        assert " ".join(lines) == plain.text
    assert await nothing_kept(service)


async def test_verbose_json_has_segments_and_words(
    client: openai.AsyncOpenAI, speech: bytes, plain: Transcription
) -> None:
    answer: TranscriptionVerbose = await client.audio.transcriptions.create(
        file=("call.wav", speech), model=MODEL, response_format="verbose_json",
        timestamp_granularities=["word", "segment"], language="en",
    )  # fmt: skip
    assert answer.text == plain.text
    assert answer.language == "en"
    assert answer.duration == pytest.approx(CLIP_S, abs=0.1)
    assert answer.segments
    assert answer.words
    assert " ".join(segment.text for segment in answer.segments) == answer.text
    assert " ".join(word.word for word in answer.words) == answer.text
    starts = [word.start for word in answer.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start <= word.end <= CLIP_S + 0.1 for word in answer.words)
    with pytest.raises(ValidationError) as caught:
        TranscriptionVerbose.model_validate(answer.to_dict())
    untold = {(error["loc"][-1], error["input"]) for error in caught.value.errors()}
    assert untold == {("avg_logprob", None), ("no_speech_prob", None)}


async def test_diarized_json_has_as_many_speakers_as_are_asked_for(client: openai.AsyncOpenAI, both: bytes) -> None:
    answer = await client.audio.transcriptions.create(
        file=("call.wav", both), model=MODEL, response_format="diarized_json",
        chunking_strategy={"type": "server_vad", "threshold": 0.5}, extra_body={"num_speakers": 1},
    )  # fmt: skip
    assert TranscriptionDiarized.model_validate(answer.to_dict()) == answer
    assert {segment.speaker for segment in answer.segments} == {"A"}
    assert " ".join(segment.text for segment in answer.segments) == answer.text


async def test_streaming_ends_with_the_whole_text(
    service: Service, client: openai.AsyncOpenAI, speech: bytes, plain: Transcription
) -> None:
    stream = await client.audio.transcriptions.create(file=("call.wav", speech), model=MODEL, stream=True)
    events = [event async for event in stream]
    *deltas, done = events
    assert deltas
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert TranscriptionTextDoneEvent.model_validate(done.to_dict()) == done
    assert done.text == plain.text
    said = "".join(event.delta for event in deltas if isinstance(event, TranscriptionTextDeltaEvent))
    assert sorted(said.split()) == sorted(plain.text.split())
    assert await nothing_kept(service)


async def test_streaming_tells_who_speaks(client: openai.AsyncOpenAI, both: bytes) -> None:
    stream = await client.audio.transcriptions.create(
        file=("call.wav", both), model=MODEL, response_format="diarized_json", stream=True
    )
    events = [event async for event in stream]
    segments = [event for event in events if isinstance(event, TranscriptionTextSegmentEvent)]
    deltas = [event for event in events if isinstance(event, TranscriptionTextDeltaEvent)]
    assert sorted({segment.speaker for segment in segments}) == ["A", "B"]
    assert [(delta.segment_id, delta.delta.strip()) for delta in deltas] == [(one.id, one.text) for one in segments]
    for event in events:
        assert type(event).model_validate(event.to_dict()) == event
    done = events[-1]
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert sorted(done.text.split()) == sorted(" ".join(segment.text for segment in segments).split())


async def test_the_client_that_waits_in_its_thread(service: Service, speech: bytes, plain: Transcription) -> None:
    def ask() -> tuple[str, list[str]]:
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="anything", max_retries=0) as client:
            answer = client.audio.transcriptions.create(file=("call.wav", speech), model=MODEL)
            return answer.text, [model.id for model in client.models.list()]

    text, models = await asyncio.to_thread(ask)
    assert text == plain.text
    assert len(models) == 1


async def test_models(client: openai.AsyncOpenAI) -> None:
    (only,) = [model async for model in client.models.list()]
    assert only.id.startswith("pocketsphinx ")
    assert await client.models.retrieve(only.id) == only
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("whisper-1")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stream": "perhaps"}, "stream: one of true, 1, false, 0 is needed."),
        ({"num_speaker": 2}, "unknown field 'num_speaker': did you mean 'num_speakers'?"),
        ({"zebra": 1}, "unknown field 'zebra': known are "),
        ({"response_format": "xml"}, "response_format: one of json, "),
        ({"timestamp_granularities": ["syllable"]}, "timestamp_granularities: one of segment, word is needed."),
        ({"known_speaker_names": ["agent"]}, "known_speaker_names: speakers are not known by their voices"),
        ({"num_speakers": 0}, "num_speakers"),
        ({"num_speakers": "two"}, "num_speakers"),
        ({"language": "tlh"}, "language"),
        ({"stream": True, "response_format": "srt"}, "only json, text, diarized_json are streamed."),
    ],
)
async def test_what_is_wrong_with_a_request_is_told(
    service: Service, client: openai.AsyncOpenAI, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.audio.transcriptions.create(file=("call.wav", b"RIFF"), model=MODEL, extra_body=fields)
    assert caught.value.code == "invalid_input"
    assert caught.value.type == "invalid_request_error"
    assert says in caught.value.message
    assert not kept(service)


async def test_a_file_without_sound_is_the_requests_fault(service: Service, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.audio.transcriptions.create(file=("call.wav", b"no sound at all"), model=MODEL)
    assert caught.value.code == "audio_unreadable"
    stream = await client.audio.transcriptions.create(file=("call.wav", b"no sound"), model=MODEL, stream=True)
    with pytest.raises(openai.APIError) as told:
        [event async for event in stream]
    assert told.value.code == "audio_unreadable"
    assert await nothing_kept(service)


@pytest.mark.parametrize("streams", [False, True])
async def test_who_goes_leaves_no_work_behind(
    service: Service, client: openai.AsyncOpenAI, speech: bytes, streams: bool, tmp_path: Path
) -> None:
    recording = await decode(CALL, tmp_path, 9000, lambda done, total: None)
    long = as_wav(np.tile(recording.clip(Span(0, recording.duration)), 10))
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(abandoned(client, long, streams))
        assert await eventually(lambda: in_progress(service), 10)
        leaving.cancel()
    began = time.monotonic()
    answer = await client.audio.transcriptions.create(file=("call.wav", speech), model=MODEL)
    assert answer.text
    assert time.monotonic() - began < 15, "it waited for the job that nobody waits for"
    assert await nothing_kept(service)


@pytest.mark.parametrize("streams", ["true", "false"])
async def test_who_hangs_up_at_once_leaves_nothing(service: Service, speech: bytes, streams: str) -> None:
    request = service.client.build_request(
        "POST", "/v1/audio/transcriptions", files={"file": ("call.wav", speech)}, data={"stream": streams}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    whole = f"POST /v1/audio/transcriptions HTTP/1.1\r\n{head}\r\n".encode() + await request.aread()
    host, port = service.url.removeprefix("http://").split(":")
    for pause_s in (0, 0.001, 0.003, 0.01, 0.03, 0.1) * 3:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(whole)
        await writer.drain()
        await asyncio.sleep(pause_s)
        writer.transport.abort()
    assert await nothing_kept(service)
    assert (await service.client.get("/ping")).status_code == 200


async def abandoned(client: openai.AsyncOpenAI, recording: bytes, streams: bool) -> None:
    """Ask for a transcription, until cancelled."""
    create, file = client.audio.transcriptions.create, ("call.wav", recording)
    if streams:
        [event async for event in await create(file=file, model=MODEL, stream=True)]
    else:
        await create(file=file, model=MODEL)


def in_progress(service: Service) -> bool:
    """Whether a job is under way."""
    return ("IN_PROGRESS",) in rows(service, "status")


async def test_a_wrong_key_and_an_engine_that_is_dead(tmp_path: Path) -> None:
    async with running_service(
        tmp_path, {"ENGINE": "vllm", "VLLM_EXECUTABLE": "/nowhere/vllm", "API_KEY": "right"}
    ) as one:
        await ping(one, 503)
        file = ("call.wav", b"RIFF")
        async with client_of(one, "wrong") as stranger:
            with pytest.raises(openai.AuthenticationError) as refused:
                await stranger.models.list()
            assert refused.value.code == "key_refused"
            with pytest.raises(openai.AuthenticationError):
                await stranger.audio.transcriptions.create(file=file, model=MODEL)
        async with client_of(one, "right") as known:
            assert [model.owned_by async for model in known.models.list()] == ["voxtral-serverless"]
            with pytest.raises(openai.InternalServerError) as dead:
                await known.audio.transcriptions.create(file=file, model=MODEL)
            assert (dead.value.status_code, dead.value.code) == (503, "engine_unavailable")
            assert dead.value.type == "server_error"
        assert not kept(one)
