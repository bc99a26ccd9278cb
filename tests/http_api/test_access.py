"""Who gets in, and who does not: keys, cookies, the names of this machine, pages of other sites, and bold settings."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from itsdangerous import TimestampSigner
from starlette.routing import Mount, Route

from tests.http_api.near import TICKS, Near, inline, near_service, rows
from tests.http_api.service import running_service
from tests.http_api.test_survival import refused_start
from voxtral_serverless.http_api.access import COOKIE, SESSION_S, Gate, is_loopback
from voxtral_serverless.http_api.app import make_app
from voxtral_serverless.settings import load_settings

KEY = "k-éß 1234"
PLAIN = "k-1234"
OPEN = {"/", "/ping", "/login"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service with a key, which came out of a file with a newline at its end; it does no jobs."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False, api_key=f"{PLAIN}\n") as near:
        yield near


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyless(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service on loopback without a key; it does no jobs."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False) as near:
        yield near


def jobs_of(near: Near) -> int:
    """How many jobs it has."""
    return len(rows(near.parts.desk.uploads.parent))


def code_of(answer: httpx.Response) -> str:
    """The code in an error."""
    error = answer.json()["error"]
    return str(error["code"] if isinstance(error, dict) else error.partition(":")[0])


def methods_and_paths(near: Near) -> Iterator[tuple[str, str]]:
    """Every route there is, with something in the place of each parameter."""
    for route in make_app(near.parts).routes:
        included: list[Any] = getattr(route, "effective_candidates", list)()
        assert included or isinstance(route, Route | Mount), "a kind of route that this test does not know"
        for one in included or [route]:
            for method in getattr(one, "methods", None) or ():
                yield method, re.sub(r"{[^}]*}", "x", one.path)


async def test_every_route_is_closed(closed: Near) -> None:
    routes = list(methods_and_paths(closed))
    assert {"/run", "/v2/x/run", "/metrics", "/docs", "/openapi.json", "/v1/audio/transcriptions"} <= {
        path for _, path in routes
    }
    for method, path in routes:
        if path in OPEN:
            continue
        answer = await closed.client.request(method, path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
        assert method == "HEAD" or code_of(answer) == "key_refused"


@pytest.mark.parametrize(
    "path", ["/run", "/web/../run", "/web/%2e%2e/run", "/web/run", "/static-offline-docs/run", "//run", "/ping/../run",
             "/login/run", "/%72un", "/web//../health", "/nowhere"],
)  # fmt: skip
async def test_no_way_around(path: str, closed: Near) -> None:
    for method in ("POST", "GET"):
        assert await raw(closed, method, path) in (401, 404, 405)
    assert jobs_of(closed) == 0


async def raw(near: Near, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    """The status of the answer to a request whose path and headers nobody mends."""
    place = urlsplit(near.url)
    given = {"Host": place.netloc, "Content-Length": "0", "Connection": "close"} | (headers or {})
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", "")
    writer.write("\r\n".join(lines).encode())
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return int(answer.split()[1])


async def test_open_to_anybody(tmp_path: Path) -> None:
    async with near_service(tmp_path, api_key=PLAIN) as near:
        assert (await near.client.get("/ping")).status_code == 200
        page = await near.client.get("/")
        assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
        assert "default-src" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {PLAIN}", 200), (f"bearer  {PLAIN}", 200), (PLAIN, 200), (f"Bearer {PLAIN}x", 401), ("Bearer k-123", 401),
     ("Bearer", 401), ("", 401), (f"Basic {PLAIN}", 401), (f"Bearer {PLAIN.upper()}", 401), ("Bearer \xe9", 401)],
)  # fmt: skip
async def test_key(authorization: str, status: int, closed: Near) -> None:
    headers = httpx.Headers({"Authorization": authorization}, encoding="latin-1")
    assert (await closed.client.get("/health", headers=headers)).status_code == status


async def test_key_may_be_in_any_language(tmp_path: Path) -> None:
    async with near_service(tmp_path, works=False, api_key=KEY) as near:
        assert (
            await near.client.get("/health", headers={b"Authorization": b"Bearer " + KEY.encode()})
        ).status_code == 200
        assert (await near.client.post("/login", data={"key": KEY})).status_code == 303


async def test_login_and_logout(tmp_path: Path) -> None:
    async with near_service(tmp_path, works=False, api_key=PLAIN) as near:
        wrong = await near.client.post("/login", data={"key": "k-1235"})
        assert (wrong.status_code, code_of(wrong), "set-cookie" in wrong.headers) == (401, "key_refused", False)
        entered = await near.client.post("/login", data={"key": PLAIN})
        cookie = entered.headers["set-cookie"]
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
        assert PLAIN not in cookie
        assert (await near.client.get("/health")).status_code == 200
        foreign = await near.client.post("/run", json=inline(TICKS), headers={"Origin": "http://evil.example"})
        assert (foreign.status_code, code_of(foreign)) == (403, "access_refused")
        assert (await near.client.post("/run", json=inline(TICKS), headers={"Origin": near.url})).status_code == 200
        assert (await near.client.post("/logout")).status_code == 303
        assert (await near.client.get("/health")).status_code == 401


async def test_cookies_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(load_settings(api_key=PLAIN))
    good, forged = gate.session(), TimestampSigner("another key", salt="session").sign("in").decode()
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda real=time.time: real() - SESSION_S - 5)
        expired = gate.session()
    async with near_service(tmp_path, works=False, api_key=PLAIN) as near:
        for value, status in {good: 200, forged: 401, expired: 401, good[:-1]: 401, "in": 401, "": 401}.items():
            answer = await near.client.get("/health", headers={"Cookie": f"{COOKIE}={value}"})
            assert answer.status_code == status, value
        for header in (f"{COOKIE}", f"other={good}", "=;;\x7f", f'{COOKIE}="{good}'):
            assert (await near.client.get("/health", headers={"Cookie": header})).status_code in (400, 401)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:1", 200), ("[::1]", 200), ("[::1]:8000", 200),
     ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example:8000", 403), ("", 403),
     ("evil.example:127.0.0.1", 403), ("[::2]", 403), ("192.168.0.7", 403), ("localhost@evil.example", 403)],
)  # fmt: skip
async def test_names_of_this_machine(host: str, status: int, keyless: Near) -> None:
    assert await raw(keyless, "GET", "/health", {"Host": host}) == status
    assert await raw(keyless, "GET", "/", {"Host": host}) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("{url}", 200), ("https://{place}", 200), ("http://evil.example", 403), ("null", 403), ("", 403),
     ("http://127.0.0.1:1", 403), ("http://[bad", 403), ("http://{place}.evil.example", 403)],
)  # fmt: skip
async def test_pages_of_other_sites(origin: str, status: int, keyless: Near) -> None:
    before = jobs_of(keyless)
    sent = origin.format(url=keyless.url, place=urlsplit(keyless.url).netloc)
    answer = await keyless.client.post("/run", json=inline(TICKS), headers={"Origin": sent})
    assert answer.status_code == status
    assert jobs_of(keyless) - before == (status == 200)


async def test_with_a_key_any_name_will_do(closed: Near) -> None:
    headers = {"Host": "calls.example.com", "Authorization": f"Bearer {PLAIN}"}
    assert await raw(closed, "GET", "/health", headers) == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("LocalHost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.com", False)],
)  # fmt: skip
async def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_beyond_this_machine_nobody_without_a_key(tmp_path: Path) -> None:
    refused = await refused_start(tmp_path / "refused", {"HOST": "0.0.0.0"})
    assert "invalid_configuration: HOST=0.0.0.0" in refused
    assert "ALLOW_ANONYMOUS" in refused
    blank = await refused_start(tmp_path / "blank", {"HOST": "0.0.0.0", "API_KEY": "  "})
    assert "invalid_configuration: API_KEY is empty" in blank
    assert not (tmp_path / "refused" / "data").exists()


async def test_beyond_this_machine_for_anybody_where_told_so(tmp_path: Path) -> None:
    settings = {"HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}
    async with running_service(tmp_path, settings) as service:
        assert "ANYBODY who can reach this port" in service.process.output
        answer = await service.client.get("/health", headers={"Host": "calls.example.com"})
        assert answer.status_code == 200
        for name, status in (("127.0.0.1:1", 200), ("calls.example.com", 403)):
            page = {"Host": name, "Origin": f"http://{name}"}
            answer = await service.client.post("/purge-queue", headers=page)
            assert answer.status_code == status, "the name of a page may be made to lead here"
