"""Checks of the GPUs: which there are, their driver, and whether the model fits."""

from __future__ import annotations

import subprocess

from voxtral_serverless.doctor.findings import Finding, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.command import placed_by_hand, refuse_too_large
from voxtral_serverless.engine.machine import QUERY_TIMEOUT_S, SILENT, UNTOLD, available_memory_mib
from voxtral_serverless.engine.placement import GIB_MIB, KNOWN, context_length, needed_mib, place

LEAST_DRIVER = {12: 525, 13: 580}
"""The oldest driver for every minor version of a CUDA (NVIDIA, CUDA Compatibility, Minor Version Compatibility)."""
DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
GPU = "Take a machine with an NVIDIA GPU (in Docker: --gpus all)"
WAYS = (
    f"{GPU}; or set VLLM_BASE_URL to a Voxtral that is served elsewhere; or ENGINE=vllm to run vLLM on the processor, "
    "which is slow; or, for a trial, ENGINE=embedded (English only, inaccurate)."
)

REPAIRS = {
    SILENT: "See what `nvidia-smi` says.",
    UNTOLD: "In Docker add -e NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
}
"""What to do about a GPU that is there, it seems, and cannot be reckoned with."""


def gpu_check(situation: Situation) -> Finding:
    """Which GPUs there are, and what having none means."""
    if situation.gpus:
        names = [
            f"{gpu.name} ({gpu.total_mib / GIB_MIB:.0f} GB, {gpu.free_mib / GIB_MIB:.0f} free)"
            for gpu in situation.gpus
        ]
        return ok(f"{', '.join(names)}.")
    return _without(situation, f"there is no GPU ({situation.no_gpu})")


def _without(situation: Situation, found: str) -> Finding:
    """What having none means for what is to run."""
    if situation.settings.engine == "embedded" and not situation.diarizes:
        return skipped(f"{found}; the embedded engine needs none.")
    if situation.no_gpu in REPAIRS:
        return problem(f"{found}.", f"{REPAIRS[situation.no_gpu]} {WAYS}")
    if situation.own_engine:
        return warning(
            f"{found}: vLLM runs on the processor, which is slow.",
            f"{GPU}, or set VLLM_BASE_URL to a Voxtral that is served elsewhere.",
        )
    if situation.diarizes:
        return warning(f"{found}: pyannote runs on the processor.", f"{GPU}, or do without speakers (DIARIZER=none).")
    if situation.served:
        return skipped(f"{found}; Voxtral is served elsewhere.")
    return warning(f"{found}, so Voxtral is not used.", WAYS)


def driver_check(situation: Situation) -> Finding:
    """Whether the driver is new enough for the CUDA of the vLLM in use."""
    if not (situation.gpus and situation.own_engine):
        return skipped("no GPU that a vLLM of ours would use.")
    python, driver = situation.vllm_python(), driver_version()
    if python is None:
        return skipped(f"driver {driver or 'unknown'}; there is no vLLM to compare it with.")
    return driver_finding(driver, python.cuda)


def driver_version() -> str | None:
    """The version of NVIDIA's driver, None where it does not say."""
    try:
        done = subprocess.run(DRIVER_QUERY, capture_output=True, text=True, check=True, timeout=QUERY_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), None)


def driver_finding(driver: str | None, cuda: str | None) -> Finding:
    """What a driver means for a vLLM whose torch is built for `cuda`, None for one without it. Pure."""
    if cuda is None:
        return problem("vLLM's torch is built without CUDA: it cannot use the GPU.", "Install vLLM's build for CUDA.")
    least = LEAST_DRIVER.get(int(cuda.partition(".")[0]) if cuda.partition(".")[0].isdigit() else 0)
    major = (driver or "").partition(".")[0]
    if least is None or not major.isdigit():
        return warning(
            f"driver {driver or 'unknown'}, vLLM's CUDA {cuda}: not known whether they go together.", "Try it."
        )
    if int(major) < least:
        other = ", or install vLLM's build for CUDA 12.9 (cu129)" if least == LEAST_DRIVER[13] else ""
        return problem(
            f"driver {driver} is too old for vLLM's CUDA {cuda}, which needs {least} or newer.",
            f"Update the driver; on RunPod allow only hosts with CUDA {cuda} (allowedCudaVersions){other}.",
        )
    return ok(f"driver {driver} is enough for vLLM's CUDA {cuda} ({least} or newer).")


def placement_check(situation: Situation) -> Finding:
    """Whether the model fits on the GPUs, or in the memory where there is none."""
    settings = situation.settings
    if not situation.own_engine:
        return skipped("no vLLM of ours runs here.")
    weights = situation.weights() or KNOWN.get(settings.voxtral_model)
    if weights is None:
        return skipped("the size of the model is known once it is here.")
    available_mib = available_memory_mib()
    refuse_too_large(weights, situation.gpus, available_mib, settings.vllm_extra_args)
    if placed_by_hand(settings.vllm_extra_args):
        return ok(f"VLLM_EXTRA_ARGS says how {weights.name} is placed; not checked.")
    if not situation.gpus:
        return ok(
            f"{weights.name} fits into the memory of the machine, {available_mib / GIB_MIB:.0f} GB of which are free."
        )
    return _on_gpus(situation, weights)


def _on_gpus(situation: Situation, weights: Weights) -> Finding:
    length = context_length(weights)
    shape = place(weights, situation.gpus, length)
    count = shape.tensor_parallel
    each = "the GPU" if count == 1 else f"each of {count} GPUs"
    needed = needed_mib(weights, length, count) / GIB_MIB
    return ok(f"{weights.name} needs about {needed:.0f} GB of {each}; vLLM gets {shape.memory_share:.0%} of it.")
