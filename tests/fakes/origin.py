"""A small web server on loopback that holds recordings, and can misbehave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

BODY = bytes(range(256)) * 1000


class Origin:
    """Routes by name: `/ok`, `/status/404`, `/html`, `/gzip`, `/never`, `/drip`, `/endless`, `/cut`, `/to?url=…`, `/loop`.

    Attributes:
        requests: The headers of every request, in order.
        targets: The path and query of every request, byte for byte.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.requests: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.url = ""

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/ok", self.ok)
        app.router.add_get("/status/{status}", self.status)
        app.router.add_get("/html", self.html)
        app.router.add_get("/gzip", self.gzip)
        app.router.add_get("/never", self.never)
        app.router.add_get("/drip", self.drip)
        app.router.add_get("/endless", self.endless)
        app.router.add_get("/cut", self.cut)
        app.router.add_get("/to", self.to)
        app.router.add_get("/loop", self.loop)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        self.requests.append(dict(request.headers))
        self.targets.append(request.raw_path)
        return await handler(request)  # type: ignore[no-any-return]

    async def ok(self, request: web.Request) -> web.Response:
        return web.Response(body=self.body, content_type="audio/ogg")

    async def status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), text="no")

    async def html(self, request: web.Request) -> web.Response:
        return web.Response(text="<html>log in</html>", content_type="text/html")

    async def gzip(self, request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(self.body), headers={"Content-Encoding": "gzip"})

    async def never(self, request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """One byte each tenth of a second: no single wait is long, the whole is."""
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        for _ in range(600):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """No length announced, and far too much."""
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 100_000)
        return response

    async def cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        assert request.transport is not None
        request.transport.close()
        return response

    async def to(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.query["url"]})

    async def loop(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/loop"})


@asynccontextmanager
async def running_origin(body: bytes = BODY) -> AsyncIterator[Origin]:
    """An origin on a free port of 127.0.0.1."""
    origin = Origin(body)
    runner = web.AppRunner(origin.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    origin.url = f"http://{host}:{port}"
    try:
        yield origin
    finally:
        await runner.cleanup()
