"""The engine that the settings ask for, running: a vLLM of our own, or one that is already there."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.engine.caches import cache_variables
from voxtral_serverless.engine.checkpoint import TENSORS
from voxtral_serverless.engine.client import Engine, EngineClient
from voxtral_serverless.engine.command import Boot, gpu_count, launch, refuse_too_large
from voxtral_serverless.engine.cuda import refuse_without_gpu
from voxtral_serverless.engine.external import ExternalServer, external_server
from voxtral_serverless.engine.machine import Gpu, available_memory_mib, find_vllm, seen_gpus
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.engine.server import VllmServer, vllm_server
from voxtral_serverless.engine.weights import find_weights, weights_here
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration
from voxtral_serverless.settings import EngineLoading, Settings
from voxtral_serverless.startup import StartUp, current
from voxtral_serverless.workspace import sweep_leftovers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What a vLLM of ours is started with here.

    Attributes:
        vllm: The command.
        memory_mib: Of the machine itself, as much as is available.
    """

    vllm: str
    gpus: tuple[Gpu, ...]
    memory_mib: int


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
        async with vllm_server(await in_daemon_thread(partial(_own, settings, current()))) as server:
            yield server


def _external(settings: Settings, base_url: str) -> ExternalServer:
    return ExternalServer(external_client(settings, base_url), freeze_timeout_s=settings.engine_freeze_timeout_s)


def external_client(settings: Settings, base_url: str) -> EngineClient:
    """Asks the server at `VLLM_BASE_URL`.

    Raises:
        InvalidConfiguration: that is no URL.
    """
    if not base_url.startswith(("http://", "https://")):
        raise InvalidConfiguration("VLLM_BASE_URL is not an http(s) URL.")
    key = settings.vllm_api_key.get_secret_value() if settings.vllm_api_key else None
    return EngineClient(base_url.rstrip("/").removesuffix("/v1"), settings.voxtral_model, key)


def _own(settings: Settings, startup: StartUp) -> VllmServer:
    """A server that can be started: the command is there, the weights are whole, the model fits. May download."""
    with startup.phase("gpus"):
        machine = checked_machine(settings)
    with startup.phase("weights"):
        weights = find_weights(settings)
    refuse_too_large(weights, machine.gpus, machine.memory_mib, settings.vllm_extra_args)
    key = secrets.token_hex(16)
    sweep_leftovers(short=True)
    boot = _boot(settings, machine.gpus, weights.folder)
    on_port = partial(
        launch,
        machine.vllm,
        weights,
        machine.gpus,
        key=key,
        extra=settings.vllm_extra_args,
        inherited=dict(os.environ),
        boot=boot,
    )
    on_port(port=settings.vllm_port)  # a model that does not fit is refused here, before anything is started
    return VllmServer(
        lambda port: on_port(port=port),
        EngineClient("", weights.name, key, ours=True),
        port=settings.vllm_port,
        start_timeout_s=settings.engine_start_timeout_s,
        freeze_timeout_s=settings.engine_freeze_timeout_s,
    )


def checked_machine(settings: Settings) -> Machine:
    """The machine that we are on, unless something speaks against a vLLM of ours here that can be told without the weights.

    Blocks, for as long as nvidia-smi takes.

    Raises:
        EngineUnavailable: there is no `vllm`, or no GPU for one that needs it, or the model is known not to fit.
        InvalidConfiguration: `VLLM_EXTRA_ARGS` cannot be used.
    """
    vllm = find_vllm(settings.vllm_executable)
    if vllm is None:
        wanted = f"{settings.vllm_executable!r} (VLLM_EXECUTABLE)" if settings.vllm_executable else "`vllm`"
        raise EngineUnavailable(f"the command {wanted} is not found: install vLLM, or set VLLM_EXECUTABLE to it.")
    machine = Machine(vllm, seen_gpus(), available_memory_mib())
    if not machine.gpus:
        refuse_without_gpu(vllm, settings.vllm_extra_args)
    if known := KNOWN.get(settings.voxtral_model):
        refuse_too_large(known, machine.gpus, machine.memory_mib, settings.vllm_extra_args)
    return machine


def used_gpus(settings: Settings, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Those of `gpus`, as `seen_gpus` has them, that a vLLM of ours takes: the first ones, as many as hold the model.

    All of them where this cannot be told, because the server is somebody else's, or the model is neither known nor here
    yet. Sizes in `VLLM_EXTRA_ARGS` (`--tensor-parallel-size` and its kin) count; a `CUDA_DEVICE_ORDER` of the
    environment does not, by which vLLM would take others.

    Raises:
        EngineUnavailable: the model does not fit.
        InvalidConfiguration: `VLLM_EXTRA_ARGS` cannot be used.
        ModelUnavailable: the model is a folder, and is damaged.
    """
    weights = None if settings.vllm_base_url else KNOWN.get(settings.voxtral_model) or weights_here(settings)
    if not gpus or weights is None:
        return tuple(gpus)
    return tuple(gpus[: gpu_count(weights, gpus, settings.vllm_extra_args)])


def _boot(settings: Settings, gpus: Sequence[Gpu], folder: Path) -> Boot:
    """How the engine is to start, with the folders of its caches made."""
    return Boot(
        timeout_s=settings.engine_start_timeout_s,
        compiles=settings.engine_compile,
        plans=settings.engine_startup_plan,
        loading=_loading(settings.engine_loading, folder),
        caches=cache_variables(settings.engine_cache_dir, gpus, os.environ),
    )


def _loading(wanted: EngineLoading, folder: Path) -> EngineLoading:
    """The way of reading that is wanted; the usual one where vLLM would read the other files of the repository."""
    if wanted not in {"mapped", "prefetch"} and set(folder.glob("*.safetensors")) != set(folder.glob(TENSORS)):
        log.warning("ENGINE_LOADING=%s is not used: beside the weights there are others, which it would read.", wanted)
        return "mapped"
    return wanted
