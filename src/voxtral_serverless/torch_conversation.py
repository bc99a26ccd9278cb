"""Several questions at once to the process that holds torch (`_torch_process`), each with a number of its own.

Promises: a question hears what is said about it and nothing else; it fails when the process dies, babbles, or says
nothing about it for too long; a cancelled one is over once the process has left it. Leaves out: starting, replacing and
asking again (`torch_process`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from voxtral_serverless.child import Child
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.reporting import Report

log = logging.getLogger(__name__)

CANCEL_S = 1.0
"""A process that has not left a cancelled question by then is of no more use."""

Message = dict[str, Any]


class ProcessFailed(Exception):
    """The process is of no more use."""


class Conversation:
    """A process that answers. Made by `conversation`.

    Attributes:
        deaf: It did not leave a question that was cancelled: it is of no more use.
    """

    def __init__(self, child: Child, silence_s: float) -> None:
        self.child, self.deaf = child, False
        self._silence_s = silence_s
        self._numbers = count(1)
        self._open: dict[int, asyncio.Queue[Message | None]] = {}
        self._over: str | None = None

    async def ask(self, question: Mapping[str, Any], report: Report, *, left: bool = True) -> Message:
        """The last that is said about a question; `report` hears how far it is.

        When it is cancelled, the process is asked to leave it, unless it is not to be `left`.

        Raises:
            ProcessFailed: the process died, said what is no answer, or said nothing about it for too long.
        """
        number = next(self._numbers)
        self._open[number] = asyncio.Queue()
        try:
            return await self._answer(number, question, report)
        except ProcessFailed:
            raise
        except BaseException:  # cancelled, or whoever hears the reports failed: nobody wants the answer any more
            if left:
                await self._leave(number)
            raise
        finally:
            del self._open[number]

    async def listen(self) -> None:
        """Pass on what the process says, until it says no more, or nobody is to listen any longer."""
        over = "it was ended"
        try:
            while (message := await self.child.receive()) is not None:
                if said := self._open.get(message.get("number", 0)):
                    said.put_nowait(message)
            over = f"it died: {self.child.complaints()}"
        except StageFailed as failure:
            over = failure.message
        finally:
            self._over = over
            for said in self._open.values():
                said.put_nowait(None)

    async def _answer(self, number: int, question: Mapping[str, Any], report: Report) -> Message:
        await self._say({**question, "number": number})
        while (message := await self._heard(number))["event"] == "progress":
            report(message["share"], 1.0)
        return message

    async def _leave(self, number: int) -> None:
        """Have a question that is being worked on left."""
        left = False
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._say({"cancel": number})
                while (await self._heard(number))["event"] == "progress":
                    pass
            left = True
        except (TimeoutError, ProcessFailed) as failure:
            log.info("the torch process did not leave a cancelled question (%s)", type(failure).__name__)
        finally:
            self.deaf = self.deaf or not left

    async def _say(self, message: Mapping[str, Any]) -> None:
        try:
            await self.child.send(message)
        except StageFailed as failure:
            raise ProcessFailed(failure.message) from failure

    async def _heard(self, number: int) -> Message:
        if self._over is not None and self._open[number].empty():
            raise ProcessFailed(self._over)
        try:
            async with asyncio.timeout(self._silence_s):  # wait_for may swallow a cancellation, in Python 3.11
                message = await self._open[number].get()
        except TimeoutError as error:
            raise ProcessFailed(f"it said nothing for {self._silence_s:g} s") from error
        if message is None:
            raise ProcessFailed(self._over)
        return message


@asynccontextmanager
async def conversation(child: Child, *, silence_s: float) -> AsyncIterator[Conversation]:
    """Talk with `child`, which has hung when it says nothing about a question for `silence_s`."""
    talk = Conversation(child, silence_s)
    listening = asyncio.create_task(talk.listen())
    try:
        yield talk
    finally:
        listening.cancel()
        await asyncio.wait([listening])
