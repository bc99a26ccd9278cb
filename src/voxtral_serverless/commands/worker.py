"""`voxtral-serverless worker`, the jobs of a RunPod endpoint, and `start`, what the container runs."""

from __future__ import annotations

import logging
import os

import typer

from voxtral_serverless.commands.serve import serve_api
from voxtral_serverless.door import door


def worker() -> None:
    """Do the jobs of a RunPod serverless endpoint, until asked to end."""
    with door(_debug(), style="json"):
        _work()


def start() -> None:
    """What the container runs: the RunPod worker where RunPod's queue is, else the HTTP API."""
    with door(_debug(), style="json"):
        from voxtral_serverless.runpod_worker.worker import QUEUE

        if not os.environ.get(QUEUE):
            serve_api({})
        _work()


def _work() -> None:
    from voxtral_serverless.runpod_worker.worker import run_worker
    from voxtral_serverless.settings import load_settings

    raise typer.Exit(run_worker(load_settings()))


def _debug() -> int:
    return logging.DEBUG if os.environ.get("RUNPOD_DEBUG", "").lower() in {"1", "true"} else logging.INFO
