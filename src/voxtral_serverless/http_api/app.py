"""The application: all routes behind one gate, every fault an answer."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voxtral_serverless import __version__
from voxtral_serverless.errors import InvalidJob, VoxtralError, public_error
from voxtral_serverless.http_api import openai_routes, runpod_routes, service_routes
from voxtral_serverless.http_api.access import AccessMiddleware
from voxtral_serverless.http_api.answers import failure, refusal
from voxtral_serverless.http_api.dependencies import Parts

log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed"}
METHODS = ("DELETE", "GET", "HEAD", "POST")
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
    app.add_middleware(_EdgeMiddleware)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    _tell_documentation(app, parts.gate.wants_key)
    return app


def _tell_documentation(app: FastAPI, wants_key: bool) -> None:
    """Put into the OpenAPI document what FastAPI cannot know: what is wrong is answered by 400, not 422; there is a key."""
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        del document["components"]["schemas"][name]
    if wants_key:
        document["components"]["securitySchemes"] = {"API_KEY": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"API_KEY": []}]


class _EdgeMiddleware:
    """Adds `HEADERS` to every answer, and makes an answer of what nobody thought of."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            if answer.began:
                raise
            log.error("a request failed unexpectedly", exc_info=error)  # noqa: TRY400 — the same, and says which
            await refusal(public_error(error), scope["path"])(scope, receive, answer.send)


class _Answer:
    """An answer on its way, with `HEADERS`; `began` once there is no way back."""

    def __init__(self, send: Send) -> None:
        self._send, self.began = send, False

    async def send(self, message: Message) -> None:
        """Pass a part of it on."""
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


async def _refused(request: Request, error: Exception) -> Response:
    return refusal(public_error(error), request.url.path)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
    return refusal(InvalidJob("; ".join(faults)), request.url.path)


async def _http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "invalid_input")
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else dict(error.headers or {})
    return failure(error.status_code, code, str(error.detail), request.url.path, headers)


def _methods(request: Request) -> list[str]:
    """What may be done with what is asked for, by all the routes that lead there."""
    return [method for method in METHODS if any(_takes(route, method, request) for route in request.app.routes)]


def _takes(route: BaseRoute, method: str, request: Request) -> bool:
    if isinstance(route, Mount) and method not in ("GET", "HEAD"):  # of files
        return False
    scope = dict(request.scope) | {"method": method, "root_path": request.scope.get("app_root_path", "")}
    return route.matches(scope)[0] is Match.FULL


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody is there to read it."""
    return Response(status_code=499)


_HANDLERS: dict[type[Exception], Any] = {
    VoxtralError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http_fault,
    ClientDisconnect: _gone,
}
