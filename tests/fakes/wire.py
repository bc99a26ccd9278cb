"""A web server on loopback that writes its answers byte for byte, and so can lie, drip, cut and reset.

What it does is a function of the request: `Recording.serve` is honest, ranges included, `TOXICS` are the eight troubles
of Toxiproxy. One request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 416: "Range Not Satisfiable"}
SETTLE_S = 0.05
"""What was sent before a cut has then arrived."""


@dataclass(frozen=True)
class Asked:
    """A request: its target, its headers by lower-case names, and how many came before it."""

    target: str
    headers: dict[str, str]
    before: int

    @property
    def start(self) -> int:
        """The first byte that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0


Manners = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wire:
    """A running server: its URL, and every request."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, int]:
        """Its address and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)


@dataclass
class Recording:
    """Bytes with a version, and an honest server of them."""

    data: bytes
    etag: str | None = '"v1"'

    def answer(self, asked: Asked) -> tuple[bytes, bytes]:
        """Head and body, as RFC 9110 has them."""
        version = {} if self.etag is None else {"ETag": self.etag}
        strong = self.etag is not None and not self.etag.startswith("W/")
        start = asked.start
        if not start or not strong or asked.headers.get("if-range", self.etag) != self.etag:
            return head(200, **{"Content-Length": str(len(self.data)), **version}), self.data
        if start >= len(self.data):
            return head(416, **{"Content-Range": f"bytes */{len(self.data)}", "Content-Length": "0"}), b""
        rest = self.data[start:]
        place = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        return head(206, **{"Content-Length": str(len(rest)), "Content-Range": place, **version}), rest

    async def serve(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """The whole answer, as it should be."""
        for part in self.answer(asked):
            writer.write(part)
        await writer.drain()


def head(status: int, **headers: str) -> bytes:
    """The head of an answer after which the connection is closed."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def cut(writer: asyncio.StreamWriter, *parts: bytes, reset: bool = False) -> None:
    """Send the parts, let them arrive, and end the connection, by a reset where asked."""
    for part in parts:
        writer.write(part)
    await writer.drain()
    await asyncio.sleep(SETTLE_S)
    if reset:
        made: socket.socket = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


def first(manners: Manners, then: Manners) -> Manners:
    """The first request meets the one, all others the other."""

    async def both(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (then if asked.before else manners)(asked, writer)

    return both


def always(answer: bytes) -> Manners:
    """These bytes, whatever is asked."""

    async def same(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return same


def cut_at(recording: Recording, at: int, *, reset: bool = False) -> Manners:
    """The connection ends after so many bytes of each body."""

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        top, body = recording.answer(asked)
        await cut(writer, top, body[:at], reset=reset)

    return once


@asynccontextmanager
async def running_wire(manners: Manners) -> AsyncIterator[Wire]:
    """A server with these manners on a free port of 127.0.0.1."""
    wire = Wire("")
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
            asked = Asked(first.split(" ")[1], headers, len(wire.asked))
            wire.asked.append(asked)
            await manners(asked, writer)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        served.add(task)
        task.add_done_callback(served.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    wire.url = f"http://{host}:{port}"
    try:
        yield wire
    finally:
        server.close()
        for task in list(served):
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


def toxics(recording: Recording) -> dict[str, Manners]:
    """The troubles of Toxiproxy, by its names; `down` is a server that is not there."""

    async def latency(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await recording.serve(asked, writer)

    async def bandwidth(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await _sliced(recording, asked, writer, 20_000, 0.05)

    async def slow_close(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await recording.serve(asked, writer)
        await asyncio.sleep(60)

    async def timeout(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def reset_peer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        first, body = recording.answer(asked)
        if asked.before:
            await recording.serve(asked, writer)
        else:
            await cut(writer, first, body[: len(body) // 2], reset=True)

    async def slicer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await _sliced(recording, asked, writer, 1_000, 0.001)

    async def limit_data(asked: Asked, writer: asyncio.StreamWriter) -> None:
        first, body = recording.answer(asked)
        await cut(writer, first, body[:80_000])

    async def down(asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Never asked: see `running_toxic`."""

    return {
        "latency": latency, "down": down, "bandwidth": bandwidth, "slow_close": slow_close, "timeout": timeout,
        "reset_peer": reset_peer, "slicer": slicer, "limit_data": limit_data,
    }  # fmt: skip


async def _sliced(recording: Recording, asked: Asked, writer: asyncio.StreamWriter, size: int, pause_s: float) -> None:
    first, body = recording.answer(asked)
    writer.write(first)
    for at in range(0, len(body), size):
        writer.write(body[at : at + size])
        await writer.drain()
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def running_toxic(name: str, recording: Recording) -> AsyncIterator[Wire]:
    """A server of `recording` with the trouble of that name."""
    async with running_wire(toxics(recording)[name]) as wire:
        if name != "down":
            yield wire
    if name == "down":
        yield wire
