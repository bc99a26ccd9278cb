"""The command line and the environment of `vllm serve`, from the settings, the weights and the GPUs seen. Pure.

Not here: finding any of these (`weights`, `machine`), and starting the command (`server`). Checked against the
installed vLLM by `tests/engines/test_flags.py`. Memory figures without a source are estimates, not yet measured
on a GPU (docs/engine.md).
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration

MAX_MODEL_LEN = 16_384
"""Tokens in one request: an hour of transcript, or 15 minutes of audio. Profiling the encoder costs memory with it."""
MAX_NUM_SEQS = {"gpu": 32, "cpu": 4}
"""Requests in one batch; the rest wait inside vLLM."""
MAX_NUM_BATCHED_TOKENS = 4096
MAX_SOCKET_FOLDER = 60
"""Characters of a folder for sockets."""
PLACING = (
    "--quantization", "-q", "--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--max-model-len",
    "--gpu-memory-utilization", "--kv-cache-memory-bytes", "--cpu-offload-gb",
)  # fmt: skip
"""Who gives one of these knows what fits."""
REFUSED = {
    "--disable-log-stats": "the watchdog needs its counter",
    "--host": "the engine stays on loopback",
    "--port": "set VLLM_PORT",
    "--uds": "the engine is spoken to on VLLM_PORT",
    "--served-model-name": "the worker asks for the model by its own name",
    "--api-key": "the worker makes a key of its own",
}
"""Flags that would blind or expose us, in full or shortened, as vLLM's parser takes them too."""
FP8_WEIGHTS = 0.6
"""What `--quantization fp8` leaves of the weights: the audio encoder stays as it is."""
LEAST_SHARE = 0.2
"""Of a GPU: with less there is no room for any Voxtral, however small its weights are made."""
GIB_MIB = 1024
MOST_OF_A_GPU = 0.92
"""vLLM's own default share."""

BESIDE_MIB = {
    "pyannote": 3 * GIB_MIB,
    "word aligner": 3 * GIB_MIB // 2,
    "RunPod's CUDA check": GIB_MIB // 2,
}
"""What the first GPU keeps free for others. pyannote takes 1 GB at batch 16 and more while it loads."""
ACTIVATIONS_MIB = 2 * GIB_MIB
GRAPHS_MIB = GIB_MIB
ENCODER_MIB_PER_TOKEN = 2 * GIB_MIB / 16_384
"""vLLM profiles the audio encoder with one audio of `MAX_MODEL_LEN` tokens."""
TENSOR_PARALLEL = (1, 2, 4, 8)
"""Sizes that divide the heads of both Voxtrals."""

INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_CACHE_PATH", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME", "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE", "VLLM_CACHE_ROOT", "VLLM_LOGGING_LEVEL",
    "VLLM_ENABLE_STARTUP_PLAN", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND",
)  # fmt: skip
"""What the engine sees of our environment: none of our settings, no token, no key."""

KNOWN = {
    "mistralai/Voxtral-Mini-3B-2507": Weights(
        Path(), "Voxtral-Mini-3B-2507", 9_350_000_000, layers=30, kv_heads=8, heads=32, head_dim=128, max_positions=32_768
    ),
    "mistralai/Voxtral-Small-24B-2507": Weights(
        Path(), "Voxtral-Small-24B-2507", 48_519_877_672, layers=40, kv_heads=8, heads=32, head_dim=128, max_positions=32_768
    ),
}  # fmt: skip
"""What is known of Mistral's two before they are downloaded, rounded for Mini."""
MINI = KNOWN["mistralai/Voxtral-Mini-3B-2507"]


@dataclass(frozen=True)
class Launch:
    """A command to start, and its whole environment."""

    arguments: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True)
class Shape:
    """How the model lies on the GPUs: over how many, and with which share of each one's memory."""

    tensor_parallel: int
    memory_share: float


