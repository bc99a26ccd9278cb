"""`voxtral-serverless serve`: the HTTP API."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

from voxtral_serverless.door import door


def serve(
    host: Annotated[str | None, typer.Option(help="Where to listen; default: HOST (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default: PORT (8000).")] = None,
) -> None:
    """Serve the HTTP API: RunPod's routes and OpenAI's, until asked to end."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    with door(logging.INFO):
        serve_api(given)


def serve_api(overrides: dict[str, Any]) -> None:
    """Serve, with these settings over those of the environment."""
    from voxtral_serverless.http_api.server import run_server
    from voxtral_serverless.settings import load_settings

    raise typer.Exit(run_server(load_settings(**overrides)))
