"""The services of a door that stays open: started once, told of to every job, ended with it.

Promises: a fault of the configuration is kept, and told to whoever asks; nothing of the services is left when `run` has
ended. Leaves out: the loop that it runs in (the doors'), and what is asked of the services.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum

from voxtral_serverless.errors import EngineUnavailable, VoxtralError, public_error
from voxtral_serverless.services import Services, running_services
from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

GLANCE_S = 0.05
"""An engine that is well says so at once."""


class EngineState(StrEnum):
    """Whether jobs can be done: `starting` also where the engine is being started anew."""

    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"


class Lifetime:
    """The services from their start to their end. Made in the loop that they live in.

    Attributes:
        came_up: Whether they were ready once: what fails before that is a fault of the configuration.
        failure: Why there never will be any, where that is so.
    """

    def __init__(self, settings: Settings) -> None:
        self.came_up = False
        self.failure: VoxtralError | None = None
        self._settings = settings
        self._services: asyncio.Future[Services] = asyncio.get_running_loop().create_future()

    async def services(self) -> Services:
        """The services, which may still be starting.

        Raises:
            VoxtralError: there never will be any.
        """
        if self.failure is not None:
            raise self.failure
        return await asyncio.shield(self._services)

    async def state(self) -> EngineState:
        """How they are, now."""
        if self.failure is not None:
            return EngineState.DEAD
        if not self.came_up:
            return EngineState.STARTING
        services = await self.services()
        try:
            async with asyncio.timeout(GLANCE_S):
                await services.well()
        except TimeoutError:
            return EngineState.STARTING
        except EngineUnavailable as error:
            self.failure = error
            return EngineState.DEAD
        return EngineState.READY

    async def run(self, begun: Callable[[], None] = lambda: None) -> None:
        """Hold them until this is cancelled. `begun` is called when what has to start has been started, or cannot be."""
        try:
            async with running_services(self._settings, may_fall_back=False) as services:
                self._services.set_result(services)
                begun()
                await self._come_up(services)
                await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001 — it is told to every job
            self._fail(error)
            if not self._services.done():
                self._services.set_exception(public_error(error))
                self._services.exception()  # told to every job, of which there may be none
            begun()
            await asyncio.Event().wait()

    async def _come_up(self, services: Services) -> None:
        """Wait until the services are ready. That they never will be is known at once, before what they left is ended."""
        try:
            await services.ready()
        except Exception as error:
            self._fail(error)
            raise
        self.came_up = True
        log.info("ready for jobs")

    def _fail(self, error: Exception) -> None:
        if self.failure is not None:
            return
        if isinstance(error, VoxtralError):
            log.error("no job can be done: %s", error)
        else:
            log.error("the services failed to start", exc_info=error)
        self.failure = public_error(error)
