"""Our own vLLM: started, watched, restarted, ended.

Promises: a death, whatever its exit status, and a freeze (requests wait, no token comes) are noticed, and the whole
engine is killed and started anew, with growing pauses, as often as the budget allows; after that it is dead, and
says so to who waits for it. An engine that never became ready is not tried again. Leaves out: the requests
themselves, and their repetition (`requests`); a server that is not ours (`external`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from voxtral_serverless.engine.client import EngineClient, EngineLost, RequestRefused, warm_up
from voxtral_serverless.engine.command import Launch
from voxtral_serverless.engine.machine import free_port
from voxtral_serverless.engine.process import EngineProcess, engine_process
from voxtral_serverless.engine.watchdog import WATCH_S, until_frozen
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration
from voxtral_serverless.startup import current

log = logging.getLogger(__name__)

RESTARTS, RESTARTS_WITHIN_S = 3, 600.0
"""So many restarts in so many seconds are tried."""
BACK_OFF_S = (1.0, 4.0, 16.0)
HEALTH_TIMEOUT_S = 10.0
LOOK_S = 0.1
"""Time between two looks at an engine that is starting: somebody waits for it."""
PORT_TRIES = 3
"""So often another port is tried, where somebody took ours between our look and the engine's."""
DRAIN_S = 10.0
"""What is in flight when the end is asked for has so long."""


