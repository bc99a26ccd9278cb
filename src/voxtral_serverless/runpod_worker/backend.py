"""The services in an event loop and a thread of their own, since RunPod's SDK brings its loop, late, and twice.

Promises: they start before the SDK is imported, and end with the block, whatever they are doing. Leaves out: their life
(`lifetime`), and what is asked of them (`handler`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from voxtral_serverless.lifetime import Lifetime
from voxtral_serverless.services import Services
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import StartUp, follow

Result = TypeVar("Result")


class Backend:
    """The services, and the loop that they live in. Made by `running_backend`.

    Attributes:
        startup: How long their start took.
    """

    def __init__(self, settings: Settings, startup: StartUp) -> None:
        self.startup = startup
        self._settings = settings
        self._begun: Future[None] = Future()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="services")

    @property
    def came_up(self) -> bool:
        """Whether they were ready once: what fails before that is a fault of the configuration."""
        return self._life.came_up

    def begun(self, timeout_s: float) -> None:
        """Wait until what has to start has been started, or cannot be, at most so long. Blocks."""
        self._started.wait(timeout_s)

    async def services(self) -> Services:
        """The services, which may still be starting; awaited in their own loop.

        Raises:
            VoxtralError: there never will be any.
        """
        return await self._life.services()

    def wait_for(self, work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
        """The result of `work` in the loop of the services. Blocks."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, done in the loop of the services; awaited in another one.

        A cancellation is handed on, and waits until `work` has ended there.
        """
        done: Future[Result] = Future()
        task: list[asyncio.Task[Result]] = []

        def begin() -> None:
            task.append(asyncio.ensure_future(work))
            task[0].add_done_callback(lambda ended: _pass_on(ended, done))

        def cancel() -> None:
            task[0].cancel()

        self._loop.call_soon_threadsafe(begin)
        result = asyncio.wrap_future(done)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(cancel)
            await asyncio.wait([result])
            raise

    def start(self) -> None:
        """Begin; the services need not be ready when this returns."""
        self._thread.start()
        self._begun.result()

    def stop(self) -> None:
        """End all of it, and wait until it has ended."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._life = Lifetime(self._settings)
        self._begun.set_result(None)
        follow(self.startup)
        life = asyncio.create_task(self._life.run(self._started.set))
        await self._end.wait()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


def _pass_on(ended: asyncio.Task[Result], done: Future[Result]) -> None:
    if ended.cancelled():
        done.cancel()
    elif error := ended.exception():
        done.set_exception(error)
    else:
        done.set_result(ended.result())


@contextmanager
def running_backend(settings: Settings, startup: StartUp) -> Iterator[Backend]:
    """The services, starting beside the block, ended with it."""
    backend = Backend(settings, startup)
    backend.start()
    try:
        yield backend
    finally:
        backend.stop()
