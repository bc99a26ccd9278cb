"""The service: its sockets, its jobs, its engine, in the order in which they begin and end.

It listens before anything is loaded. At the end nothing new is taken, the jobs under way go back to their place in the
queue, and the engine ends last.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.http_api.access import Gate, check_exposure
from voxtral_serverless.http_api.app import make_app
from voxtral_serverless.http_api.dependencies import Parts
from voxtral_serverless.http_api.desk import JobDesk
from voxtral_serverless.http_api.metrics import Metrics
from voxtral_serverless.http_api.service_routes import ping
from voxtral_serverless.http_api.store import data_folder, open_store
from voxtral_serverless.http_api.webhooks import deliver_webhooks
from voxtral_serverless.http_api.work import Work
from voxtral_serverless.lifetime import EngineState, Lifetime
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import StartUp, follow, process_began
from voxtral_serverless.workspace import sweep_leftovers

log = logging.getLogger(__name__)

WATCH_S = 2.0
LAST_S = 5
"""Open connections have so long at the end."""
KEEP_ALIVE_S = 75


def run_server(settings: Settings) -> int:
    """Serve until the process is asked to end; its exit status: 1 where the engine died, and a new start may help.

    Raises:
        InvalidConfiguration: it cannot listen, or should not, or has no place for its jobs.
    """
    check_exposure(settings, log.warning)
    sweep_leftovers()
    with _listening(settings.host, settings.port) as sockets, _health_socket(settings) as health:
        return asyncio.run(_serve(settings, sockets, health))


async def _serve(settings: Settings, sockets: Sequence[socket.socket], health: Sequence[socket.socket]) -> int:
    follow(StartUp(process_began()))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _running_parts(settings) as parts, AsyncExitStack() as servers:
        await servers.enter_async_context(_answering(make_app(parts), sockets))
        if health:
            await servers.enter_async_context(_answering(_health_app(parts), health))
        log.info("listening on %s", ", ".join(f"http://{_name(one)}" for one in sockets))
        async with _jobs_done(parts):
            return await _until(stop, parts.desk.engine)


async def _until(stop: asyncio.Event, engine: Lifetime) -> int:
    """Wait for the end. An engine that has lived, and died for good, is one."""
    while not stop.is_set():
        if engine.came_up and await engine.state() is EngineState.DEAD:
            log.error("the engine is beyond help: the service ends; its jobs are kept for the next start")
            return 1
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                await stop.wait()
    log.info("asked to end")
    return 0


@asynccontextmanager
async def _running_parts(settings: Settings) -> AsyncIterator[Parts]:
    """What the routes work with. The engine starts beside the block, and ends with it."""
    folder = data_folder(settings)
    async with open_store(folder) as store:
        uploads = folder / "uploads"
        uploads.mkdir(mode=0o700, exist_ok=True)
        engine, metrics = Lifetime(settings), Metrics()
        desk = JobDesk(store, uploads, engine, settings, metrics)
        await desk.recover()
        async with _beside(engine.run()):
            yield Parts(desk, Gate(settings), metrics)


@asynccontextmanager
async def _jobs_done(parts: Parts) -> AsyncIterator[None]:
    """Jobs are done, and webhooks called, beside the block."""
    desk = parts.desk
    works = (Work(desk).run(), deliver_webhooks(desk.store, AddressPolicy.of(desk.settings)))
    async with together() as tasks:
        running = [tasks.create_task(work) for work in works]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


@asynccontextmanager
async def _beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` beside the block, and end it with that."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _Server(uvicorn.Server):
    """uvicorn without its hand on the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _answering(app: ASGIApp, sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
    """HTTP on `sockets`, from when the block is entered."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    while not (server.started or serving.done()):  # noqa: ASYNC110 — it has no event for that
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _health_app(parts: Parts) -> ASGIApp:
    app = FastAPI(openapi_url=None)
    app.state.parts = parts
    app.add_api_route("/ping", ping, methods=["GET", "HEAD"])
    return app


@contextmanager
def _health_socket(settings: Settings) -> Iterator[list[socket.socket]]:
    if settings.port_health in (None, settings.port):
        yield []
        return
    with _listening(settings.host, settings.port_health or 0) as sockets:
        yield sockets


@contextmanager
def _listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """The sockets of an address.

    Raises:
        InvalidConfiguration: they cannot be had.
    """
    with ExitStack() as sockets:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            opened = [_opened(sockets, *one) for one in (found if port else found[:1])]
        except OSError as error:
            raise InvalidConfiguration(
                f"HOST={host}, PORT={port}: cannot be listened on ({error.strerror})."
            ) from error
        yield opened


def _opened(sockets: ExitStack, family: int, kind: int, protocol: int, _: str, address: Any) -> socket.socket:
    one = sockets.enter_context(socket.socket(family, kind, protocol))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and address[0] != "::":  # which is every address there is, IPv4's too
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(address)
    one.listen(2048)
    return one


def _name(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
