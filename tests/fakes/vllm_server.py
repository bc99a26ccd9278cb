"""An honest little stand-in for `vllm serve`: the same routes over real HTTP, with manners that can be chosen.

In a test it runs on the test's event loop (`running_vllm`); as a program (`python vllm_server.py FOLDER serve MODEL
--port N …`, what `vllm_command` writes a `vllm` for) it runs as our supervisor would start the real one, with a
second process for its core, or without one (`bare` for `serve`). It hears nothing: its text says what reached it,
"2.50 s in fr". What it cannot show, the real engine's tests do (`tests/engines`).
"""

# ruff: noqa: T201 — a program speaks on its output
from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import socket
import sys
import tempfile
import uuid
import wave
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

LOOP = "and so on, " * 200


@dataclass
class Manners:
    """How the server behaves; what is a number of seconds or of clips is read as such.

    Attributes:
        latency_s: What every request takes.
        batch: How many requests are worked on at once; the others wait.
        loops: A clip of so many seconds (rounded) gets an endless text, unless it is asked for with a penalty …
        loops_always: … or even then.
        refuses_penalty: It takes no penalty at all.
        says: Its text instead of what it heard.
        body: The whole body of its answer instead, of the type …
        body_type: … that this names.
        refuses: HTTP status for every request, with …
        why: … these words …
        only: … or for clips of so many seconds alone.
        fails: So many requests get HTTP 500 before one goes well.
        truncates: So many streams break off in the middle.
        dies_over: A clip of so many seconds ends the process at once.
        frozen: Answers /health, and makes no token.
        health: HTTP status of /health.
        metrics: What /metrics says of the steps instead of their number.
        chat: What it answers in a chat, which …
        chat_finish: … ends like this.
        chat_json: What it answers in a chat that is held to a schema, where that is something else.
        chat_body: The whole body of its answer in a chat instead.
        chat_refuses: HTTP status for every chat, with `why`.
        chat_latency_s: What every chat takes besides.
        context: Tokens that a chat and its answer may have together; more is refused.
        token_bytes: A token of a chat has so many bytes.
        tokenizes: It counts them for who asks …
        counts: … and answers this.
        start: "exit", "hang" or "taken": what the program does instead of starting.
    """

    latency_s: float = 0.0
    batch: int = 64
    loops: int | None = None
    loops_always: bool = False
    refuses_penalty: bool = False
    says: str | None = None
    body: str | None = None
    body_type: str = "text/event-stream"
    refuses: int | None = None
    why: str = "no"
    only: int | None = None
    fails: int = 0
    truncates: int = 0
    dies_over: int | None = None
    frozen: bool = False
    health: int = 200
    metrics: str | None = None
    chat: str = "A chat."
    chat_finish: str | None = "stop"
    chat_json: str | None = None
    chat_body: str | None = None
    chat_refuses: int | None = None
    chat_latency_s: float = 0.0
    context: int = 16_384
    token_bytes: int = 4
    tokenizes: bool = True
    counts: str | None = None
    start: str = ""