class State(StrEnum):
    """Where the engine is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    DRAINING = "draining"
    DEAD = "dead"


class VllmServer:
    """A vLLM of our own, as an `Engine`.

    Attributes:
        client: Asks it; its address changes where a restart has to take another port.
        state: Where it is in its life.
        deaths: How often it has died, or was killed because it was frozen.
    """

    def __init__(
        self,
        launch_on: Callable[[int], Launch],
        client: EngineClient,
        *,
        port: int,
        start_timeout_s: float,
        freeze_timeout_s: float,
    ) -> None:
        self.client = client
        self.state = State.STARTING
        self.deaths = 0
        self.process: EngineProcess | None = None
        self._launch_on, self._port, self._port_tries = launch_on, port, PORT_TRIES
        self._start_timeout_s, self._freeze_timeout_s = start_timeout_s, freeze_timeout_s
        self._settled = asyncio.Event()
        self._failure: EngineUnavailable | None = None
        self._restarts: deque[float] = deque()

    async def ready(self) -> None:
        """Wait until it is ready.

        Raises:
            EngineUnavailable: it could not be started, or died too often.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise EngineUnavailable(self._failure.message, self._failure.details)

    async def recovered(self) -> None:
        """After a lost request: wait until it is well, restarted if need be.

        Raises:
            EngineUnavailable: it died too often.
        """
        while True:
            await self.ready()
            if await self.client.health(HEALTH_TIMEOUT_S) == 200:
                return
            await asyncio.sleep(WATCH_S / 4)

    async def run(self) -> None:
        """Start it and keep it running, until cancelled or dead."""
        try:
            while True:
                try:
                    await self._live()
                except (OSError, InvalidConfiguration) as error:
                    await self._not_begun(error)
        except EngineUnavailable as failure:
            self.die(failure)
        except Exception:
            log.exception("the engine's supervisor failed")
            self.die(EngineUnavailable("the engine's supervisor failed; the worker's log has the details."))

    async def drain(self) -> None:
        """Let what is in flight come to its end, for a moment."""
        self.state = State.DRAINING
        deadline = time.monotonic() + DRAIN_S
        while self.client.in_flight and time.monotonic() < deadline:  # noqa: ASYNC110 — a moment, at the very end
            await asyncio.sleep(WATCH_S / 10)

    def die(self, failure: EngineUnavailable) -> None:
        """Be dead; who waits, and who comes, is told why."""
        self.state = State.DEAD
        self._failure = failure
        self._settled.set()

    async def _live(self) -> None:
        """One life, to its end, and the pause before the next.

        Raises:
            EngineUnavailable: there is no next one.
        """
        port = free_port(self._port)
        self.client.url = f"http://127.0.0.1:{port}"
        async with engine_process(self._launch_on(port)) as process:
            self.process = process
            reason = await _first_of(_ended(process), self._serve(process))
            if self._settled.is_set():  # noted before it is killed, so that nobody takes it for ready meanwhile
                self._settled.clear()
                self.deaths += 1
                self.state = State.RESTARTING
        if self.state is State.RESTARTING:
            await self._pause(reason, process.cause(), process.last_lines())
        elif _port_was_taken(process) and self._port_tries:
            self._port_tries -= 1
            self._port = port + 1
        else:
            raise _not_started(process, reason)

    async def _serve(self, process: EngineProcess) -> str:
        """Wait until it is ready, then watch it. Answers what is wrong with it."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._come_up(process)
        except TimeoutError:
            return f"it was not ready within {self._start_timeout_s:.0f} s (ENGINE_START_TIMEOUT_S)"
        except (EngineLost, RequestRefused, EngineUnavailable) as error:
            return f"it failed its first transcription ({error})"
        log.info("the engine is ready after %.0f s, process group %d.", time.monotonic() - started, process.group)
        self.state = State.READY
        self._settled.set()
        return await _first_of(self._until_unwell(), until_frozen(self.client, self._freeze_timeout_s))

    async def _come_up(self, process: EngineProcess) -> None:
        """Wait until it answers, and have it transcribe once."""
        startup = current()
        with startup.phase("engine_process"):
            while not await self._answers():  # noqa: ASYNC110 — another process
                await asyncio.sleep(LOOK_S)
        for name, took_s in process.boot_log.phases.items():
            startup.note(f"engine_{name}", took_s)
        with startup.phase("engine_warm_up"):
            await warm_up(self.client)

    async def _answers(self) -> bool:
        """Whether it is our engine that answers: somebody may have taken the port, which ours is about to find out."""
        if await self.client.health(HEALTH_TIMEOUT_S) == 200:
            with suppress(EngineLost, EngineUnavailable):
                return self.client.model in await self.client.models()
        return False

    async def _until_unwell(self) -> str:
        """The API server may outlive its core, or be there and answer nobody. One that is slow in a burst is well."""
        limit_s, well_at = self._freeze_timeout_s, time.monotonic()
        while True:
            status = await self.client.health(min(HEALTH_TIMEOUT_S, limit_s / 2))
            if status == 503:
                return "its core died"
            if status == 200:
                well_at = time.monotonic()
            elif time.monotonic() - well_at > limit_s:
                return f"it has not answered for {limit_s:.0f} s"
            await asyncio.sleep(min(WATCH_S, limit_s / 4))

    async def _not_begun(self, error: OSError | InvalidConfiguration) -> None:
        """A life could not even begin, for want of room or of processes. Another one may, where one has before.

        Raises:
            EngineUnavailable: there is no next one.
        """
        reason = error.message if isinstance(error, InvalidConfiguration) else error.strerror or type(error).__name__
        if self.state is not State.RESTARTING:
            raise EngineUnavailable(f"the engine cannot be started: {reason}") from error
        await self._pause(f"it could not be started: {reason}", "", "")

    async def _pause(self, reason: str, cause: str, last_lines: str) -> None:
        """Wait before the next life.

        Raises:
            EngineUnavailable: the budget of restarts is spent.
        """
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > RESTARTS_WITHIN_S:
            self._restarts.popleft()
        if len(self._restarts) >= RESTARTS:
            log.error("the engine's last words:\n%s", last_lines)
            raise EngineUnavailable(
                f"the engine died {RESTARTS + 1} times in {RESTARTS_WITHIN_S / 60:.0f} minutes, the last time because "
                f"{reason}: this worker gives up.",
                last_lines,
            )
        pause_s = BACK_OFF_S[len(self._restarts)] * random.uniform(1.0, 1.25)  # noqa: S311 — no secret
        self._restarts.append(now)
        log.warning("the engine is restarted in %.1f s: %s. %s", pause_s, reason, cause)
        await asyncio.sleep(pause_s)


async def _ended(process: EngineProcess) -> str:
    return await asyncio.shield(process.ended)


async def _first_of(*works: Awaitable[str]) -> str:
    """The answer of the first to have one; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _port_was_taken(process: EngineProcess) -> bool:
    return "address already in use" in process.last_lines().lower()


def _not_started(process: EngineProcess, reason: str) -> EngineUnavailable:
    log.error("the engine's last words:\n%s", process.last_lines())
    cause = process.cause()
    return EngineUnavailable(f"the engine did not start: {cause or reason}.", process.last_lines())


@asynccontextmanager
async def vllm_server(server: VllmServer) -> AsyncIterator[VllmServer]:
    """Run `server` beside the block; when it is left, nothing of the engine stays."""
    task = asyncio.create_task(server.run())
    try:
        yield server
        await server.drain()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.die(EngineUnavailable("the engine has been stopped."))
        await server.client.close()
