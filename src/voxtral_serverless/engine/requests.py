"""How a request is repeated: the one place that decides it, for transcription and chat alike.

Promises: at most so many requests of all jobs are in the engine at once; one that was lost with the engine waits for
its return and is asked anew. Whoever was in flight when the engine died may have killed it: each of those is asked
again alone, and one over which it dies a second time is given up. Leaves out a deadline: who cancels, ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from voxtral_serverless.engine.client import Engine, EngineClient, EngineLost
from voxtral_serverless.errors import KillsEngine, StageFailed

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""A request is made so often, where the engine fails without dying."""
MOST_DEATHS = 2
"""A request over which the engine died so often is given up."""
BACK_OFF_S = 0.5
Value = TypeVar("Value")


class Gate:
    """Requests pass together; one that may have killed the engine passes alone, so that it is known which it was."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = 0
        """Requests that pass alone, or wait to: nobody else goes in before them."""
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def passing(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for the turn of a request, and let it pass."""
        self._alone += alone
        try:
            while self._inside if alone else self._alone:
                await self._changed.wait()
            self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1
        finally:
            self._alone -= alone
            self._changed.set()
            self._changed = asyncio.Event()


class Requests:
    """Everything that is asked of `engine`, at most `most_at_once` at a time."""

    def __init__(self, engine: Engine, most_at_once: int) -> None:
        self.most_at_once = most_at_once
        self._engine = engine
        self._slots = asyncio.Semaphore(most_at_once)
        self._gate = Gate()

    async def answer(self, request: Callable[[EngineClient], Awaitable[Value]]) -> Value:
        """The answer to `request`, asked anew where it was lost.

        Raises:
            RequestRefused: as of the request.
            KillsEngine, StageFailed: the engine died over it twice, or failed too often without dying.
            EngineUnavailable: there is no engine, or none any more.
        """
        deaths = losses = 0
        while True:
            await self._engine.ready()
            async with self._slots, self._gate.passing(alone=deaths > 0):
                before = self._engine.deaths
                try:
                    return await request(self._engine.client)
                except EngineLost as error:
                    log.info("a request was lost: %s", error)
                # Who passes next finds a living engine, and is not blamed for a death that was there before.
                await self._engine.recovered()
            if self._engine.deaths > before:
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise KillsEngine("the engine dies over it: it is left out.")
            else:
                losses += 1
                if losses == ATTEMPTS:
                    raise StageFailed(f"the engine failed over it {ATTEMPTS} times.")
                await asyncio.sleep(BACK_OFF_S * 2**losses)
