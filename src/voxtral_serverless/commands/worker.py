"""`voxtral-serverless worker` and `start`: the jobs of a RunPod endpoint."""

from __future__ import annotations

import logging
import os

import typer

from voxtral_serverless.door import door


def worker() -> None:
    """Do the jobs of a RunPod serverless endpoint, until asked to end."""
    with door(_debug(), style="json"):
        _work()


def start() -> None:
    """What the container runs: the RunPod worker where RunPod runs it."""
    with door(_debug(), style="json"):
        from voxtral_serverless.errors import InvalidConfiguration
        from voxtral_serverless.runpod_worker.worker import QUEUE

        if not os.environ.get(QUEUE):
            raise InvalidConfiguration(
                f"{QUEUE} is not set, so this is no RunPod worker; the HTTP API, which would start instead, is not part of "
                "this version. For one recording there is `voxtral-serverless transcribe`."
            )
        _work()


def _work() -> None:
    from voxtral_serverless.runpod_worker.worker import run_worker
    from voxtral_serverless.settings import load_settings

    raise typer.Exit(run_worker(load_settings()))


def _debug() -> int:
    return logging.DEBUG if os.environ.get("RUNPOD_DEBUG", "").lower() in {"1", "true"} else logging.INFO
