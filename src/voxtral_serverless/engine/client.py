"""Requests to a served Voxtral, over HTTP: transcription, chat, and how the server is.

Speaks vLLM's OpenAI-compatible routes. One attempt each: who may ask again, and when, is decided in
`requests`. Connections are not kept: after a restart, or a frozen and thawed worker, an old one
would fail the next request.
"""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE
from voxtral_serverless.errors import EngineUnavailable

CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 3600.0
"""Longest time for one request, its wait inside vLLM included. A frozen engine is found long before."""
PROGRESS_METRIC = "vllm:iteration_tokens_total_count"
"""Advances with every step of the engine; `/health` stays 200 where it is frozen."""
FIRST_TOKEN_METRICS = ("vllm:time_to_first_token_seconds_sum", "vllm:time_to_first_token_seconds_count")

MAX_ERROR_BYTES = 300
MOST_TOKENS = 1 << 30
ENVELOPE_BYTES, TOKEN_BYTES = 1 << 16, 1 << 10
"""More than any honest answer has around its text, and for each token that it may have: one that goes on beyond is
given up."""
ASSUMED_CONTEXT = 16_384
"""Of a server that does not count (no vLLM); each of its tokens is taken for a byte, which is the least."""

OF_AN_ANSWER = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading an answer raises that is none."""


class EngineLost(Exception):
    """The server went away, or failed, before the answer was whole: asking again may help."""


class RequestRefused(Exception):
    """The server will not do this request, however often it is asked."""


@dataclass(frozen=True)
class Answer:
    """What the model wrote. `finish_reason` is `stop`, or `length` where it was cut off."""

    text: str
    finish_reason: str | None


@dataclass(frozen=True)
class Size:
    """How many tokens a prompt has, and how many the model's context has, the answer's included."""

    tokens: int
    context: int


class Engine(Protocol):
    """A served Voxtral, as those who use it see it.

    Attributes:
        deaths: How often it has died so far.
    """

    client: EngineClient
    deaths: int

    async def ready(self) -> None:
        """Wait until it can be asked.

        Raises:
            EngineUnavailable: it never will.
        """

    async def recovered(self) -> None:
        """After a lost request: wait until it answers again, restarted if need be.

        Raises:
            EngineUnavailable: it will not.
        """


class EngineClient:
    """Asks the server at `url` (without `/v1`) for `model`; both may change with a restart.

    Where the server is `ours`, one that refuses our key or does not know our model is a stranger on its port, and the
    request is lost; where it is not, that is final.

    Attributes:
        in_flight: Requests for text that wait for an answer.
        received: Pieces of text that have come so far.
    """

    def __init__(self, url: str, model: str, key: str | None, *, ours: bool = False) -> None:
        self.url, self.model, self.ours = url, model, ours
        self.in_flight = 0
        self.received = 0
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End every connection."""
        if self._session is not None:
            await self._session.close()

    async def transcribe(
        self, wav: bytes, *, language: str | None, max_tokens: int, frequency_penalty: float = 0.0
    ) -> Answer:
        """What is said in `wav`; greedy.

        Raises:
            EngineLost, RequestRefused, EngineUnavailable: as of `_asking`.
        """
        form = aiohttp.FormData()
        form.add_field("file", wav, filename="clip.wav", content_type="audio/wav")
        fields = {
            "model": self.model,
            "temperature": "0",
            "stream": "true",
            "max_completion_tokens": str(max_tokens),
            "frequency_penalty": str(frequency_penalty),
        } | ({"language": language} if language else {})
        for name, value in fields.items():
            form.add_field(name, value)
        async with self._asking("/v1/audio/transcriptions", data=form) as response:
            if response.content_type == "application/json":  # a server that does not stream
                return Answer(str(json.loads(await _whole(response, max_tokens))["text"]), None)
            return await self._streamed(response, max_tokens)

    async def chat(
        self, prompt: str, *, max_tokens: int, temperature: float, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """The model's answer to `prompt`, as JSON that follows `schema` where one is given.

        Raises:
            EngineLost, RequestRefused, EngineUnavailable: as of `_asking`.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if schema is not None:
            form = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        async with self._asking("/v1/chat/completions", quiet=True, json=body) as response:
            choice = json.loads(await _whole(response, max_tokens))["choices"][0]
            content = choice["message"]["content"] or ""
            if not isinstance(content, str):
                raise TypeError
            return Answer(content, choice["finish_reason"])

    async def size(self, prompt: str) -> Size:
        """How long a chat's `prompt` is, as vLLM counts it; a cautious guess where the server does not say.

        Raises:
            EngineLost, RequestRefused, EngineUnavailable: as of `_asking`, where the server is `ours`.
        """
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        guess = Size(len(prompt.encode(errors="replace")), ASSUMED_CONTEXT)
        try:
            async with self._asking("/tokenize", quiet=True, json=body) as response:
                answer = await _whole(response, len(prompt) // 32)  # it lists the tokens: 32 bytes a character
        except (RequestRefused, EngineUnavailable):
            if self.ours:
                raise
            return guess
        try:
            counted = json.loads(answer)
            return Size(_counted(counted["count"]), _counted(counted["max_model_len"]))
        except OF_AN_ANSWER as error:
            if self.ours:
                raise EngineLost("its count of tokens is none.") from error
            return guess

    async def models(self) -> list[str]:
        """The names under which the server has models.

        Raises:
            EngineLost, EngineUnavailable: as of `_asking`.
        """
        timeout = aiohttp.ClientTimeout(CONNECT_TIMEOUT_S)
        request = self._opened().get(f"{self.url}/v1/models", headers=self._headers, timeout=timeout)
        async with _translated(), request as response:
            await self._check(response)
            return [str(model["id"]) for model in (await response.json())["data"]]

    async def health(self, timeout_s: float = CONNECT_TIMEOUT_S) -> int | None:
        """The status that the server gives of itself: 200 well, 503 dead; None where it does not answer."""
        answer = await self._get("/health", timeout_s)
        return answer and answer[0]

    async def progress(self, timeout_s: float = CONNECT_TIMEOUT_S) -> float | None:
        """How many steps the engine has made; None where it does not say."""
        [steps] = await self._counters((PROGRESS_METRIC,), timeout_s)
        return steps

    async def first_tokens(self, timeout_s: float = CONNECT_TIMEOUT_S) -> tuple[float | None, float | None]:
        """Seconds until the first token of all requests together, and how many these were; None where it does not say."""
        seconds, requests = await self._counters(FIRST_TOKEN_METRICS, timeout_s)
        return seconds, requests

    async def _counters(self, names: Sequence[str], timeout_s: float) -> list[float | None]:
        """The server's metrics whose names begin so, each over all of its labels; None for one that is not there."""
        answer = await self._get("/metrics", timeout_s)
        lines = answer[1].splitlines() if answer else []
        found: list[float | None] = []
        for name in names:
            try:
                counts = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
            except ValueError:
                counts = []
            found.append(sum(counts) if counts else None)
        return found

    async def _get(self, path: str, timeout_s: float) -> tuple[int, str] | None:
        timeout = aiohttp.ClientTimeout(timeout_s)
        try:
            async with self._opened().get(self.url + path, headers=self._headers, timeout=timeout) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeError):
            return None

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made on the first use: it belongs to the running event loop."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(REQUEST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session

    @asynccontextmanager
    async def _asking(self, path: str, *, quiet: bool = False, **body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request for text; leaving the block early closes it, and the engine stops its work.

        `quiet` keeps what the server says of an error out of ours: it may quote the request.

        Raises:
            EngineLost: the connection, the server or its answer broke.
            RequestRefused: the server refuses this request.
            EngineUnavailable: the server refuses us.
        """
        self.in_flight += 1
        try:
            request = self._opened().post(self.url + path, headers=self._headers, **body)
            async with _translated(), request as response:
                await self._check(response, quiet=quiet)
                yield response
                self.received += 1
        finally:
            self.in_flight -= 1

    async def _check(self, response: aiohttp.ClientResponse, *, quiet: bool = False) -> None:
        """Raise what the status of the response means."""
        status = response.status
        if status < 400:
            return
        message = b"." if quiet else b": " + await response.content.read(MAX_ERROR_BYTES)
        said = f"HTTP {status}{message.decode(errors='replace')}"
        if status in (408, 425, 429) or status >= 500 or (self.ours and status in (401, 403, 404)):
            raise EngineLost(said)
        if status in (401, 403):
            raise EngineUnavailable("the vLLM server refuses the key: set VLLM_API_KEY to its key.")
        if status == 404:
            raise EngineUnavailable("the vLLM server does not have the model or the route: does it serve Voxtral?")
        raise RequestRefused(said)

    async def _streamed(self, response: aiohttp.ClientResponse, tokens: int) -> Answer:
        """The text of a stream of server-sent events, which has to come to its end to count."""
        text, finish_reason, size = "", None, 0
        async for line in response.content:
            size += len(line)
            if size > ENVELOPE_BYTES + TOKEN_BYTES * tokens:
                break
            field, _, data = line.decode().strip().partition(":")
            if field != "data":
                continue
            self.received += 1
            if data.strip() == "[DONE]":
                if finish_reason is None:
                    break
                return Answer(text, finish_reason)
            event = json.loads(data)
            if "error" in event:
                raise EngineLost(f"in the stream: {event['error']}"[:300])
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
                finish_reason = choice.get("finish_reason") or finish_reason
        raise EngineLost("the answer ended before its end.")


def _counted(number: object) -> int:
    """A number of tokens; a ValueError where it cannot be one."""
    if type(number) is not int or not 0 < number < MOST_TOKENS:
        raise ValueError
    return number


async def _whole(response: aiohttp.ClientResponse, tokens: int) -> bytes:
    """The body of an answer of at most so many tokens, unless it goes on and on."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > ENVELOPE_BYTES + TOKEN_BYTES * tokens:
            raise EngineLost("the answer goes on and on.")
    return bytes(body)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Failures of the connection, and answers that are none, as `EngineLost`."""
    try:
        yield
    except aiohttp.ClientConnectionError as error:
        raise EngineLost(f"{type(error).__name__}: {error}") from error
    except (aiohttp.ClientError, HttpProcessingError, TimeoutError, *OF_AN_ANSWER) as error:
        # What else they say may quote the answer, and with it a call.
        raise EngineLost(f"{type(error).__name__}, of its answer.") from error
    except asyncio.CancelledError as error:
        # A session that is closed while a name is looked up cancels the look-up, not us.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise EngineLost("the connection was given up.") from error


def as_wav(samples: bytes) -> bytes:
    """16 kHz mono signed 16-bit samples as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(SAMPLE_BYTES)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(samples)
    return file.getvalue()


WARM_UP_S = 1
WARM_UP_TOKENS = 4
WARM_UP_TIMEOUT_S = 300.0
"""The first request may compile kernels."""


async def warm_up(client: EngineClient) -> None:
    """One real transcription, of a second of silence: after it the engine is ready.

    Raises:
        EngineLost, RequestRefused, EngineUnavailable: as of `EngineClient.transcribe`.
    """
    silence = as_wav(bytes(WARM_UP_S * SAMPLE_RATE * SAMPLE_BYTES))
    try:
        async with asyncio.timeout(WARM_UP_TIMEOUT_S):
            await client.transcribe(silence, language=None, max_tokens=WARM_UP_TOKENS)
    except TimeoutError as error:
        raise EngineLost("the first transcription hung.") from error
