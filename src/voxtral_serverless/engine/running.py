"""The engine that the settings ask for, running: a vLLM of our own, or one that is already there."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.engine.client import Engine, EngineClient
from voxtral_serverless.engine.command import launch, refuse_too_large
from voxtral_serverless.engine.external import ExternalServer, external_server
from voxtral_serverless.engine.machine import available_memory_mib, find_vllm, seen_gpus
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.engine.server import VllmServer, vllm_server
from voxtral_serverless.engine.weights import find_weights
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration
from voxtral_serverless.settings import Settings


@asynccontextmanager
async def running_engine(settings: Settings) -> AsyncIterator[Engine]:
    """The engine, beside the block. One of our own is still starting when the block is entered.

    Raises:
        EngineUnavailable, ModelUnavailable, InvalidConfiguration: it cannot be had; told before anything is started.
    """
    if settings.vllm_base_url:
        async with external_server(_external(settings, settings.vllm_base_url)) as external:
            await external.ready()
            yield external
    else:
        async with vllm_server(await in_daemon_thread(lambda: _own(settings))) as server:
            yield server


def _external(settings: Settings, base_url: str) -> ExternalServer:
    if not base_url.startswith(("http://", "https://")):
        raise InvalidConfiguration("VLLM_BASE_URL is not an http(s) URL.")
    key = settings.vllm_api_key.get_secret_value() if settings.vllm_api_key else None
    client = EngineClient(base_url.rstrip("/").removesuffix("/v1"), settings.voxtral_model, key)
    return ExternalServer(client, freeze_timeout_s=settings.engine_freeze_timeout_s)


def _own(settings: Settings) -> VllmServer:
    """A server that can be started: the command is there, the weights are whole, the model fits. May download."""
    executable = find_vllm(settings.vllm_executable)
    if executable is None:
        wanted = f"{settings.vllm_executable!r} (VLLM_EXECUTABLE)" if settings.vllm_executable else "`vllm`"
        raise EngineUnavailable(f"the command {wanted} is not found: install vLLM, or set VLLM_EXECUTABLE to it.")
    gpus = seen_gpus()
    memory = available_memory_mib()
    if known := KNOWN.get(settings.voxtral_model):  # before it is downloaded
        refuse_too_large(known, gpus, memory, settings.vllm_extra_args)
    weights = find_weights(settings)
    refuse_too_large(weights, gpus, memory, settings.vllm_extra_args)
    key = secrets.token_hex(16)
    on_port = partial(
        launch, executable, weights, gpus, key=key, extra=settings.vllm_extra_args, inherited=dict(os.environ)
    )
    on_port(port=settings.vllm_port)  # a model that does not fit is refused here, before anything is started
    return VllmServer(
        lambda port: on_port(port=port),
        EngineClient("", weights.name, key, ours=True),
        port=settings.vllm_port,
        start_timeout_s=settings.engine_start_timeout_s,
        freeze_timeout_s=settings.engine_freeze_timeout_s,
    )
