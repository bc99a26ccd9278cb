"""The application: all routes behind one gate, every fault an answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxtral_serverless import __version__
from voxtral_serverless.errors import InvalidJob, VoxtralError, public_error
from voxtral_serverless.http_api import openai_routes, runpod_routes, service_routes
from voxtral_serverless.http_api.access import AccessMiddleware
from voxtral_serverless.http_api.answers import failure, refusal
from voxtral_serverless.http_api.dependencies import Parts

CODES = {404: "not_found", 405: "method_not_allowed"}
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
"""On every answer that does not say otherwise: transcripts belong in no cache."""
DESCRIPTION = (
    "Who said what when in a recording, a summary, and the sentiment of the call. The jobs' fields: docs/api.md; these "
    "routes: docs/http-api.md."
)


def make_app(parts: Parts) -> FastAPI:
    """The application over the running parts."""
    app = FastAPIOffline(
        title="Voxtral Serverless Worker", version=__version__, description=DESCRIPTION, redoc_url=None
    )
    app.state.parts = parts
    app.mount("/web", StaticFiles(directory=service_routes.WEB), name="web")
    for routes in (service_routes, runpod_routes, openai_routes):
        app.include_router(routes.router)
    for prefix in ("/{endpoint_id}", "/v2/{endpoint_id}"):
        app.include_router(runpod_routes.router, prefix=prefix, include_in_schema=False)
    app.add_middleware(AccessMiddleware, gate=parts.gate)
    app.add_middleware(_HeadersMiddleware)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


class _HeadersMiddleware:
    """Adds `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _refused(request: Request, error: Exception) -> Response:
    return refusal(public_error(error), request.url.path)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
    return refusal(InvalidJob("; ".join(faults)), request.url.path)


async def _http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "invalid_input")
    return failure(error.status_code, code, str(error.detail), request.url.path, dict(error.headers or {}))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody is there to read it."""
    return Response(status_code=499)


_HANDLERS: dict[type[Exception], Any] = {
    VoxtralError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http_fault,
    ClientDisconnect: _gone,
    Exception: _refused,
}
