"""What this machine has for an engine: GPUs, the `vllm` command, a free port. Imports neither torch nor vllm.

GPUs are asked of `nvidia-smi`, which NVIDIA's container runtime puts into every GPU container. Other makers' GPUs
are not seen.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxtral_serverless.errors import EngineUnavailable

log = logging.getLogger(__name__)

QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")
QUERY_TIMEOUT_S = 30.0
"""The first question after a cold start can take the driver seconds."""
ENGINE_ENVIRONMENT = ".venv-engine"
"""Beside our own environment, the one that `make engine` sets up: vLLM needs one of its own."""
DEVICES = Path("/dev")
NO_DRIVER, HIDDEN = "there is no nvidia-smi", "CUDA_VISIBLE_DEVICES hides all"
SILENT = "nvidia-smi names none that is visible, with its memory"
"""A driver should be there, and says nothing; or there is a MIG slice, of whose memory it says nothing."""
UNTOLD = "there is a GPU's device, and no nvidia-smi to tell of it"
"""So it is in a container that was given `NVIDIA_DRIVER_CAPABILITIES=compute` alone."""
PORTS = 100
"""So many ports are tried, from the one that is wanted."""


@dataclass(frozen=True)
class Gpu:
    """A GPU and its memory, in MiB."""

    name: str
    total_mib: int
    free_mib: int


def seen_gpus() -> tuple[Gpu, ...]:
    """The GPUs that a process started here would see: all, or those that `CUDA_VISIBLE_DEVICES` names, in its order."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=QUERY_TIMEOUT_S)
    except FileNotFoundError:
        return ()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi does not answer (%s): no GPU is used.", type(error).__name__)
        return ()
    return parse_gpus(answer.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))


def why_no_gpu() -> str:
    """Why `seen_gpus` sees none, where it does."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return HIDDEN
    if shutil.which(QUERY[0]):
        return SILENT
    return UNTOLD if any(DEVICES.glob("nvidia[0-9]*")) else NO_DRIVER


def parse_gpus(table: str, visible: str | None = None) -> tuple[Gpu, ...]:
    """The GPUs in the answer of nvidia-smi, those that `visible` (indices or UUIDs, comma-separated) names."""
    gpus: dict[tuple[str, str], Gpu] = {}
    for line in table.splitlines():
        match [cell.strip() for cell in line.split(",")]:
            case [index, uuid, name, total, free] if total.isdigit() and free.isdigit():
                gpus[index, uuid] = Gpu(name, int(total), int(free))
            case _:
                log.warning("a GPU that tells nothing of its memory is not used: %s", line.strip())
    if visible is None:
        return tuple(gpus.values())
    found = []
    for name in visible.split(","):
        match = [gpu for key, gpu in gpus.items() if _is(name.strip(), *key)]
        if not match:  # CUDA reads the list up to the first name that it does not know
            break
        found.append(match[0])
    return tuple(found)


def _is(name: str, index: str, uuid: str) -> bool:
    return name == index or (name.startswith("GPU-") and uuid.startswith(name))


def available_memory_mib() -> int:
    """Memory that a new process may use here: of the machine, or of the container where that is less, in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) // 1024
    with suppress(OSError, ValueError):  # "max", or no control group of its own
        limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
        available = min(available, (limit - used) >> 20)
    return available


def find_vllm(chosen: str | None) -> str | None:
    """The `vllm` command: the one chosen, on the PATH, or in an environment beside ours; None where there is none."""
    places = (None, Path(sys.prefix) / "bin", Path(sys.prefix).parent / ENGINE_ENVIRONMENT / "bin")
    if chosen:
        return shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
    return next((found for place in places if (found := shutil.which("vllm", path=place and str(place)))), None)


def free_port(wanted: int) -> int:
    """The first free port of loopback, from `wanted` on; another one than it gets a line in the log.

    Raises:
        EngineUnavailable: there is none near it.
    """
    for port in range(wanted, min(wanted + PORTS, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port != wanted:
            log.warning("port %d (VLLM_PORT) is taken: the engine listens on port %d.", wanted, port)
        return port
    raise EngineUnavailable(f"no port from {wanted} on is free for the engine: set VLLM_PORT to a free one.")
