"""Where the engine keeps what it has compiled and measured, so that its next start need not do it again.

Promises: every cache that vLLM, Triton, FlashInfer and CUDA make lies below one folder, another one for each kind of
GPU; a folder that cannot be written is passed over, with a line in the log, and never keeps the engine from starting.
Leaves out: whether what is in there still holds, which each of them knows by its own keys (version, configuration,
GPU), and its size: nothing is ever deleted.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.volume import VOLUME
from voxtral_serverless.workspace import own_folder

log = logging.getLogger(__name__)

BELOW = Path("voxtral-serverless") / "engine-cache"
PLACES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
"""Variables, and the folder of each below the root. vLLM has its compiled graphs, what it knows of model classes, its
start-up plan, FlashInfer's tuning and DeepGEMM's kernels below its own."""


def cache_variables(chosen: Path | None, gpus: Sequence[Gpu], inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that send each cache to its place, but for those that are set already."""
    root = _root(chosen, inherited) / _kind(gpus)
    return {name: str(root / place) for name, place in PLACES.items() if name not in inherited}


def _root(chosen: Path | None, inherited: Mapping[str, str]) -> Path:
    """The first folder that can be written: the one chosen, on the volume, the user's own, a temporary one."""
    for folder in _wanted(chosen, inherited):
        if _writable(folder):
            return folder
        log.warning("the engine's cache cannot be written in %s: what it compiles is not kept there.", folder)
    return own_folder() / BELOW.name


def _wanted(chosen: Path | None, inherited: Mapping[str, str]) -> Iterator[Path]:
    if chosen:
        yield Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111 — a user without a home is no error
    if VOLUME.is_mount():
        yield VOLUME / BELOW
    cache = Path(inherited.get("XDG_CACHE_HOME", ""))
    yield (cache if cache.is_absolute() else Path(os.path.expanduser("~/.cache"))) / BELOW  # noqa: PTH111


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _kind(gpus: Sequence[Gpu]) -> str:
    """A folder's name for the GPUs."""
    return re.sub(r"[^a-z0-9]+", "-", gpus[0].name.lower()).strip("-") or "gpu" if gpus else "cpu"
