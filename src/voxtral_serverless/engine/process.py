"""A running engine: its process behind the keeper, its log, its temporary folder, and its certain end.

Promises: when the block is left, however it is left, no process of the engine stays, and nothing of what it left in its
temporary folder, sockets above all; where our own process is killed, the keeper sees to that. Leaves out: whether the
engine is well, and what follows where it is not (`server`).
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
from typing import IO

from voxtral_serverless.engine.boot_log import BootLog
from voxtral_serverless.engine.command import PRIVATE, Launch
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.workspace import workspace

log = logging.getLogger("voxtral_serverless.engine.vllm")

KEEPER = Path(__file__).with_name("_keeper.py")
KILL_TIMEOUT_S = 20.0
"""The keeper needs up to 4 s for an engine that does not end by itself, and moments otherwise."""
LAST_WORDS_S = 1.0
"""Time for the end of the log to arrive."""
LAST_LINES = 50
LINES_A_MINUTE = 200
"""Lines of the engine's log that go into ours; the first ones of every minute."""
LINE_CHARS = 2000


class EngineProcess:
    """An engine that was started.

    Attributes:
        group: Its process group.
        folder: What it leaves in the way of sockets and temporary files is there, and goes with it.
        boot_log: What its log has told of the phases of its start.
    """

    def __init__(self, group: int, folder: Path) -> None:
        self.group, self.folder, self.boot_log = group, folder, BootLog()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """How it ended, in words, as soon as it has; other processes of it may still be there."""
        self.kept = False
        """Whether the keeper has said that nothing of it is left."""
        self.let_go = asyncio.Event()
        """The keeper is gone."""
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
            self.boot_log.hear(line)
            now = int(time.monotonic() // 60)
            if now != minute:
                if passed > LINES_A_MINUTE:
                    log.info("… %d lines of the engine were left out.", passed - LINES_A_MINUTE)
                minute, passed = now, 0
            passed += 1
            if passed <= LINES_A_MINUTE:
                log.info("%s", line)

    async def read_status(self, reader: asyncio.StreamReader) -> None:
        """Hear what the keeper tells, to its end."""
        async for line in _lines(reader):
            match json.loads(line):
                case {"exit": int(status)}:
                    self.ended.set_result(_how_it_ended(status))
                case {"gone": True}:
                    self.kept = True
        if not self.ended.done():
            self.ended.set_result("its keeper was killed")
        self.let_go.set()


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    return f"it was ended by {signal.Signals(-status).name if -status in set(signal.Signals) else -status}"


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
    with os.fdopen(told, "rb", buffering=0) as news, workspace(short=True) as folder:
        try:
            keeper = await _spawn(launch, status, folder)
        finally:
            os.close(status)
        try:
            async with _talking(keeper, news, folder) as process:
                yield process
        finally:
            await _let_go(keeper)


async def _spawn(launch: Launch, status: int, folder: Path) -> asyncio.subprocess.Process:
    """Start the keeper. A cancellation waits until that is done: in the middle of it, the engine would be left."""
    spawning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER), str(status), str(folder), *launch.arguments),
            env=launch.environment | dict.fromkeys(PRIVATE, str(folder)),
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(status,),
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        await _let_go(await spawning)
        raise


async def _let_go(keeper: asyncio.subprocess.Process) -> None:
    """Close the keeper's pipe: it ends the engine, and itself. Waits for that."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(keeper.wait(), KILL_TIMEOUT_S)


@asynccontextmanager
async def _talking(keeper: asyncio.subprocess.Process, news: IO[bytes], folder: Path) -> AsyncIterator[EngineProcess]:
    """The engine, with its log and the keeper's news being read; it has ended when the block is left."""
    status = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(status)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, news)
    try:
        first = json.loads(await status.readline() or b"{}")
        if "group" not in first:
            raise EngineUnavailable(f"the engine cannot be started: {first.get('refused', 'its keeper died')}.")
        process = EngineProcess(first["group"], folder)
        assert keeper.stdout is not None
        readers = [asyncio.create_task(work) for work in (process.read_log(keeper.stdout), process.read_status(status))]
        try:
            yield process
        finally:
            await _end(keeper, process)
            await asyncio.wait(readers, timeout=LAST_WORDS_S)
            for task in readers:
                task.cancel()
    finally:
        pipe.close()


async def _end(keeper: asyncio.subprocess.Process, process: EngineProcess) -> None:
    """Let go of the keeper, which then ends the engine; where it does not, or was killed itself, do it here."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        # Not keeper.wait(): that waits for its output too, which the engine may hold open.
        await asyncio.wait_for(process.let_go.wait(), KILL_TIMEOUT_S)
    except TimeoutError:
        log.warning("the keeper did not end the engine within %.0f s.", KILL_TIMEOUT_S)
    finally:
        if not process.kept:
            with suppress(ProcessLookupError):
                keeper.kill()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.group, signal.SIGKILL)
