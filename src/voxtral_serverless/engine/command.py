"""The command line and the environment of `vllm serve`, from the settings, the weights and the GPUs seen. Pure.

Not here: finding any of these (`weights`, `machine`), where the model lies (`placement`), and starting the command
(`server`). Checked against the installed vLLM by `tests/engines/test_flags.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxtral_serverless.child import GPU_ORDER, MACHINE
from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.engine.placement import (
    MAX_NUM_SEQS,
    Shape,
    context_length,
    cpu_cache_gib,
    place,
    refuse_without_memory,
)
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.settings import EngineLoading

MAX_NUM_BATCHED_TOKENS = 4096
PLACING = (
    "--quantization", "-q", "--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--max-model-len",
    "--gpu-memory-utilization", "--kv-cache-memory-bytes", "--cpu-offload-gb",
)  # fmt: skip
"""Who gives one of these knows what fits."""
COMPILING = (
    "--compilation-config", "-cc", "--cudagraph-capture-sizes", "--max-cudagraph-capture-size", "--max-num-seqs",
    "--enforce-eager",
)  # fmt: skip
"""Who gives one of these, or a part of one (`-cc.mode`), says what is compiled and captured."""
REFUSED = {
    "--disable-log-stats": "the watchdog needs its counter",
    "--host": "the engine stays on loopback",
    "--port": "set VLLM_PORT",
    "--uds": "the engine is spoken to on VLLM_PORT",
    "--served-model-name": "the worker asks for the model by its own name",
    "--api-key": "the worker makes a key of its own",
}
"""Flags that would blind or expose us, in full or shortened, as vLLM's parser takes them too."""
INHERITED = (
    *MACHINE, "SSL_CERT_FILE", "NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME",
    "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR",
    "FLASHINFER_WORKSPACE_BASE", "VLLM_CACHE_ROOT", "VLLM_FLASHINFER_AUTOTUNE_CACHE_DIR", "VLLM_LOGGING_LEVEL",
    "VLLM_ENABLE_STARTUP_PLAN", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND",
)  # fmt: skip
"""What the engine sees of our environment: none of our settings, no token, no key."""
MULTIPLYING = {"--tensor-parallel-size": "-tp", "--pipeline-parallel-size": "-pp", "--data-parallel-size": "-dp"}
"""Flags that say over how many GPUs the model lies; those of all of them are multiplied."""
SHORTEST = 4
"""Characters of what may be a shortened flag: what is shorter is a flag of its own."""
PRIVATE = ("TMPDIR", "VLLM_RPC_BASE_PATH")
"""Variables of the engine that name a folder of its process alone: it leaves sockets and other files there."""


@dataclass(frozen=True)
class Launch:
    """A command to start, and its whole environment."""

    arguments: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True)
class Boot:
    """How the engine is to start.

    Attributes:
        timeout_s: vLLM gives up by itself after so long, too.
        compiles: It compiles, and captures CUDA graphs; without a GPU it never does.
        plans: It measures a GPU's memory once, and goes by that later.
        caches: Variables that say where its caches are.
    """

    timeout_s: float = 1200.0
    compiles: bool = True
    plans: bool = True
    loading: EngineLoading = "mapped"
    caches: Mapping[str, str] = field(default_factory=dict)


AS_IT_COMES = Boot()


def launch(
    executable: str,
    weights: Weights,
    gpus: Sequence[Gpu],
    *,
    port: int,
    key: str,
    extra: str,
    inherited: Mapping[str, str],
    boot: Boot = AS_IT_COMES,
) -> Launch:
    """The command that serves `weights` on the loopback `port` to who has the `key`.

    `extra` are flags as in a shell, added last, so that they win; `inherited` is our own environment.

    Raises:
        EngineUnavailable: the model does not fit on the GPUs.
        InvalidConfiguration: `extra` cannot be used.
    """
    added = extra_arguments(extra)
    length = context_length(weights)
    shape = place(weights, gpus, length, check=not placed_by_hand(extra)) if gpus else None
    return Launch(
        (
            *(executable, "serve", str(weights.folder)),
            *_flags(weights, length, shape, port),
            *_loading_flags(boot.loading),
            *(_compile_flags(boot, added) if gpus else ["--enforce-eager"]),
            *added,
        ),
        _environment(inherited, key, Path(executable).parent, boot)
        | ({} if gpus else _cpu_environment(inherited, weights, length)),
    )


def refuse_too_large(weights: Weights, gpus: Sequence[Gpu], available_mib: int, extra: str) -> None:
    """Refuse a model that cannot fit, unless `extra` has flags of somebody who knows that it does.

    Raises:
        EngineUnavailable: it does not fit on the GPUs, or, without any, in the memory that is available.
        InvalidConfiguration: `extra` cannot be used.
    """
    if placed_by_hand(extra):
        return
    if gpus:
        place(weights, gpus, context_length(weights))
    else:
        refuse_without_memory(weights, available_mib)


def placed_by_hand(extra: str) -> bool:
    """Whether `extra` has flags of somebody who knows what fits.

    Raises:
        InvalidConfiguration: `extra` cannot be used.
    """
    return _any_of(PLACING, extra_arguments(extra))


def gpu_count(weights: Weights, gpus: Sequence[Gpu], extra: str) -> int:
    """How many of `gpus` vLLM takes, from the first on: as `extra` says, and as `place` does where it says nothing.

    Raises:
        EngineUnavailable: the model does not fit on the GPUs.
        InvalidConfiguration: `extra` cannot be used.
    """
    told = _told_sizes(extra_arguments(extra))
    if "tensor_parallel_size" not in told:
        shape = place(weights, gpus, context_length(weights), check=not placed_by_hand(extra))
        told["tensor_parallel_size"] = shape.tensor_parallel
    return math.prod(told.values())


