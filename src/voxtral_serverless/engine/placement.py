"""Where a model lies: over how many GPUs, with which share of their memory, or on the processor; and whether it fits. Pure.

Figures without a source are estimates from public ones, not yet measured on a GPU (docs/engine.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.errors import EngineUnavailable

MAX_MODEL_LEN = 16_384
"""Tokens in one request: 50 minutes of transcript beside a question and its answer, or 15 minutes of audio. Profiling
the encoder costs memory with it."""
MAX_NUM_SEQS = {"gpu": 32, "cpu": 4}
"""Requests in one batch; the rest wait inside vLLM."""
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
class Shape:
    """How the model lies on the GPUs: over how many, and with which share of each one's memory."""

    tensor_parallel: int
    memory_share: float


def context_length(weights: Weights) -> int:
    """Tokens that a request may have."""
    return min(MAX_MODEL_LEN, weights.max_positions or MAX_MODEL_LEN)


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


def cpu_cache_gib(weights: Weights, length: int) -> int:
    """A cache for as many full requests as go into a batch, in whole GiB."""
    return math.ceil(MAX_NUM_SEQS["cpu"] * length * weights.kv_bytes_per_token / 2**30)


def refuse_without_memory(weights: Weights, available_mib: int) -> None:
    """Refuse a model that the machine's own memory cannot hold, where it is to run on the processor.

    Raises:
        EngineUnavailable: it does not fit.
    """
    length = context_length(weights)
    needed = weights.bytes / 2**20 + cpu_cache_gib(weights, length) * GIB_MIB + ACTIVATIONS_MIB
    if needed > available_mib:
        raise EngineUnavailable(
            f"{weights.name} needs about {_gb(needed)} GB of memory to run on the processor, and {_gb(available_mib)} are "
            "free: no GPU is seen here."
        )


def _gb(mib: float) -> int:
    """In gigabytes as they are sold: a card of 24 GB has 24 GiB."""
    return round(mib / GIB_MIB)
