"""The worker's end of the one process that holds torch (`_torch_process`): started once, asked, replaced when it fails.

Promises: it diarizes and aligns side by side, one recording each; a process that dies, hangs or fails over a question is
replaced, and what it was asked is asked once more, each question with the process to itself, so that none pays twice for
another; a cancelled question is left within two seconds, with a fresh process where this one does not listen; nothing of
it is left when the block ends. Leaves out: how it is spoken to (`torch_conversation`), what is asked
(`diarization.pyannote`, `transcription.aligner`), and of what models (`torch_parts`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voxtral_serverless.child import GPU_ORDER, MACHINE, running_child
from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.errors import EngineUnavailable, StageFailed
from voxtral_serverless.reporting import Report, unheard
from voxtral_serverless.torch_conversation import Conversation, Message, ProcessFailed, conversation
from voxtral_serverless.workspace import workspace

log = logging.getLogger(__name__)

Work = Literal["align", "diarize"]
WORKS: tuple[Work, ...] = ("align", "diarize")
ATTEMPTS = 2
PACKAGE = Path(__file__).with_name("__init__.py")
BOOT = """
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location("voxtral_serverless", sys.argv[1])
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
runpy.run_module("voxtral_serverless._torch_process", run_name="__main__")
"""
"""Lets the other Python find our package, and nothing else of our environment."""
OFFLINE = {"PYANNOTE_METRICS_ENABLED": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
"""Its models are here; and pyannote tells its makers the length and the speakers of every recording, unless told not to."""


UNSTARTABLE = (
    "the process of pyannote and the aligners cannot be started; the worker's log says why. DIARIZER=none does without "
    "pyannote; an aligner is needed only where ALIGNMENT_LANGUAGES or TRANSCRIPTION_PLAN=windows asks for one."
)


@dataclass(frozen=True)
class _Running:
    """A process that can be asked."""

    talk: Conversation
    device: str


class TorchProcess:
    """The process, or the one that took its place. Made by `torch_process`."""

    def __init__(self, python: str, models: Callable[[], Mapping[str, Any]], freeze_timeout_s: float) -> None:
        self._python, self._models, self._freeze_timeout_s = python, models, freeze_timeout_s
        self._lanes = {work: asyncio.Lock() for work in WORKS}
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False
        self._begin()

    @property
    def pid(self) -> int | None:
        """The number of the process that can be asked now; None while there is none."""
        if self._running_now is None:
            return None
        process = self._running_now.talk.child.process
        return process.pid if process.returncode is None else None

    @property
    def _running_now(self) -> _Running | None:
        """The process that was started last, once it could be asked."""
        if not self._start.done() or self._start.cancelled() or self._start.exception():
            return None
        return self._start.result()

    async def ready(self) -> str:
        """Wait until it can be asked. The device that it computes on, as torch calls it.

        Raises:
            EngineUnavailable, ModelUnavailable: it cannot be started.
        """
        return (await self._running()).device

    async def ask(self, work: Work, question: Mapping[str, Any], report: Report) -> Message:
        """The answer to a question; `report` hears how far it is.

        Raises:
            StageFailed: two processes, one after the other, failed over it.
            EngineUnavailable, ModelUnavailable: no process can be started any more.
        """
        for attempt in range(1, ATTEMPTS + 1):
            async with self._turn(work, alone=attempt > 1):
                running = await self._running()
                try:
                    return await self._ask(running, {"do": work, **question}, report)
                except ProcessFailed as failure:
                    log.warning("the torch process failed, attempt %d of %d: %s", attempt, ATTEMPTS, failure)
                    self._replace(running)
        raise StageFailed(f"the process that is to {work} failed on this recording twice.")

    @asynccontextmanager
    async def _turn(self, work: Work, *, alone: bool) -> AsyncIterator[None]:
        """The right to ask: one question of each work at a time, or this one and no other."""
        async with AsyncExitStack() as held:
            for lane in WORKS if alone else (work,):
                await held.enter_async_context(self._lanes[lane])
            yield

    async def _ask(self, running: _Running, question: Mapping[str, Any], report: Report) -> Message:
        try:
            message = await running.talk.ask(question, report)
        finally:
            if running.talk.deaf and not self._closed:
                self._replace(running)
        if message["event"] != "answer":
            raise ProcessFailed(message.get("reason"))
        return message

    async def close(self) -> None:
        """End it."""
        self._closed = True
        await asyncio.shield(asyncio.create_task(self._end()))

    async def _end(self) -> None:
        self._start.cancel()
        await asyncio.gather(self._start, return_exceptions=True)
        await asyncio.gather(self._stack.aclose(), *self._endings)

    async def _running(self) -> _Running:
        if self._start.done() and self.pid is None:
            self._begin_anew()
        return await asyncio.shield(self._start)

    def _begin(self) -> None:
        self._stack = AsyncExitStack()
        self._start = asyncio.create_task(self._begun(self._stack))

    def _replace(self, failed: _Running) -> None:
        """End this process, and start another one, unless that was done already, over another question."""
        if self._running_now is failed:
            self._begin_anew()

    def _begin_anew(self) -> None:
        if self._closed:
            raise EngineUnavailable("the worker is ending.")
        ending = asyncio.create_task(self._stack.aclose())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        self._begin()

    async def _begun(self, stack: AsyncExitStack) -> _Running:
        """A process that is ready; one that dies or hangs while it loads is started once more."""
        reason = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._started(stack)
            except (OSError, StageFailed, ProcessFailed) as failure:
                reason = str(failure)
                log.warning("the torch process did not start, attempt %d of %d: %s", attempt, ATTEMPTS, reason)
                await stack.aclose()
        raise EngineUnavailable(UNSTARTABLE, reason)

    async def _started(self, stack: AsyncExitStack) -> _Running:
        models = await in_daemon_thread(self._models)
        folder = stack.enter_context(workspace())
        arguments = (self._python, "-c", BOOT, str(PACKAGE))
        child = await stack.enter_async_context(
            running_child(arguments, folder=folder, environment=_environment(folder))
        )
        talk = await stack.enter_async_context(conversation(child, silence_s=self._freeze_timeout_s))
        message = await talk.ask({"do": "load", **models}, unheard, left=False)
        if message["event"] != "ready":
            log.error("the torch process cannot load its models: %s", message.get("reason"))
            await stack.aclose()
            raise EngineUnavailable(UNSTARTABLE, str(message.get("reason")))
        for warning in message["warnings"]:
            log.warning("%s", warning)
        return _Running(talk, message["device"])


@asynccontextmanager
async def torch_process(
    python: str, models: Callable[[], Mapping[str, Any]], *, freeze_timeout_s: float
) -> AsyncIterator[TorchProcess]:
    """A process of the interpreter `python`; still loading when the block is entered.

    `models` tells what it is to load, as JSON values; it blocks, in a thread, as long as it takes to find them. A
    process that says nothing for `freeze_timeout_s` has hung.
    """
    process = TorchProcess(python, models, freeze_timeout_s)
    try:
        yield process
    finally:
        await process.close()


def _environment(folder: Path) -> dict[str, str]:
    """What the process sees of ours; what its libraries write by the way goes to `folder`."""
    machine = {name: value for name in MACHINE if (value := os.environ.get(name))}
    return GPU_ORDER | machine | OFFLINE | {"TMPDIR": str(folder), "MPLCONFIGDIR": str(folder), "HF_HOME": str(folder)}
