"""Every answer of the application: faults in the shape of the API that was asked, headers, and its documentation."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.http_api.near import Near, near_service

KEY = "the-key"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service that takes jobs in, without a key."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False) as near:
        yield near


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service with a key, and who has none."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False, api_key=KEY) as near:
        yield near


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here/at/all", 404, "not_found"),
        ("GET", "/web/nothing.css", 404, "not_found"),
        ("GET", "/web/..%2fapp.py", 404, "not_found"),
        ("GET", "/status/unknown", 404, "job_not_found"),
        ("POST", "/runsync?wait=5", 400, "invalid_input"),
        ("POST", "/runsync?wait=soon", 400, "invalid_input"),
        ("GET", f"/status/{'x' * 101}", 400, "invalid_input"),
        ("POST", "/run", 400, "invalid_input"),
        ("PUT", "/run", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/models/another", 404, "model_not_found"),
        ("GET", "/v1/audio/transcriptions", 405, "method_not_allowed"),
        ("POST", "/v1/audio/transcriptions", 400, "invalid_input"),
    ],
)
async def test_faults_are_told_as_the_api_tells_them(
    service: Near, method: str, path: str, status: int, code: str
) -> None:
    response = await service.client.request(method, path)
    error = response.json()["error"]
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/json")
    if path.startswith("/v1/"):
        assert (error["code"], error["type"], error["param"]) == (code, "invalid_request_error", None)
        assert error["message"]
    else:
        assert re.fullmatch(f"{code}: .+", error)


async def test_a_wrong_parameter_is_named(service: Near) -> None:
    error = (await service.client.post("/runsync?wait=5")).json()["error"]
    assert error == "invalid_input: wait: Input should be greater than or equal to 1000"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/ping", "GET, HEAD"), ("/run", "POST"), ("/status/x", "GET, POST"), ("/v2/mine/status/x", "GET, POST"),
        ("/mine/run", "POST"), ("/jobs/x", "DELETE"), ("/v1/models", "GET"), ("/web/page.css", "GET, HEAD"),
    ],
)  # fmt: skip
async def test_what_may_be_done_is_told_where_something_else_was_tried(service: Near, path: str, allowed: str) -> None:
    response = await service.client.patch(path)
    assert (response.status_code, response.headers.get("Allow")) == (405, allowed)


async def test_head_is_answered_for_load_balancers_that_ask_so(service: Near) -> None:
    asked = await service.client.get("/ping")
    response = await service.client.head("/ping")
    assert response.status_code in (200, 204)
    assert asked.status_code in (200, 204)
    assert response.content == b""


@pytest.mark.parametrize(
    "path", ["/", "/ping", "/health", "/web/page.js", "/docs", "/nothing", "/v1/models", "/broken"]
)
async def test_no_answer_is_cached_sniffed_or_told_on(closed: Near, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {KEY}"}):
        told = (await closed.client.get(path, headers=headers)).headers
        assert told["X-Content-Type-Options"] == "nosniff"
        assert told["Referrer-Policy"] == "no-referrer"
        assert told["Cache-Control"] == "no-store"
        assert "Server" not in told


async def test_what_nobody_thought_of_is_an_answer_and_tells_nothing(
    service: Near, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(service.parts.desk.store, "counts", broken)
    response = await service.client.get("/health")
    assert response.status_code == 500
    assert response.json() == {"error": "internal_error: the worker failed unexpectedly; its log has the details."}
    assert response.headers["Cache-Control"] == "no-store"
    assert "secret words" in caplog.text, "who runs it can find out"
    monkeypatch.undo()
    assert (await service.client.get("/health")).status_code == 200


async def test_openais_clients_can_read_it_too(service: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(service.parts.desk, "accept", broken)
    response = await service.client.post("/v1/audio/transcriptions", files={"file": ("call.wav", b"RIFF")})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "secret" not in response.text
    assert service.uploads == []


async def test_the_document_tells_what_is_so(service: Near) -> None:
    document = (await service.client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all("422" not in operation["responses"] for operation in operations)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert "security" not in document
    assert {"/run", "/runsync", "/status/{job_id}", "/stream/{job_id}", "/cancel/{job_id}", "/health", "/jobs/{job_id}",
            "/v1/audio/transcriptions", "/v1/models", "/ping", "/metrics"} <= document["paths"].keys()  # fmt: skip


async def test_with_a_key_the_document_says_so(closed: Near) -> None:
    assert (await closed.client.get("/openapi.json")).status_code == 401
    document = (await closed.client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"})).json()
    assert document["security"] == [{"API_KEY": []}]
    assert document["components"]["securitySchemes"]["API_KEY"] == {"type": "http", "scheme": "bearer"}
    assert document["paths"]["/ping"]["get"]["security"] == []


async def test_the_documentation_needs_no_internet(service: Near) -> None:
    page = (await service.client.get("/docs")).text
    assert re.findall(r"""(?:https?:)?//[^\s"'<]+""", page) == []
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        response = await service.client.get(asset)
        assert (response.status_code, len(response.content) > 1000) == (200, True), asset


async def test_the_documentation_is_for_who_has_the_key(closed: Near) -> None:
    assert (await closed.client.get("/docs")).status_code == 401
    assert (await closed.client.get("/docs", headers={"Authorization": f"Bearer {KEY}"})).status_code == 200
