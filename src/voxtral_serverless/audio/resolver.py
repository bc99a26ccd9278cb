"""Names to addresses by the system's resolver, in threads that nobody waits for: a lookup cannot be ended, and a mute name
server may take a quarter of a minute over it.
"""

from __future__ import annotations

import socket
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

from voxtral_serverless.concurrency import in_daemon_thread

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class SystemResolver(AbstractResolver):
    """The system's: it knows /etc/hosts, and says whether a name exists."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`.

        Raises:
            OSError: there are none.
        """
        ask = partial(
            socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=NUMERIC
            )
            for kind, _, protocol, _, address in await in_daemon_thread(ask)
        ]

    async def close(self) -> None:
        """Nothing is held."""
