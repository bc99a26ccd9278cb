"""A name server on loopback that may change its mind, and roads from public addresses to servers on loopback.

Inside `running_internet` the process asks this name server, by real DNS messages over UDP, and what is dialled goes
where `roads` lead: so that a public address can be dialled in a test, and no packet leaves the machine. Everything
between, the product's own policy first of all, is as it always is. Knows A records only.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

Place = tuple[str, int]
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183


@dataclass
class Internet:
    """What is out there.

    Attributes:
        names: The addresses that each lookup of a name gives, in order; the last of them from then on.
        roads: Where on loopback an address and port is.
        lookups: Every name that was asked for.
        dialled: Every address and port that was dialled.
    """

    names: dict[str, list[str]]
    roads: dict[Place, Place] = field(default_factory=dict)
    lookups: list[str] = field(default_factory=list)
    dialled: list[Place] = field(default_factory=list)

    def address_of(self, name: str) -> str | None:
        """The answer to the next lookup of `name`."""
        self.lookups.append(name)
        addresses = self.names.get(name.rstrip(".").lower(), [])
        return addresses[min(self.lookups.count(name), len(addresses)) - 1] if addresses else None


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, internet: Internet) -> None:
        self._internet = internet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = data[12:]
        address = self._internet.address_of(_name_in(question))
        flags, count = (NO_SUCH_NAME, 0) if address is None else (ANSWER, 1)
        answer = data[:2] + struct.pack(">5H", flags, 1, count, 0, 0) + question
        if address is not None:  # the name of the question, A, IN, 0 s to live, 4 bytes
            answer += struct.pack(">3HIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
        self._transport.sendto(answer, addr)


def _name_in(question: bytes) -> str:
    labels, at = [], 0
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels)


def ask(server: Place, name: str) -> str:
    """The address of `name`, as this name server says now. Blocks."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    number = secrets.token_bytes(2)
    query = number + struct.pack(">5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        asking.sendto(query, server)
        answer = asking.recv(512)
    assert answer[:2] == number
    if struct.unpack(">H", answer[6:8]) == (0,):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return socket.inet_ntoa(answer[-4:])


def _resolver(server: Place, real: Callable[..., Any]) -> Callable[..., Any]:
    """`socket.getaddrinfo`, by that server."""

    def getaddrinfo(host: str, port: Any, *arguments: Any, **named: Any) -> Any:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            named.pop("flags", None)
            return real(ask(server, host), port, *arguments, **named)
        return real(host, port, *arguments, **named)

    return getaddrinfo


@asynccontextmanager
async def running_internet(internet: Internet) -> AsyncIterator[Internet]:
    """Names and roads of `internet`, for this process and its event loop, until the block ends."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(internet), local_addr=("127.0.0.1", 0))
    real, connect = socket.getaddrinfo, loop.sock_connect

    async def take_road(sock: socket.socket, address: Any) -> None:
        internet.dialled.append(address[:2])
        if address[:2] not in internet.roads:
            raise OSError(errno.ENETUNREACH, "no road leads there")
        await connect(sock, internet.roads[address[:2]])

    socket.getaddrinfo = _resolver(transport.get_extra_info("sockname"), real)
    loop.sock_connect = take_road  # type: ignore[method-assign]
    try:
        yield internet
    finally:
        socket.getaddrinfo = real
        del loop.sock_connect
        transport.close()