@dataclass
class Vllm:
    """The server's state.

    Attributes:
        others: Models that it has beside `model`.
        requests: The fields of every transcription that was asked for, its `seconds` and its `first` sample.
        prompts: The bodies of every chat.
        counted: The prompts whose tokens were counted.
        replies: Tells what to answer in a chat, by its body, instead of what the manners say; None where they may.
        waits: What the answer to a chat waits for, by its body.
        most_at_once: The most requests that were worked on together.
        aborted: Requests whose client went away.
    """

    manners: Manners = field(default_factory=Manners)
    model: str = "voxtral"
    key: str | None = None
    url: str = ""
    others: tuple[str, ...] = ()
    requests: list[dict[str, str]] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    replies: Callable[[dict[str, Any]], str | None] = lambda _: None
    waits: Callable[[dict[str, Any]], Awaitable[None]] = lambda _: asyncio.sleep(0)
    count: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    aborted: int = 0
    _steps: int = 0
    _working: int = 0

    def application(self) -> web.Application:
        self._batch = asyncio.Semaphore(self.manners.batch)
        app = web.Application(middlewares=[self._guard], client_max_size=1 << 28)
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/audio/transcriptions", self.transcriptions)
        app.router.add_post("/v1/chat/completions", self.completions)
        app.router.add_post("/tokenize", self.tokenize)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        """Like vLLM's key: it guards what lies under /v1."""
        if self.key and request.path.startswith("/v1") and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return await handler(request)  # type: ignore[no-any-return]

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.manners.health)

    async def metrics(self, request: web.Request) -> web.Response:
        steps = self.manners.metrics or f"{self._steps}.0"
        return web.Response(text=f'# TYPE\nvllm:iteration_tokens_total_count{{engine="0"}} {steps}\n')

    async def models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "max_model_len": 16384} for name in (self.model, *self.others)]
        return web.json_response({"object": "list", "data": data})

    async def transcriptions(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        with form["file"].file as file:  # type: ignore[union-attr]
            seconds, first = _measured(file.read())
        self.requests.append(fields | {"seconds": f"{seconds:.4f}", "first": str(first)})
        if refusal := self._refusal(fields["model"], seconds):
            return refusal
        if self.manners.refuses_penalty and float(fields["frequency_penalty"]):
            return _error(400, "no penalties")
        await self._work(seconds)
        if self.manners.body is not None:
            return web.Response(text=self.manners.body, content_type=self.manners.body_type)
        text, finish = self._text(fields, seconds)
        return await self._stream(request, text, finish)

    async def completions(self, request: web.Request) -> web.Response:
        body, manners = await request.json(), self.manners
        self.prompts.append(body)
        if refusal := self._refusal(body["model"], 0):
            return refusal
        if manners.chat_refuses:
            return _error(manners.chat_refuses, manners.why)
        tokens = self._tokens(body["messages"])
        if tokens + body["max_tokens"] > manners.context:
            return _error(400, f"maximum context length is {manners.context} tokens, you requested {tokens}")
        await self._work(0, manners.chat_latency_s)
        await self.waits(body)
        if manners.chat_body is not None:
            return web.Response(text=manners.chat_body, content_type="application/json")
        prose = manners.chat if manners.chat_json is None or "response_format" not in body else manners.chat_json
        reply = self.replies(body)
        message = {"role": "assistant", "content": prose if reply is None else reply}
        return web.json_response({"choices": [{"message": message, "finish_reason": manners.chat_finish}]})

    async def tokenize(self, request: web.Request) -> web.Response:
        if not self.manners.tokenizes:
            return _error(404, "Not Found")
        body = await request.json()
        self.counted.append(body["messages"][0]["content"])
        counted = {"count": self._tokens(body["messages"]), "max_model_len": self.manners.context, "tokens": []}
        return web.Response(text=self.manners.counts or json.dumps(counted), content_type="application/json")

    def _tokens(self, messages: list[dict[str, str]]) -> int:
        return sum(-(-len(one["content"].encode()) // self.manners.token_bytes) for one in messages)

    def _refusal(self, model: str, seconds: float) -> web.Response | None:
        """What is said to a request that is not worked on."""
        if model not in (self.model, *self.others):
            return _error(404, f"The model `{model}` does not exist.")
        if self.manners.refuses and self.manners.only in (None, round(seconds)):
            return _error(self.manners.refuses, self.manners.why)
        if self.count["failed"] < self.manners.fails:
            self.count["failed"] += 1
            return _error(500, "cannot schedule new futures after shutdown")
        return None

    async def _work(self, seconds: float, besides_s: float = 0.0) -> None:
        try:
            await self._in_a_batch(seconds, besides_s)
        except asyncio.CancelledError:
            self.aborted += 1
            raise

    async def _in_a_batch(self, seconds: float, besides_s: float) -> None:
        async with self._batch:
            self._working += 1
            self.most_at_once = max(self.most_at_once, self._working)
            try:
                if self.manners.dies_over == round(seconds):
                    os.kill(os.getpid(), signal.SIGKILL)
                while self.manners.frozen:  # noqa: ASYNC110 — a test sets the flag
                    await asyncio.sleep(0.05)
                await asyncio.sleep(self.manners.latency_s + besides_s)
                self._steps += 1
            finally:
                self._working -= 1

    def _text(self, fields: dict[str, str], seconds: float) -> tuple[str, str]:
        loops = self.manners.loops == round(seconds)
        if loops and (self.manners.loops_always or float(fields.get("frequency_penalty", 0)) == 0):
            return LOOP[: 4 * int(fields["max_completion_tokens"])], "length"
        heard = f"{seconds:.2f} s in {fields.get('language', 'no language')}"
        return (heard if self.manners.says is None else self.manners.says), "stop"

    async def _stream(self, request: web.Request, text: str, finish: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        half = len(text) // 2
        await response.write(_event({"choices": [{"delta": {"content": text[:half]}}]}))
        if self.count["truncated"] < self.manners.truncates:
            self.count["truncated"] += 1
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(_event({"choices": [{"delta": {"content": text[half:]}, "finish_reason": finish}]}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _event(data: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


def _measured(file: bytes) -> tuple[float, int]:
    """Length in seconds and first sample of a WAV file."""
    with wave.open(io.BytesIO(file), "rb") as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 16_000)
        first = int.from_bytes(wav.readframes(1), "little", signed=True)
        return wav.getnframes() / 16_000, first


@asynccontextmanager
async def running_vllm(vllm: Vllm) -> AsyncIterator[Vllm]:
    """Serve `vllm` on a free port of loopback."""
    runner = web.AppRunner(vllm.application(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", int(vllm.url.rpartition(":")[2] or 0))
        await site.start()
        host, port = runner.addresses[0][:2]
        vllm.url = f"http://{host}:{port}"
        yield vllm
    finally:
        await runner.cleanup()


def vllm_command(folder: Path, manners: Manners) -> Path:
    """A `vllm` in `folder` that is this server, with `manners`, which `set_manners` can change for its next start."""
    command = folder / "vllm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} "{folder}" "$@"\n')
    command.chmod(0o755)
    set_manners(folder, manners)
    return command


def set_manners(folder: Path, manners: Manners) -> None:
    """How the `vllm` in `folder` behaves from its next start on."""
    (folder / "manners.json").write_text(json.dumps(asdict(manners)))


async def _serve(vllm: Vllm, *, bare: bool) -> None:
    async with running_vllm(vllm):
        print(
            "(Worker pid=7) INFO 11-23 01:56:57 [default_loader.py:501] Loading weights took 0.01 seconds", flush=True
        )
        print("INFO: serving", flush=True)
        if bare:
            await asyncio.Event().wait()
        core = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
        await core.wait()
        print("EngineDeadError: EngineCore encountered an issue.", flush=True)


def _leave_a_socket() -> None:
    """As the real one does, in whatever way it ends; and another file, where temporary ones go."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(os.environ.get("VLLM_RPC_BASE_PATH", tempfile.gettempdir()), str(uuid.uuid4()))))
    Path(tempfile.gettempdir(), f"vllm_dist_{uuid.uuid4().hex}").touch()


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("command", choices=["serve", "bare"])
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    given, _ = parser.parse_known_args()
    manners = Manners(**json.loads(Path(given.folder, "manners.json").read_text()))
    print(f"INFO: starting with {len(os.environ)} variables", flush=True)
    match manners.start:
        case "exit":
            print("ValueError: the tensors in /models/secret/consolidated.safetensors are damaged", flush=True)
            return 3
        case "taken":
            set_manners(Path(given.folder), Manners())
            print("OSError: [Errno 98] Address already in use", flush=True)
            return 1
        case "hang":
            signal.pause()
    _leave_a_socket()
    server = Vllm(manners, given.served_model_name, os.environ.get("VLLM_API_KEY"), f"http://127.0.0.1:{given.port}")
    asyncio.run(_serve(server, bare=given.command == "bare"))
    return 1


if __name__ == "__main__":
    sys.exit(main())
