"""What the routes work with, as FastAPI hands it to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from voxtral_serverless.http_api.access import Gate
from voxtral_serverless.http_api.desk import JobDesk
from voxtral_serverless.http_api.metrics import Metrics


@dataclass(frozen=True)
class Parts:
    """The service behind the routes."""

    desk: JobDesk
    gate: Gate
    metrics: Metrics


def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsOf = Annotated[Parts, Depends(_parts)]


def _desk(request: Request) -> JobDesk:
    return _parts(request).desk


DeskOf = Annotated[JobDesk, Depends(_desk)]