def _told_sizes(arguments: Sequence[str]) -> dict[str, int]:
    """The sizes that are among the arguments, by the names of their flags."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, argument_default=argparse.SUPPRESS)
    for flag, short in MULTIPLYING.items():
        parser.add_argument(flag, short, type=int)
    dashed = [_dashed(argument) for argument in arguments]
    try:
        return dict(vars(parser.parse_known_args(dashed)[0]))
    except argparse.ArgumentError as error:
        raise InvalidConfiguration(f"VLLM_EXTRA_ARGS: {error}.") from error


def _dashed(argument: str) -> str:
    """A flag with dashes in its name, as vLLM's parser reads it."""
    name, *value = argument.split("=", 1)
    return "=".join([name.replace("_", "-"), *value]) if argument.startswith("-") else argument


def extra_arguments(extra: str) -> tuple[str, ...]:
    """`VLLM_EXTRA_ARGS` as arguments.

    Raises:
        InvalidConfiguration: a quote is open, or a flag would blind or expose us.
    """
    try:
        arguments = tuple(shlex.split(extra))
    except ValueError as error:
        raise InvalidConfiguration(f"VLLM_EXTRA_ARGS: {error}.") from error
    for flag in _names(arguments):
        reason = next((why for refused, why in REFUSED.items() if len(flag) > 2 and refused.startswith(flag)), None)
        if reason:
            raise InvalidConfiguration(f"VLLM_EXTRA_ARGS: {flag} may not be given: {reason}.")
    return arguments


def _names(arguments: Sequence[str]) -> list[str]:
    """The flags among the arguments, as vLLM's parser reads them."""
    return [_dashed(argument).partition("=")[0] for argument in arguments if argument.startswith("-")]


def _any_of(flags: Sequence[str], arguments: Sequence[str]) -> bool:
    """Whether one of `flags` is among the arguments, in full, in part (`-cc.mode`) or shortened."""
    given = [name.partition(".")[0] for name in _names(arguments)]
    return any(flag == name or (len(name) > SHORTEST and flag.startswith(name)) for flag in flags for name in given)


def _flags(weights: Weights, length: int, shape: Shape | None, port: int) -> list[str]:
    kind = "gpu" if shape else "cpu"
    flags = {
        "--served-model-name": weights.name,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--tokenizer-mode": "mistral",
        "--config-format": "mistral",
        "--generation-config": "vllm",
        "--max-model-len": str(length),
        "--max-num-seqs": str(MAX_NUM_SEQS[kind]),
        "--limit-mm-per-prompt": json.dumps({"audio": 1}),
        "--mm-processor-cache-gb": "0",
        "--structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
    }
    if shape:
        flags["--tensor-parallel-size"] = str(shape.tensor_parallel)
        flags["--gpu-memory-utilization"] = f"{shape.memory_share:.2f}"
        flags["--max-num-batched-tokens"] = str(MAX_NUM_BATCHED_TOKENS)
    else:
        flags["--dtype"] = "bfloat16"
    switches = ["--disable-fastapi-docs", "--disable-uvicorn-access-log", "--enable-prefix-caching"]
    return [part for flag in flags.items() for part in flag] + switches


def _loading_flags(loading: EngineLoading) -> list[str]:
    """How the weights are read: in Mistral's format as it comes, ahead of their use, or by another reader."""
    if loading in {"mapped", "prefetch"}:
        ahead = ["--safetensors-load-strategy", "prefetch"] if loading == "prefetch" else []
        return ["--load-format", "mistral", *ahead]
    return ["--load-format", loading]


def _compile_flags(boot: Boot, added: Sequence[str]) -> list[str]:
    """What is compiled and captured, unless somebody says so himself: vLLM refuses to be told twice."""
    if _any_of(COMPILING, added):
        return []
    if not boot.compiles:
        return ["--enforce-eager"]
    # No batch of ours decodes more tokens at once; by default vLLM captures graphs for twice as many.
    return ["--max-cudagraph-capture-size", str(MAX_NUM_SEQS["gpu"])]


def _environment(inherited: Mapping[str, str], key: str, programs: Path, boot: Boot) -> dict[str, str]:
    planned = {"VLLM_ENABLE_STARTUP_PLAN": "1"} if boot.plans else {}
    return (
        planned
        | dict(boot.caches)
        | GPU_ORDER
        | {name: inherited[name] for name in INHERITED if name in inherited}
        | {
            # What is compiled at the start is compiled with ninja, which lies beside vllm.
            "PATH": os.pathsep.join(filter(None, (str(programs), inherited.get("PATH")))),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            "VLLM_API_KEY": key,
            # Its server gives up waiting for its core after 600 s, unless told otherwise.
            "VLLM_ENGINE_READY_TIMEOUT_S": str(math.ceil(boot.timeout_s)),
            "VLLM_MAX_AUDIO_DECODE_DURATION_S": "3600",
            "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": "200",
        }
    )


def _cpu_environment(inherited: Mapping[str, str], weights: Weights, length: int) -> dict[str, str]:
    """The cores are the operating system's to give."""
    chosen = {"VLLM_CPU_KVCACHE_SPACE": str(cpu_cache_gib(weights, length)), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return {name: value for name, value in chosen.items() if name not in inherited}
