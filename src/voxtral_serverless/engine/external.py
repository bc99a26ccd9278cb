"""A vLLM that is already there (`VLLM_BASE_URL`): watched, never started, restarted or killed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxtral_serverless.engine.client import EngineClient, EngineLost, RequestRefused, warm_up
from voxtral_serverless.engine.watchdog import WATCH_S, until_frozen
from voxtral_serverless.errors import EngineUnavailable

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""A server that does not answer at first is waited for so long; one that went away, for the freeze timeout."""
UNREACHABLE = "the server at VLLM_BASE_URL cannot be reached: is it running, is the address right?"


class ExternalServer:
    """A server of somebody else, as an `Engine`.

    Attributes:
        deaths: Always 0: whether it died, and over which request, is not ours to know.
    """

    def __init__(self, client: EngineClient, *, freeze_timeout_s: float) -> None:
        self.client = client
        self.deaths = 0
        self._freeze_timeout_s = freeze_timeout_s
        self._known = False
        self._asking = asyncio.Lock()

    async def ready(self) -> None:
        """Wait until it has made one transcription for us.

        Raises:
            EngineUnavailable: it cannot be reached, refuses our key, or has no model that transcribes.
        """
        async with self._asking:
            deadline, warned = time.monotonic() + PATIENCE_S, False
            while not self._known:
                try:
                    self.client.model = choose_model(await self.client.models(), self.client.model)
                    await warm_up(self.client)
                    self._known = True
                except RequestRefused as error:
                    raise EngineUnavailable(f"the server at VLLM_BASE_URL does not transcribe ({error}).") from error
                except EngineLost as error:
                    if time.monotonic() > deadline:
                        raise EngineUnavailable(UNREACHABLE) from error
                    if not warned:
                        log.warning("the server at VLLM_BASE_URL is waited for, up to %.0f s (%s).", PATIENCE_S, error)
                    warned = True
                    await asyncio.sleep(WATCH_S)

    async def recovered(self) -> None:
        """After a lost request: wait until it answers again.

        Raises:
            EngineUnavailable: it does not for as long as a frozen engine is borne with.
        """
        deadline = time.monotonic() + self._freeze_timeout_s
        while (status := await self.client.health()) is None or status >= 500:
            if time.monotonic() > deadline:
                raise EngineUnavailable(UNREACHABLE)
            await asyncio.sleep(WATCH_S)

    async def watch(self) -> None:
        """Where it is frozen, drop the requests that wait for it: they are asked anew."""
        while True:
            reason = await until_frozen(self.client, self._freeze_timeout_s)
            log.warning("the server at VLLM_BASE_URL: %s; they are asked anew.", reason)
            await self.client.close()


def choose_model(models: list[str], wanted: str) -> str:
    """The name to ask for: the wanted one where it is served, else the only one that is.

    Raises:
        EngineUnavailable: several are served, and none is the wanted one.
    """
    if wanted in models:
        return wanted
    if len(models) == 1:
        return models[0]
    raise EngineUnavailable(
        f"the server at VLLM_BASE_URL serves {', '.join(map(repr, models)) or 'nothing'}: set VOXTRAL_MODEL to the one to use."
    )


@asynccontextmanager
async def external_server(server: ExternalServer) -> AsyncIterator[ExternalServer]:
    """Watch `server` beside the block."""
    task = asyncio.create_task(server.watch())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.client.close()