def launch(
    executable: str,
    weights: Weights,
    gpus: Sequence[Gpu],
    *,
    port: int,
    key: str,
    extra: str,
    inherited: Mapping[str, str],
) -> Launch:
    """The command that serves `weights` on the loopback `port` to who has the `key`.

    `extra` are flags as in a shell, added last, so that they win; `inherited` is our own environment.

    Raises:
        EngineUnavailable: the model does not fit on the GPUs.
        InvalidConfiguration: `extra` cannot be used.
    """
    added = extra_arguments(extra)
    length = min(MAX_MODEL_LEN, weights.max_positions or MAX_MODEL_LEN)
    shape = place(weights, gpus, length, check=not _placed_by_hand(added)) if gpus else None
    return Launch(
        (executable, "serve", str(weights.folder), *_flags(weights, length, shape, port), *added),
        _environment(inherited, key, Path(executable).parent)
        | ({} if gpus else _cpu_environment(inherited, weights, length)),
    )


def refuse_too_large(model: str, gpus: Sequence[Gpu], available_mib: int, extra: str) -> None:
    """Refuse one of Mistral's models that cannot fit, before it is downloaded.

    Raises:
        EngineUnavailable: it does not fit on the GPUs, or, without any, in the memory that is available.
        InvalidConfiguration: `extra` cannot be used.
    """
    if model not in KNOWN or _placed_by_hand(extra_arguments(extra)):
        return
    if gpus:
        place(KNOWN[model], gpus, MAX_MODEL_LEN)
    else:
        refuse_without_memory(KNOWN[model], available_mib)


def _placed_by_hand(added: Sequence[str]) -> bool:
    return not set(PLACING).isdisjoint(_names(added))


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
    return [argument.partition("=")[0].replace("_", "-") for argument in arguments if argument.startswith("-")]


