"""A small S3 on loopback: keeps objects, checks signatures by its own reckoning, and can misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

ACCESS_ID, ACCESS_SECRET = "AKIA0123456789ABCDEF", "s3cr3t/Key+of=the+bucket"


@dataclass
class S3:
    """The routes PUT and GET of an object, by Signature Version 4 in the headers or in the query.

    Attributes:
        name: The one bucket that it has.
        statuses: It answers these to the next requests, in order.
        silent: It takes requests and never answers; `waiting` is set then.
        objects: What was put, by key; `content_types` likewise.
        requests: Method and raw path with query of every request, in order.
        regions: For which region each request was signed.
    """

    name: str = "answers"
    statuses: list[int] = field(default_factory=list)
    silent: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    objects: dict[str, bytes] = field(default_factory=dict)
    content_types: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    url: str = ""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.raw_path))
        if self.silent:
            self.waiting.set()
            await asyncio.sleep(60)
        if self.statuses:
            status = self.statuses.pop(0)
            return web.Response(status=status, headers={"Location": f"{self.url}/elsewhere"}, text="<Error/>")
        body = await request.read()
        if not self._signed(request, body):
            return web.Response(status=403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        bucket, _, key = request.path.lstrip("/").partition("/")
        if bucket != self.name:
            return web.Response(status=404, text="<Error><Code>NoSuchBucket</Code></Error>")
        return self._put(key, body, request) if request.method == "PUT" else self._get(key)

    def _put(self, key: str, body: bytes, request: web.Request) -> web.Response:
        self.objects[key], self.content_types[key] = body, request.content_type
        return web.Response()

    def _get(self, key: str) -> web.Response:
        if key not in self.objects:
            return web.Response(status=404)
        return web.Response(body=self.objects[key], content_type=self.content_types[key])

    def _signed(self, request: web.Request, body: bytes) -> bool:
        parts = urlsplit(request.raw_path)
        pairs = sorted(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
        query = dict(pairs)
        if "X-Amz-Signature" in query:
            signature, date, payload = query["X-Amz-Signature"], query["X-Amz-Date"], "UNSIGNED-PAYLOAD"
            scope, names = query["X-Amz-Credential"].replace("%2F", "/"), query["X-Amz-SignedHeaders"]
        elif "Authorization" in request.headers:
            given = dict(
                part.strip().partition("=")[::2]
                for part in request.headers["Authorization"].partition(" ")[2].split(",")
            )
            signature, scope, names = given["Signature"], given["Credential"], given["SignedHeaders"]
            date, payload = request.headers["X-Amz-Date"], request.headers["X-Amz-Content-SHA256"]
            if payload != hashlib.sha256(body).hexdigest():
                return False
        else:
            return False
        self.regions.append(scope.split("/")[2])
        headers = [f"{name}:{request.headers[name].strip()}" for name in names.split(";")]
        unsigned = "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")
        canonical = "\n".join([request.method, parts.path, unsigned, *headers, "", names, payload])
        return hmac.compare_digest(signature, _signature(canonical, date, scope))


def _signature(canonical: str, date: str, scope: str) -> str:
    """By the four steps that Amazon documents, with the one secret that there is."""
    access_id, _, rest = scope.partition("/")
    key = (f"AWS4{ACCESS_SECRET}" if access_id == ACCESS_ID else "nobody's").encode()
    for part in rest.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", date, rest, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.digest(key, text.encode(), "sha256").hex()


@asynccontextmanager
async def running_s3() -> AsyncIterator[S3]:
    """An empty S3 on a free port of 127.0.0.1."""
    s3 = S3()
    runner = web.AppRunner(s3.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ((_, port, *_),) = runner.addresses
    s3.url = f"http://127.0.0.1:{port}"
    try:
        yield s3
    finally:
        await runner.cleanup()
