"""One attempt at a request, over real HTTP: what is sent, what is made of every kind of answer."""

import asyncio
import io
import json
import socket
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.fakes.vllm_server import Manners, Vllm, running_vllm
from tests.test_child import eventually
from voxtral_serverless.engine import client as module
from voxtral_serverless.engine.client import Answer, EngineClient, EngineLost, RequestRefused, Size, as_wav, warm_up
from voxtral_serverless.engine.machine import free_port
from voxtral_serverless.errors import EngineUnavailable

CLIP = as_wav(bytes(2 * 40_000))


@asynccontextmanager
async def asked(vllm: Vllm, *, model: str = "voxtral", key: str | None = None) -> AsyncIterator[EngineClient]:
    """A client of `vllm`, which is served beside the block."""
    async with running_vllm(vllm):
        client = EngineClient(vllm.url, model, key)
        try:
            yield client
        finally:
            await client.close()


async def transcribe(client: EngineClient, language: str | None = "fr") -> Answer:
    return await client.transcribe(CLIP, language=language, max_tokens=62)


async def chat(client: EngineClient) -> Answer:
    return await client.chat("Well?", max_tokens=9, temperature=0.2)


Ask = Callable[[EngineClient], Awaitable[Answer]]
ASKS = pytest.mark.parametrize("ask", [transcribe, chat])


async def test_fields_of_a_transcription() -> None:
    vllm = Vllm()
    async with asked(vllm) as client:
        await client.transcribe(CLIP, language="fr", max_tokens=62)
        await client.transcribe(CLIP, language=None, max_tokens=9, frequency_penalty=0.5)
    common = {"model": "voxtral", "temperature": "0", "stream": "true", "seconds": "2.5000", "first": "0"}
    assert vllm.requests == [
        common | {"language": "fr", "max_completion_tokens": "62", "frequency_penalty": "0.0"},
        common | {"max_completion_tokens": "9", "frequency_penalty": "0.5"},
    ]


async def test_streamed_text_is_joined() -> None:
    async with asked(Vllm()) as client:
        assert await transcribe(client) == Answer("2.50 s in fr", "stop")


async def test_text_that_was_cut_off_says_so() -> None:
    async with asked(Vllm(Manners(loops=2))) as client:
        answer = await transcribe(client)
    assert answer.finish_reason == "length"
    assert len(answer.text) == 4 * 62


async def test_server_that_does_not_stream() -> None:
    body = json.dumps({"text": " Bonjour.", "usage": {"seconds": 3}})
    async with asked(Vllm(Manners(body=body, body_type="application/json"))) as client:
        assert await transcribe(client) == Answer(" Bonjour.", None)


def event(*, content: object = None, finish: str | None = None) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": content}, "finish_reason": finish}]}) + "\n\n"


DONE = "data: [DONE]\n\n"


async def test_stream_with_all_that_a_stream_may_have() -> None:
    usage = 'data: {"choices": [], "usage": {"total_tokens": 9}}\n\n'
    body = (
        ": hello\n\n"
        + event(content="Là ")
        + event()
        + event(content="haut.")
        + event(finish="stop")
        + event()
        + usage
        + DONE
    )
    async with asked(Vllm(Manners(body=body))) as client:
        assert await transcribe(client) == Answer("Là haut.", "stop")


async def test_fields_of_a_chat() -> None:
    vllm, schema = Vllm(Manners(chat='{"a": 1}', chat_finish="length")), {"type": "object"}
    async with asked(vllm) as client:
        assert await chat(client) == Answer('{"a": 1}', "length")
        await client.chat("Well?", max_tokens=9, temperature=0.0, schema=schema)
    common = {"model": "voxtral", "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 9}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    assert vllm.prompts == [common | {"temperature": 0.2}, common | {"temperature": 0.0, "response_format": form}]


@ASKS
async def test_key_goes_with_every_request(ask: Ask) -> None:
    async with asked(Vllm(key="k3y"), key="k3y") as client:
        assert (await ask(client)).text
        assert await client.models() == ["voxtral"]


async def test_stream_that_breaks_off_is_lost() -> None:
    async with asked(Vllm(Manners(truncates=1))) as client:
        with pytest.raises(EngineLost):
            await transcribe(client)
        assert (await transcribe(client)).finish_reason == "stop"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Bad gateway</html>",
        event(content="Half a"),
        event(content="No reason.") + DONE,
        event(content="No end.", finish="stop"),
        event(content="Half a") + 'data: {"error": {"message": "EngineCore encountered an issue."}}\n\n' + DONE,
        "data: nonsense\n\n" + DONE,
        "data: 7\n\n" + DONE,
        "data: []\n\n" + DONE,
        'data: {"choices": [{"delta": "text"}]}\n\n' + event(finish="stop") + DONE,
        event(content=7, finish="stop") + DONE,
        "data: " + "x" * (1 << 20),
    ],
    ids=lambda body: str(body)[:60],
)
async def test_garbage_for_a_stream_is_lost(body: str) -> None:
    async with asked(Vllm(Manners(body=body))) as client:
        with pytest.raises(EngineLost):
            await transcribe(client)


