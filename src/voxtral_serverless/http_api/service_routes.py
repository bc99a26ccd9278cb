"""Routes about the service itself: is it ready, how is it doing, may I come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from voxtral_serverless.errors import KeyRefused
from voxtral_serverless.http_api.access import COOKIE, SESSION_S
from voxtral_serverless.http_api.answers import refusal
from voxtral_serverless.http_api.dependencies import DeskOf, Parts, PartsOf
from voxtral_serverless.http_api.runpod_routes import FAULTS
from voxtral_serverless.http_api.uploads import body_of
from voxtral_serverless.lifetime import EngineState

WEB = Path(__file__).parent / "web"
PINGS = {EngineState.STARTING: 204, EngineState.READY: 200, EngineState.DEAD: 503}
POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
MAX_LOGIN_BYTES = 10_000
PING_ANSWERS: dict[int | str, dict[str, Any]] = {
    403: FAULTS[403],
    204: {"description": "The engine is starting."}, 503: {"description": "The engine is dead."},
}  # fmt: skip

METRICS_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 401: FAULTS[401], 403: FAULTS[403]
}  # fmt: skip

router = APIRouter(tags=["The service"])


@router.head("/ping", include_in_schema=False)
@router.get("/ping", response_class=Response, responses=PING_ANSWERS, openapi_extra={"security": []})
async def ping(desk: DeskOf) -> Response:
    """For load balancers: 204 while the engine starts, 200 when it is ready, 503 when it is dead."""
    return Response(status_code=PINGS[await desk.engine.state()])


@router.get("/metrics", response_class=Response, responses=METRICS_ANSWERS)
async def metrics(parts: PartsOf) -> Response:
    """For Prometheus."""
    counts, state = await parts.desk.store.counts(), await parts.desk.engine.state()
    return Response(parts.metrics.exposed(counts, state), media_type="text/plain; version=0.0.4")


@router.get("/", include_in_schema=False)
@router.get("/login", include_in_schema=False)
async def page() -> Response:
    """The page."""
    return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": POLICY})


@router.post("/login", include_in_schema=False)
async def login(request: Request, parts: PartsOf) -> Response:
    """Come in with the key, in a browser: a form with the field `key`."""
    fields = parse_qs((await body_of(request, MAX_LOGIN_BYTES)).decode("utf-8", "replace"))
    if not parts.gate.is_key(fields.get("key", [""])[0].strip().encode()):
        return refusal(KeyRefused("this is not the key of this service (API_KEY)."), "/login")
    return _welcomed(request, parts)


@router.post("/logout", include_in_schema=False)
async def logout() -> Response:
    """Leave."""
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


def _welcomed(request: Request, parts: Parts) -> Response:
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        parts.gate.session(),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
