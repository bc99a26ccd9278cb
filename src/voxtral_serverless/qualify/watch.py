"""What the processes of the worker hold at their peak: memory, the GPU's memory, the disk of their temporary files.

Promises: figures of this process and of its descendants alone, looked at twice a second while the block lasts; null where
nobody tells. Temporary files are those that came since it began. Memory is the resident set, in which pages that processes share count for each of them. Leaves out: what
falls between two looks, and GPUs of other makers than NVIDIA.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

from voxtral_serverless.qualify.units import Reading
from voxtral_serverless.workspace import own_folder

LOOK_S = 0.5
MIB = 1 << 20
ASK_S = 10.0
"""Longest wait for nvidia-smi."""
Role = Literal["worker", "vllm", "torch"]
BY_PROCESS = ("nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits")
BY_GPU = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")


class Watch:
    """The highest figures seen so far."""

    def __init__(self) -> None:
        self._peaks: Counter[str] = Counter()
        self._held_before = _held(own_folder())

    def peaks(self) -> Reading:
        """The figures in MiB: resident memory and GPU memory by role, that of the GPUs as a whole, the temporary files."""
        names = [f"{role}_{what}_mib" for what in ("rss", "gpu") for role in get_args(Role)]
        seen = {name: self._peaks.get(name) for name in (*names, "gpu_used_mib")}
        return {**seen, "disk_mib": self._peaks["disk_mib"]}

    def look(self) -> None:
        """Look once. Blocks, for as long as nvidia-smi takes."""
        seen: Counter[str] = Counter()
        roles: dict[int, Role] = {}
        for pid, role, rss in _processes():
            roles[pid] = role
            seen[f"{role}_rss_mib"] += rss // MIB
        for pid, used_mib in _rows(BY_PROCESS, 2):
            if pid in roles:
                seen[f"{roles[pid]}_gpu_mib"] += used_mib
        for (used_mib,) in _rows(BY_GPU, 1):
            seen["gpu_used_mib"] += used_mib
        seen["disk_mib"] = max(0, _held(own_folder()) - self._held_before) // MIB
        self._peaks |= seen


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """A watch that looks while the block lasts, in a thread."""
    watch = Watch()

    async def look_on() -> None:
        while True:
            await asyncio.to_thread(watch.look)
            await asyncio.sleep(LOOK_S)

    looking = asyncio.create_task(look_on())
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _processes() -> Iterator[tuple[int, Role, int]]:
    """Our process and its descendants: number, role, bytes of resident memory."""
    import psutil

    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):
            yield process.pid, _role(" ".join(process.cmdline())), process.memory_info().rss


def _role(command: str) -> Role:
    """Whose process it is, by its command line: the engine's processes call themselves VLLM::…"""
    if command.startswith("VLLM::") or " serve " in command:
        return "vllm"
    return "torch" if "_torch_process" in command else "worker"


def _rows(question: tuple[str, ...], columns: int) -> list[list[int]]:
    """The numbers that nvidia-smi answers, a list for each line; none where it is not there, or says nothing."""
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True, timeout=ASK_S).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    return [[int(cell) for cell in row] for row in rows if len(row) == columns and all(map(str.isdigit, row))]


def _held(folder: Path) -> int:
    """Bytes of the files below a folder, some of which may be going."""
    held = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                held += Path(place, name).lstat().st_blocks * 512
    return held