def _flags(weights: Weights, length: int, shape: Shape | None, port: int) -> list[str]:
    kind = "gpu" if shape else "cpu"
    flags = {
        "--served-model-name": weights.name,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--tokenizer-mode": "mistral",
        "--config-format": "mistral",
        "--load-format": "mistral",
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
    return [part for flag in flags.items() for part in flag] + switches + ([] if shape else ["--enforce-eager"])


def _environment(inherited: Mapping[str, str], key: str, programs: Path) -> dict[str, str]:
    return {name: inherited[name] for name in INHERITED if name in inherited} | {
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
        "VLLM_RPC_BASE_PATH": _short_folder(inherited),
        "VLLM_MAX_AUDIO_DECODE_DURATION_S": "3600",
        "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": "200",
    }


def _short_folder(inherited: Mapping[str, str]) -> str:
    """Where the engine's processes have their sockets: their paths may have 107 characters, 37 of them the name."""
    folder = inherited.get("TMPDIR", "/tmp")  # noqa: S108 — what the system has for it
    return folder if len(folder) <= MAX_SOCKET_FOLDER else "/tmp"  # noqa: S108


def _cpu_environment(inherited: Mapping[str, str], weights: Weights, length: int) -> dict[str, str]:
    """The cores are the operating system's to give."""
    chosen = {"VLLM_CPU_KVCACHE_SPACE": str(_cpu_cache_gib(weights, length)), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return {name: value for name, value in chosen.items() if name not in inherited}


def _cpu_cache_gib(weights: Weights, length: int) -> int:
    """A cache for as many full requests as go into a batch, in whole GiB."""
    return math.ceil(MAX_NUM_SEQS["cpu"] * length * weights.kv_bytes_per_token / 2**30)


def place(weights: Weights, gpus: Sequence[Gpu], length: int, *, check: bool = True) -> Shape:
    """The model over as few GPUs as hold it, beside what else runs on them.

    Without `check` it may be larger than we reckon, and then lies over as many as it can.

    Raises:
        EngineUnavailable: it does not fit, with what it needs and what there is.
    """
    sizes = _sizes(weights, gpus)
    fitting = [size for size in sizes if fits(weights, gpus, length, size)]
    size = fitting[0] if fitting else sizes[-1]
    share = _share(gpus[:size])
    if (check and not fitting) or share < LEAST_SHARE:
        raise EngineUnavailable(_does_not_fit(weights, gpus, length))
    return Shape(size, share)


def _sizes(weights: Weights, gpus: Sequence[Gpu]) -> list[int]:
    """Over how many of the GPUs the model can lie."""
    return [size for size in TENSOR_PARALLEL if size <= len(gpus) and weights.kv_heads % size == 0]


def fits(weights: Weights, gpus: Sequence[Gpu], length: int, size: int) -> bool:
    """Whether the model fits on the first `size` of the GPUs."""
    return needed_mib(weights, length, size) <= _share(gpus[:size]) * min(gpu.total_mib for gpu in gpus[:size])


def needed_mib(weights: Weights, length: int, tensor_parallel: int) -> float:
    """GPU memory that the engine needs on each GPU, in MiB: with a cache for one full request."""
    weights_mib = weights.bytes / 2**20
    cache_mib = length * weights.kv_bytes_per_token / 2**20
    work_mib = ACTIVATIONS_MIB + GRAPHS_MIB + length * ENCODER_MIB_PER_TOKEN
    return (weights_mib + cache_mib) / tensor_parallel + work_mib


def _share(gpus: Sequence[Gpu]) -> float:
    """The share of every GPU's memory that the engine may have: what is free, less what is for others, in hundredths."""
    beside = sum(BESIDE_MIB.values())
    shares = [(gpu.free_mib - (0 if index else beside)) / gpu.total_mib for index, gpu in enumerate(gpus)]
    return max(0, int(min(*shares, MOST_OF_A_GPU) * 100)) / 100


def _does_not_fit(weights: Weights, gpus: Sequence[Gpu], length: int) -> str:
    most = _sizes(weights, gpus)[-1]
    each = "" if most == 1 else f" on each of {most} GPUs"
    smallest = min(gpus[:most], key=lambda gpu: gpu.free_mib)
    free, total = _gb(smallest.free_mib), _gb(smallest.total_mib)
    have = f"{total} GB" if free >= total - 1 else f"{total} GB, of which {free} are free"
    return (
        f"{weights.name} needs about {_gb(needed_mib(weights, length, most))} GB of GPU memory{each}, and "
        f"{_gb(sum(BESIDE_MIB.values()))} beside it for what else runs there; this machine has {have}"
        f"{' on each' if len(gpus) > 1 else ''}: {', or '.join(_ways_out(weights, gpus, length))}."
    )


def _ways_out(weights: Weights, gpus: Sequence[Gpu], length: int) -> Iterator[str]:
    """What would help: larger GPUs always, the rest where it would be enough."""
    yield "take a larger GPU, or 2, 4 or 8 of them"
    lighter = replace(weights, bytes=int(weights.bytes * FP8_WEIGHTS))
    if any(fits(lighter, gpus, length, size) for size in _sizes(weights, gpus)):
        yield "halve the weights (VLLM_EXTRA_ARGS='--quantization fp8')"
    if any(fits(MINI, gpus, length, size) for size in _sizes(MINI, gpus)) and weights.bytes > MINI.bytes:
        yield "take the smaller model (VOXTRAL_MODEL=mistralai/Voxtral-Mini-3B-2507)"


def refuse_without_memory(weights: Weights, available_mib: int) -> None:
    """Refuse a model that the machine's own memory cannot hold, where it is to run on the processor.

    Raises:
        EngineUnavailable: it does not fit.
    """
    length = min(MAX_MODEL_LEN, weights.max_positions or MAX_MODEL_LEN)
    needed = weights.bytes / 2**20 + _cpu_cache_gib(weights, length) * GIB_MIB + ACTIVATIONS_MIB
    if needed > available_mib:
        raise EngineUnavailable(
            f"{weights.name} needs about {_gb(needed)} GB of memory to run on the processor, and {_gb(available_mib)} are "
            "free: no GPU is seen here."
        )


def _gb(mib: float) -> int:
    """In gigabytes as they are sold: a card of 24 GB has 24 GiB."""
    return round(mib / GIB_MIB)
