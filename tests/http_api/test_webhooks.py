"""Who asked to be told is told: what is posted, when again, and where never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.nameserver import Internet, running_internet
from tests.http_api.near import TICKS, Near, inline, near_service, rows
from tests.test_child import eventually
from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.errors import InvalidJob
from voxtral_serverless.http_api import webhooks
from voxtral_serverless.http_api.records import Outcome, Status
from voxtral_serverless.http_api.store import JobStore, open_store
from voxtral_serverless.http_api.webhooks import checked_webhook, deliver_webhooks

PUBLIC, LOOPBACK = "8.8.8.8", "127.0.0.1"
OPEN = AddressPolicy(allow_private=True)


@dataclass
class Listener:
    """Takes what is posted; each answer has the next of these statuses, and the last from then on."""

    statuses: list[int] = field(default_factory=lambda: [200])
    posts: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    place: tuple[str, int] = (LOOPBACK, 0)

    async def take(self, request: web.Request) -> web.Response:
        assert (request.method, request.content_type) == ("POST", "application/json") or not request.can_read_body
        self.posts.append(await request.json() if request.can_read_body else {})
        status = self.statuses[min(len(self.posts), len(self.statuses)) - 1]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def listening(*statuses: int) -> AsyncIterator[Listener]:
    """A listener on a free port of loopback."""
    listener = Listener(list(statuses) or [200])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", listener.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    listener.place = runner.addresses[0][:2]
    listener.url = "http://{}:{}/hook".format(*listener.place)
    try:
        yield listener
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(webhooks, "PAUSES_S", (0.1, 0.1, 0.1))
    monkeypatch.setattr(webhooks, "LOOK_S", 0.02)


@asynccontextmanager
async def delivering(store: JobStore, policy: AddressPolicy = OPEN) -> AsyncIterator[None]:
    """Webhooks are called beside the block."""
    task = asyncio.create_task(deliver_webhooks(store, policy))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def finished(store: JobStore, url: str, job_id: str = "one") -> None:
    """A job that is over, and wants to be told of there."""
    await store.add(job_id, {"input": {}}, webhook=url, max_waiting=9)
    await store.finish(job_id, Outcome(Status.COMPLETED, {"text": "é \ud83d"}))


async def told(near: Near, listener: Listener, job_id: str) -> str:
    """The status in the one post for a job, which says what `/status` says."""
    assert await eventually(lambda: any(post["id"] == job_id for post in listener.posts), 10)
    await asyncio.sleep(0.3)
    [post] = [post for post in listener.posts if post["id"] == job_id]
    assert post == await near.status(job_id)
    return str(post["status"])


async def test_all_ends_are_told(tmp_path: Path) -> None:
    async with (
        listening() as listener,
        silent() as never,
        near_service(tmp_path, fetch_allow_private=True, max_concurrency=1) as near,
    ):
        hook = {"webhook": listener.url}
        fine = await near.run(inline(TICKS) | hook)
        broken = await near.run(inline(b"no recording") | hook)
        assert await told(near, listener, fine) == "COMPLETED"
        assert await told(near, listener, broken) == "FAILED"
        hangs = await near.run({"input": {"audio_url": never}} | hook)
        await near.until(hangs, "IN_PROGRESS")
        waits = await near.send(webhook=listener.url)
        await near.client.post(f"/cancel/{waits}")
        assert await told(near, listener, waits) == "CANCELLED"
        purged = await near.run(inline(TICKS) | hook)
        await near.client.post("/purge-queue")
        assert await told(near, listener, purged) == "CANCELLED"
        await near.client.post(f"/cancel/{hangs}")
        assert await told(near, listener, hangs) == "CANCELLED"
        assert len({post["id"] for post in listener.posts}) == len(listener.posts) == 5


async def test_told_again_until_taken_and_then_no_more(tmp_path: Path) -> None:
    async with listening(500, 302, 204) as listener, open_store(tmp_path) as store, delivering(store):
        await finished(store, listener.url)
        assert await eventually(lambda: len(listener.posts) == 3, 10)
        await asyncio.sleep(0.5)
        assert len(listener.posts) == 3
        assert listener.posts[0] == listener.posts[2]


async def test_given_up(tmp_path: Path) -> None:
    async with listening(500) as listener, open_store(tmp_path) as store, delivering(store):
        await finished(store, listener.url)
        assert await eventually(lambda: len(listener.posts) == 4, 10)
        await asyncio.sleep(0.5)
        assert len(listener.posts) == 4


async def test_told_after_a_restart(tmp_path: Path) -> None:
    async with listening(500, 200) as listener:
        async with open_store(tmp_path) as store, delivering(store):
            await finished(store, listener.url)
            assert await eventually(lambda: len(listener.posts) == 1, 10)
        async with open_store(tmp_path) as store, delivering(store):
            await store.recover(3)
            assert await eventually(lambda: len(listener.posts) == 2, 10)


async def test_one_that_hangs_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with listening() as listener, open_store(tmp_path) as store, silent() as url:
        for number in range(3):
            await finished(store, url, f"silent-{number}")
        await finished(store, listener.url)
        async with delivering(store):
            assert await eventually(lambda: len(listener.posts) == 1, 10)


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of one who never answers."""
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), LOOPBACK, 0)
    try:
        yield "http://{}:{}/".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in connections:
            writer.close()


@pytest.mark.parametrize("address", [LOOPBACK, "169.254.169.254", "10.0.0.1"])
async def test_name_that_leads_inside_is_not_dialled(address: str, tmp_path: Path) -> None:
    """The name looks public, and is taken; where it leads is seen when it is dialled."""
    async with listening() as listener, open_store(tmp_path) as store:
        internet = Internet({"inside.example": [address]}, {(address, 80): listener.place})
        await finished(store, checked_webhook("http://inside.example/hook", AddressPolicy()))
        async with running_internet(internet), delivering(store, AddressPolicy()):
            await until_given_up(tmp_path)
        assert (listener.posts, internet.dialled) == ([], [])
        assert internet.lookups, "the trap was not set"


async def until_given_up(folder: Path) -> None:
    """Wait until no webhook is to be called any more."""
    assert await eventually(lambda: all(row["webhook_tries"] and not row["webhook_due"] for row in rows(folder)), 20)


async def test_public_server_is_told_and_leads_nowhere_else(tmp_path: Path) -> None:
    async with listening(302, 200) as public, listening() as inside, open_store(tmp_path) as store:
        roads = {(PUBLIC, 80): public.place, (LOOPBACK, 80): inside.place}
        await finished(store, "http://public.example/hook")
        async with (
            running_internet(Internet({"public.example": [PUBLIC]}, roads)),
            delivering(store, AddressPolicy()),
        ):
            await until_given_up(tmp_path)
        assert (len(public.posts), inside.posts) == (2, [])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://example.com:8080/", "ftp://example.com/",
     "http://user@example.com/", "", "example.com", 7, ["http://example.com/"], "http://example.com/\ud83d", "http://[/"],
)  # fmt: skip
async def test_url_that_will_not_be_called_is_refused_with_the_job(url: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidJob):
        checked_webhook(url, AddressPolicy())
    async with near_service(tmp_path, works=False) as near:
        answer = await near.client.post("/run", content=json.dumps(inline(TICKS) | {"webhook": url}))
        assert (answer.status_code, answer.json()["error"][:23]) == (400, "invalid_input: webhook:")
        assert (await near.client.get("/health")).json()["jobs"]["inQueue"] == 0
