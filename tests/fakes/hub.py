"""A small Hugging Face Hub on loopback: repositories of models and of data sets, and their CDN, which can refuse and break off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

COMMIT = "3060fe34b35ba5d44202ce9ff3c097642914f8f3"
LARGE = 10_000
"""From so many bytes on, a file is kept with Git LFS and comes from the CDN."""


NARROW = (
    "Please enable access to public gated repositories in your fine-grained token settings to view this repository."
)


@dataclass
class Hosted:
    """A model repository.

    Attributes:
        files: By their paths in it.
        commit: Where its branches `main` and `v1` are.
        private: Only who has the Hub's token sees it.
        gated: It has conditions to accept: everybody may read what is in it, but not its files.
        accepted: The account of the Hub's token has accepted them.
    """

    files: Mapping[str, bytes]
    commit: str = COMMIT
    private: bool = False
    gated: bool = False
    accepted: bool = False


@dataclass
class Hub:
    """The routes that `huggingface_hub` takes for models and data sets, over plain HTTP (no Xet).

    Attributes:
        models: What it has, by name; a data set's begins with `datasets/`.
        token: The only token that it knows.
        fine_grained: The token is one, without the right to read gated repositories.
        status: The Hub answers this to everything; `file_status` it answers about a single file.
        silent: The Hub takes requests and never answers.
        cuts: After how many bytes the next downloads from the CDN break off, in order.
        cdn_status: The CDN answers this once the cuts are used up.
        held: A download from the CDN waits here after half of its bytes; `waiting` is set then.
        requests: Method, path and headers of every request, in order.
    """

    models: dict[str, Hosted]
    token: str | None = None
    fine_grained: bool = False
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
        app.router.add_get("/{owner}/{repository}/resolve/{revision}/{file:.+}", self.resolve)
        app.router.add_get("/api/{kind:datasets}/{owner}/{repository}/revision/{revision}", self.info)
        app.router.add_get("/{kind:datasets}/{owner}/{repository}/resolve/{revision}/{file:.+}", self.resolve)
        app.router.add_get("/cdn/{kind:datasets}/{owner}/{repository}/{file:.+}", self.cdn)
        app.router.add_get("/cdn/{owner}/{repository}/{file:.+}", self.cdn)
        return app

    def downloaded(self) -> list[str]:
        """The files whose content was asked for, in order: `owner/repository/file`."""
        asked = [path.partition("?")[0] for method, path, _ in self.requests if method == "GET"]
        files = [re.fullmatch("/cdn/(.+)|/(.+/.+)/resolve/[^/]+/(.+)", path) for path in asked]
        return ["/".join(filter(None, file.groups())) for file in files if file]

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
        model = self.models.get(_name(request))
        if given and given != self.token:
            return _error(401, None, "Invalid credentials in Authorization header")
        if model is None or (model.private and not given):
            return _error(404 if given else 401, "RepoNotFound", "Repository not found")
        if request.match_info["revision"] not in {"main", "v1", model.commit}:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {request.match_info['revision']}")
        if "/resolve/" in request.path and model.gated and (refusal := self._gated(model, given)):
            return refusal
        status = self.status or (self.file_status if "/resolve/" in request.path else None)
        return _error(status, None, "no") if status else None

    def _gated(self, model: Hosted, given: str) -> web.Response | None:
        if given and self.fine_grained:
            return _error(403, None, NARROW)
        if given and model.accepted:
            return None
        return _error(403 if given else 401, "GatedRepo", "Access to this model is restricted.")

    async def info(self, request: web.Request) -> web.Response:
        model = self.models[_name(request)]
        files = [_described("rfilename", name, content) for name, content in model.files.items()]
        return web.json_response({"id": _name(request), "sha": model.commit, "private": False, "siblings": files})

    async def tree(self, request: web.Request) -> web.Response:
        files = self.models[_name(request)].files.items()
        return web.json_response([{"type": "file"} | _described("path", name, content) for name, content in files])

    async def resolve(self, request: web.Request) -> web.Response:
        model, file = self.models[_name(request)], request.match_info["file"]
        content = model.files.get(file)
        if content is None:
            return _error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": model.commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if len(content) < LARGE:
            return web.Response(body=content, headers=headers)
        sha256 = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256}"'}
        raise web.HTTPFound(f"{self.cdn_url}/cdn/{_name(request)}/{file}?Signature=s3cr3t", headers=headers)

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        content = self.models[_name(request)].files[request.match_info["file"]]
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


def _name(request: web.Request) -> str:
    parts = (request.match_info.get(part) for part in ("kind", "owner", "repository"))
    return "/".join(filter(None, parts))


def _described(key: str, name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(content).hexdigest()
    described: dict[str, object] = {key: name, "size": len(content), "oid": blob, "blobId": blob}
    if len(content) >= LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        described["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 134}
    return described


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


@contextmanager
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No cache, proxy or Hub of the machine reaches the block; nobody listens at its own Hub."""
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    yield
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import close_session

        close_session()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with `files` in it."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def cache(root: Path, files: Mapping[str, bytes], *, name: str, commit: str = COMMIT, main: str = "") -> Path:
    """A snapshot in a cache; the repository's `main` is written down where given."""
    folder = root / f"models--{name.replace('/', '--')}"
    if main:
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(main)
    return write(folder / "snapshots" / commit, files)
