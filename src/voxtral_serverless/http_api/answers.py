"""The HTTP API's answers: JSON, and errors in the shape that the caller's API has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from voxtral_serverless.errors import (
    AccessRefused,
    AudioTooLarge,
    BodyTooLarge,
    DiskFull,
    EngineUnavailable,
    InputError,
    JobNotFound,
    KeyRefused,
    QueueFull,
    VoxtralError,
)

STATUSES: dict[type[VoxtralError], int] = {
    KeyRefused: 401, AccessRefused: 403, JobNotFound: 404, AudioTooLarge: 413, BodyTooLarge: 413, QueueFull: 429,
    DiskFull: 503, EngineUnavailable: 503, InputError: 400, VoxtralError: 500,
}  # fmt: skip
"""The first one that an error is an instance of counts."""
OPENAI = "/v1/"
"""Begins the paths whose errors look like OpenAI's."""


class Json(Response):
    """JSON in ASCII: half a character in a transcript does not make it unreadable."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, separators=(",", ":")).encode()


def refusal(error: VoxtralError, path: str) -> Response:
    """An error as the answer to a request for `path`."""
    status = status_of(type(error))
    return failure(status, error.code, error.message, path)


def failure(status: int, code: str, message: str, path: str, headers: dict[str, str] | None = None) -> Response:
    """An error with a code, as the answer to a request for `path`."""
    if status == 401:
        headers = {"WWW-Authenticate": "Bearer"} | (headers or {})
    if not path.startswith(OPENAI):
        return Json({"error": f"{code}: {message}"}, status, headers)
    kind = "invalid_request_error" if status < 500 else "server_error"
    return Json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)


def status_of(kind: type[VoxtralError]) -> int:
    """The HTTP status of a kind of error."""
    return next(status for known, status in STATUSES.items() if issubclass(kind, known))


def told(error: str) -> tuple[int, str, str]:
    """A job's error, `code: message`, with the HTTP status that it would have."""
    code, _, message = error.partition(": ")
    kinds = {kind.code: kind for kind in _kinds(VoxtralError) if hasattr(kind, "code")}
    return status_of(kinds.get(code, VoxtralError)), code, message


def _kinds(kind: type[VoxtralError]) -> Iterator[type[VoxtralError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)
