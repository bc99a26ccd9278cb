"""A running engine: its process behind the keeper, its log, and its certain end.

Promises: when the block is left, however it is left, no process of the engine stays; where our own process is
killed, the keeper sees to that. Leaves out: whether the engine is well, and what follows where it is not (`server`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from voxtral_serverless.engine.command import Launch
from voxtral_serverless.errors import EngineUnavailable

log = logging.getLogger("voxtral_serverless.engine.vllm")

KEEPER = Path(__file__).with_name("_keeper.py")
KILL_TIMEOUT_S = 20.0
"""The keeper needs 3 s for an engine that does not end by itself, and moments otherwise."""
LAST_LINES = 50
LINES_A_MINUTE = 200
"""Lines of the engine's log that go into ours; the first ones of every minute."""
LINE_CHARS = 2000


class EngineProcess:
    """An engine that was started. `group` is its process group."""

    def __init__(self, group: int) -> None:
        self.group = group
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """How it ended, in words, once it has: a death, or its end by the block."""
        self._lines: deque[str] = deque(maxlen=LAST_LINES)

    def last_lines(self) -> str:
        """The end of the engine's log."""
        return "\n".join(self._lines)

    def cause(self) -> str:
        """What the engine's log gives as the reason of its failure, without paths; empty where it gives none."""
        errors = (re.search(r"\b(\w*(?:Error|Exception): .+)", line) for line in reversed(self._lines))
        # A wrapped error ends with "Engine core initialization failed. See root cause above": look above.
        found = next((error[1] for error in errors if error and "root cause" not in error[1]), "")
        return re.sub(r"(?:/[\w.@+-]+)+/([\w.@+-]+)", r"\1", found)[:300]

    async def read_log(self, reader: asyncio.StreamReader) -> None:
        """Pass the engine's lines on, at most so many a minute."""
        minute, passed = 0, 0
        async for line in _lines(reader):
            self._lines.append(line)
            now = int(time.monotonic() // 60)
            if now != minute:
                if passed > LINES_A_MINUTE:
                    log.info("… %d lines of the engine were left out.", passed - LINES_A_MINUTE)
                minute, passed = now, 0
            passed += 1
            if passed <= LINES_A_MINUTE:
                log.info("%s", line)

    async def read_status(self, reader: asyncio.StreamReader) -> None:
        """Wait for the keeper's last word."""
        reason = "its keeper was killed"
        async for line in _lines(reader):
            match json.loads(line):
                case {"exit": int(status)}:
                    reason = (
                        f"it was ended by {_signal_name(-status)}" if status < 0 else f"it ended with status {status}"
                    )
        self.ended.set_result(reason)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """The lines of `reader`, the end of long ones left out."""
    rest = b""
    while block := await reader.read(1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")[:LINE_CHARS].rstrip()
        rest = rest[: 4 * LINE_CHARS]
    if rest:
        yield rest.decode(errors="replace")[:LINE_CHARS]


@asynccontextmanager
async def engine_process(launch: Launch) -> AsyncIterator[EngineProcess]:
    """Start the engine; end all of it when the block is left.

    Raises:
        EngineUnavailable: the command cannot be started.
    """
    told, status = os.pipe()
    try:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER), str(status), *launch.arguments),
            env=launch.environment,
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(status,),
            start_new_session=True,
        )
    finally:
        os.close(status)
    try:
        reader, pipe = await _reader_of(told)
        first = json.loads(await reader.readline() or b"{}")
        if "group" not in first:
            raise EngineUnavailable(f"the engine cannot be started: {first.get('refused', 'its keeper died')}.")
        process = EngineProcess(first["group"])
        assert keeper.stdout is not None
        readers = [
            asyncio.create_task(process.read_log(keeper.stdout)),
            asyncio.create_task(process.read_status(reader)),
        ]
        try:
            yield process
        finally:
            await _end(keeper, process.group)
            await asyncio.wait(readers, timeout=1.0)
            for task in readers:
                task.cancel()
            pipe.close()
    finally:
        await _end(keeper, None)


async def _reader_of(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport


async def _end(keeper: asyncio.subprocess.Process, group: int | None) -> None:
    """Let go of the keeper, which then ends the engine; where it does not, or was killed itself, do it here."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        await asyncio.wait_for(asyncio.shield(keeper.wait()), KILL_TIMEOUT_S)
    except TimeoutError:
        keeper.kill()
        await asyncio.shield(keeper.wait())
    finally:
        if group is not None and keeper.returncode != 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
