"""A small Hugging Face Hub on loopback: one model repository and its CDN, which can refuse and break off."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

COMMIT = "3060fe34b35ba5d44202ce9ff3c097642914f8f3"
LARGE = 10_000
"""From so many bytes on, a file is kept with Git LFS and comes from the CDN."""


@dataclass
class Hub:
    """The routes that `huggingface_hub` takes for a model, over plain HTTP (no Xet).

    Attributes:
        token: The only token that may see the repository; None lets in who has none.
        gated: The repository's conditions are accepted by nobody.
        status: The Hub answers this to everything; `file_status` it answers about a single file.
        silent: The Hub takes requests and never answers.
        cuts: After how many bytes the next downloads from the CDN break off, in order.
        cdn_status: The CDN answers this once the cuts are used up.
        held: A download from the CDN waits here after half of its bytes; `waiting` is set then.
        requests: Method, path and headers of every request, in order.
    """

    files: Mapping[str, bytes]
    name: str = "mistralai/Voxtral-Mini-3B-2507"
    token: str | None = None
    gated: bool = False
    status: int | None = None
    file_status: int | None = None
    silent: bool = False
    cuts: list[int] = field(default_factory=list)
    cdn_status: int | None = None
    held: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    cdn_url: str = ""

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/api/models/{owner}/{repository}/revision/{revision}", self.info)
        app.router.add_get("/api/models/{owner}/{repository}/tree/{revision}", self.tree)
        app.router.add_get("/{owner}/{repository}/resolve/{revision}/{file}", self.resolve)
        app.router.add_get("/cdn/{sha256}", self.cdn)
        return app

    def downloaded(self) -> list[str]:
        """The names of the files whose content was asked for, in order."""
        names = {hashlib.sha256(content).hexdigest(): name for name, content in self.files.items()}
        got = [path.partition("?")[0].rpartition("/") for method, path, _ in self.requests if method == "GET"]
        return [names.get(last, last) for folder, _, last in got if folder == "/cdn" or "/resolve/" in folder]

    @web.middleware
    async def _gate(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        self.requests.append((request.method, request.raw_path, dict(request.headers)))
        if self.silent:
            await asyncio.sleep(60)
        refusal = None if request.path.startswith("/cdn/") else self._refusal(request)
        return refusal or await handler(request)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What the real Hub says, in its words: to who has no token, a missing repository is a 401 too."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        named = request.path.startswith((f"/api/models/{self.name}/", f"/{self.name}/"))
        if given and given != self.token:
            return _error(401, None, "Invalid credentials in Authorization header")
        if not named or (self.token and not given):
            return _error(404 if given else 401, "RepoNotFound", "Repository not found")
        if request.match_info["revision"] not in {"main", "v1", COMMIT}:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {request.match_info['revision']}")
        if self.gated and "/resolve/" in request.path:
            return _error(403 if given else 401, "GatedRepo", f"Access to model {self.name} is restricted.")
        status = self.status or (self.file_status if "/resolve/" in request.path else None)
        return _error(status, None, "no") if status else None

    async def info(self, request: web.Request) -> web.Response:
        files = [self._described("rfilename", name) for name in self.files]
        return web.json_response({"id": self.name, "sha": COMMIT, "private": False, "siblings": files})

    async def tree(self, request: web.Request) -> web.Response:
        return web.json_response([{"type": "file"} | self._described("path", name) for name in self.files])

    def _described(self, key: str, name: str) -> dict[str, object]:
        content = self.files[name]
        blob = hashlib.sha1(content).hexdigest()
        described: dict[str, object] = {key: name, "size": len(content), "oid": blob, "blobId": blob}
        if len(content) >= LARGE:
            sha256 = hashlib.sha256(content).hexdigest()
            described["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 134}
        return described

    async def resolve(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["file"])
        if content is None:
            return _error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if len(content) < LARGE:
            return web.Response(body=content, headers=headers)
        sha256 = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256}"'}
        raise web.HTTPFound(f"{self.cdn_url}/cdn/{sha256}?Signature=s3cr3t", headers=headers)

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        content = next(c for c in self.files.values() if hashlib.sha256(c).hexdigest() == request.match_info["sha256"])
        if self.cdn_status and not self.cuts:
            return web.Response(status=self.cdn_status)
        start = request.http_range.start or 0
        rest = content[start:]
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(rest)
        await response.prepare(request)
        if self.held:
            half, rest = rest[: len(rest) // 2], rest[len(rest) // 2 :]
            await response.write(half)
            self.waiting.set()
            await self.held.wait()
        if self.cuts:
            await response.write(rest[: self.cuts.pop(0)])
            assert request.transport is not None
            request.transport.close()
        else:
            await response.write(rest)
        return response


def _error(status: int, code: str | None, message: str) -> web.Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return web.json_response({"error": message}, status=status, headers=headers)


@asynccontextmanager
async def running_hub(hub: Hub) -> AsyncIterator[Hub]:
    """`hub` on a free port of 127.0.0.1, its CDN on another one of localhost: a host that must not see the token."""
    runner = web.AppRunner(hub.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    (_, port, *_), (_, cdn_port, *_) = runner.addresses
    hub.url, hub.cdn_url = f"http://127.0.0.1:{port}", f"http://localhost:{cdn_port}"
    try:
        yield hub
    finally:
        await runner.cleanup()