@pytest.mark.parametrize("body", ["", "nonsense", "null", "[]", "{}", '{"text": '])
async def test_garbage_for_json_is_lost(body: str) -> None:
    async with asked(Vllm(Manners(body=body, body_type="application/json"))) as client:
        with pytest.raises(EngineLost):
            await transcribe(client)


async def test_error_in_a_stream_is_told() -> None:
    body = 'data: {"error": {"message": "EngineCore encountered an issue."}}\n\n' + DONE
    async with asked(Vllm(Manners(body=body))) as client:
        with pytest.raises(EngineLost, match="EngineCore encountered an issue"):
            await transcribe(client)


@ASKS
@pytest.mark.parametrize(
    ("status", "failure"),
    [(status, EngineLost) for status in (408, 425, 429, 500, 502, 503)]
    + [(status, RequestRefused) for status in (400, 413, 422)],
)
async def test_status(ask: Ask, status: int, failure: type[Exception]) -> None:
    async with asked(Vllm(Manners(refuses=status, why="Too much of it."))) as client:
        with pytest.raises(failure, match=rf"HTTP {status}") as raised:
            await ask(client)
        assert client.in_flight == 0
    # The answer to a chat may quote what was said in a call, and what is raised may be logged.
    assert ("Too much of it." in str(raised.value)) == (ask is transcribe)


@ASKS
@pytest.mark.parametrize("key", [None, "another"])
async def test_wrong_key(ask: Ask, key: str | None) -> None:
    async with asked(Vllm(key="k3y"), key=key) as client:
        with pytest.raises(EngineUnavailable, match="VLLM_API_KEY"):
            await ask(client)
        with pytest.raises(EngineUnavailable, match="VLLM_API_KEY"):
            await client.models()


@ASKS
async def test_unknown_model(ask: Ask) -> None:
    async with asked(Vllm(), model="mixtral") as client:
        with pytest.raises(EngineUnavailable, match="does not have the model"):
            await ask(client)


async def test_nobody_there() -> None:
    client = EngineClient(f"http://127.0.0.1:{free_port(19_000)}", "voxtral", None)
    for ask in (transcribe(client), chat(client), client.models()):
        with pytest.raises(EngineLost):
            await ask
    assert await client.health() is None
    assert await client.progress() is None
    assert client.in_flight == 0
    await client.close()


async def test_health_and_progress() -> None:
    vllm = Vllm()
    async with asked(vllm) as client:
        assert (await client.health(), await client.progress()) == (200, 0)
        await transcribe(client)
        assert await client.progress() == 1
        vllm.manners.health = 503
        assert await client.health() == 503


async def test_engines_of_one_server_count_together() -> None:
    metrics = '3.0\nvllm:iteration_tokens_total_count{engine="1"} 4.0\nvllm:iteration_tokens_total_sum 900.0'
    async with asked(Vllm(Manners(metrics=metrics))) as client:
        assert await client.progress() == 7


async def test_garbage_for_progress_says_nothing() -> None:
    async with asked(Vllm(Manners(metrics="many"))) as client:
        assert await client.progress() is None


async def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # the kernel accepts, and that is all
        client = EngineClient(f"http://127.0.0.1:{nobody.getsockname()[1]}", "voxtral", None)
        async with asyncio.timeout(10):
            assert await client.health(0.1) is None
            assert await client.progress(0.1) is None
        await client.close()


async def test_in_flight_while_answers_are_awaited() -> None:
    async with asked(Vllm(Manners(frozen=True))) as client:
        async with asyncio.TaskGroup() as tasks:
            requests = [tasks.create_task(transcribe(client)) for _ in range(3)] + [tasks.create_task(chat(client))]
            await asyncio.sleep(0)
            assert client.in_flight == 4
            await client.health()
            assert client.in_flight == 4
            requests[0].cancel()
            assert await eventually(lambda: client.in_flight == 3)
            for request in requests:
                request.cancel()
        assert client.in_flight == 0


@ASKS
async def test_server_sees_that_a_request_was_cancelled(ask: Ask) -> None:
    vllm = Vllm(Manners(frozen=True))
    async with asked(vllm) as client:
        request = asyncio.ensure_future(ask(client))
        assert await eventually(lambda: vllm.most_at_once == 1)
        assert vllm.aborted == 0
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request
        assert await eventually(lambda: vllm.aborted == 1)


