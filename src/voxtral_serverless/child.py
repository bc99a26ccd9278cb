"""A child process that speaks JSON lines, and never outlives the block that started it.

Promises: the child has a process group of its own, which is killed when the block is left, however it is left
(cancellation too). Leaves out: restarts and limits, which are the business of the child and of its caller.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

from voxtral_serverless.errors import StageFailed

LINE_BYTES = 1 << 23
"""Longest line that a child may write: the turns of many hours fit."""
MACHINE = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_CACHE_PATH", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "OMP_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF",
)  # fmt: skip
"""What a child that computes may see of our environment: the machine, none of our settings, no token, no key."""
GPU_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Has CUDA number the GPUs as nvidia-smi does it, by which we reckon; by itself it begins with the fastest."""
COMPLAINT_BYTES = 2000
NO_ANSWER = "a helper process wrote something that is no answer."


class Child:
    """The parent's end of a running child."""

    def __init__(self, process: asyncio.subprocess.Process, lines: asyncio.StreamReader, complaints: IO[bytes]) -> None:
        self.process = process
        self._lines = lines
        self._complaints = complaints

    def complaints(self) -> str:
        """The last of what the child wrote on its standard error, for the log."""
        end = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, end - COMPLAINT_BYTES))
        return self._complaints.read().decode(errors="replace").strip()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write one line to the child's standard input.

        Raises:
            StageFailed: the child is gone.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise StageFailed("a helper process died.") from error

    async def receive(self) -> dict[str, Any] | None:
        """The next line of the child, None where it has closed its output.

        Raises:
            StageFailed: the line is not a JSON object, or too long.
        """
        try:
            line = await self._lines.readline()
        except ValueError as error:
            raise StageFailed(NO_ANSWER) from error
        return parsed(line) if line else None


def parsed(line: bytes) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        StageFailed: it is none.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:  # no JSON, or brackets in brackets
        raise StageFailed(NO_ANSWER) from error
    if not isinstance(message, dict):
        raise StageFailed(NO_ANSWER)
    return message


@asynccontextmanager
async def running_child(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    line_bytes: int = LINE_BYTES,
) -> AsyncIterator[Child]:
    """Start `arguments` in `folder`; kill its whole group when the block is left.

    Its standard input is the file `stdin`, or else a pipe for `Child.send`. A line of more than `line_bytes` is none.
    """
    with tempfile.TemporaryFile() as complaints:
        async with _output(line_bytes) as (lines, output):
            process = await asyncio.create_subprocess_exec(
                *arguments,
                cwd=folder,
                env=dict(environment),
                stdin=stdin or asyncio.subprocess.PIPE,
                stdout=output,
                stderr=complaints,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )
            output.close()
            try:
                yield Child(process, lines, complaints)
            finally:
                await _end(process)


@asynccontextmanager
async def _output(line_bytes: int) -> AsyncIterator[tuple[asyncio.StreamReader, IO[bytes]]]:
    """A pipe: the lines that come out of it, and the end for the child.

    It is closed with the block, whoever else holds its other end and however much is in it. The one that asyncio would
    make stays open until all of it is read, and `wait` waits for that.
    """
    end, other_end = (os.fdopen(number, mode) for number, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with other_end:
        lines = asyncio.StreamReader(limit=line_bytes)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), end)
        try:
            yield lines, other_end
        finally:
            transport.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.transport.abort()
    await asyncio.shield(process.wait())