@ASKS
async def test_closing_loses_what_is_asked_and_nothing_later(ask: Ask) -> None:
    vllm = Vllm(Manners(frozen=True))
    async with asked(vllm) as client:
        request = asyncio.ensure_future(ask(client))
        assert await eventually(lambda: vllm.most_at_once == 1)
        await client.close()
        with pytest.raises(EngineLost):
            await request
        vllm.manners.frozen = False
        assert (await ask(client)).finish_reason == "stop"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/html"])
@ASKS
async def test_answer_that_goes_on_and_on(ask: Ask, kind: str) -> None:
    endless = (event(content="x" * 100) if kind == "text/event-stream" else '{"text": "and so on" ') * 10_000
    async with asked(Vllm(Manners(body=endless, body_type=kind, chat_body=endless))) as client:
        with pytest.raises(EngineLost, match=r"goes on|before its end"):
            await ask(client)
        assert client.in_flight == 0


@pytest.mark.parametrize("body", ["[" * 100_000, "{}", "[]", '{"choices": []}', '{"choices": [{"message": 3}]}'])
async def test_chat_that_is_none(body: str) -> None:
    async with asked(Vllm(Manners(chat_body=body))) as client:
        with pytest.raises(EngineLost):
            await chat(client)


async def test_size_is_counted_by_the_server() -> None:
    vllm = Vllm(Manners(context=4096, token_bytes=2), key="k3y")
    async with asked(vllm, key="k3y") as client:
        assert await client.size("Où ça ?") == Size(5, 4096)
    assert vllm.counted == ["Où ça ?"]


@pytest.mark.parametrize("manners", [Manners(tokenizes=False), Manners(counts="<html>")])
async def test_size_is_guessed_where_the_server_does_not_say(manners: Manners) -> None:
    async with asked(Vllm(manners)) as client:
        assert await client.size("Où ça ?" * 100) == Size(900, 16_384)
        client.ours = True
        with pytest.raises(EngineLost):
            await client.size("Où ça ?")


@pytest.mark.parametrize(
    "counts",
    ['{"count": 1e999, "max_model_len": 9}', '{"count": -5, "max_model_len": 9}', '{"count": true, "max_model_len": 9}',
     '{"count": "the canary", "max_model_len": 9}', "[" * 200_000],
)  # fmt: skip
async def test_count_that_cannot_be(counts: str) -> None:
    async with asked(Vllm(Manners(counts=counts))) as client:
        client.ours = True
        with pytest.raises(EngineLost) as raised:
            await client.size("Well?")
    assert "canary" not in str(raised.value)


async def test_lost_count_is_no_guess() -> None:
    async with asked(Vllm(Manners(refuses=503, why="busy"))) as client:
        await client.close()
        client.url = f"http://127.0.0.1:{free_port(19_300)}"
        with pytest.raises(EngineLost):
            await client.size("Well?")


@pytest.mark.parametrize("content", ['[{"type": "text", "text": "canary"}]', "true", '{"text": "canary"}', "5"])
async def test_chat_of_something_else_than_text(content: str) -> None:
    body = f'{{"choices": [{{"message": {{"content": {content}}}, "finish_reason": "stop"}}]}}'
    async with asked(Vllm(Manners(chat_body=body))) as client:
        with pytest.raises(EngineLost) as raised:
            await chat(client)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nthe canary said\r\n", b"the canary said\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nthe canary said\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n"],
)  # fmt: skip
async def test_nothing_of_a_broken_answer_is_told(answer: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    client = EngineClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "voxtral", None)
    async with server:
        with pytest.raises(EngineLost) as raised:
            await chat(client)
        await client.close()
    assert "canary" not in str(raised.value)


async def test_server_that_is_replaced_is_found() -> None:
    first, second = Vllm(), Vllm(model="other")
    async with asked(first) as client, running_vllm(second):
        await transcribe(client)
        client.url, client.model = second.url, "other"
        await transcribe(client)
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_wav() -> None:
    samples = bytes(range(256)) * 10
    with wave.open(io.BytesIO(as_wav(samples))) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 16_000)
        assert wav.readframes(9999) == samples


async def test_warm_up_is_a_short_transcription() -> None:
    vllm = Vllm()
    async with asked(vllm) as client:
        await warm_up(client)
    [request] = vllm.requests
    assert (request["seconds"], request["max_completion_tokens"]) == ("1.0000", "4")
    assert "language" not in request


async def test_warm_up_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP_TIMEOUT_S", 0.2)
    async with asked(Vllm(Manners(frozen=True))) as client:
        with pytest.raises(EngineLost, match="the first transcription hung"):
            await warm_up(client)
        assert client.in_flight == 0
