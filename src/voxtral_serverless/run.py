"""What the stages of one job share."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from voxtral_serverless.contract import JobOptions
from voxtral_serverless.errors import InternalError, Notice, VoxtralError
from voxtral_serverless.progress import Events, Meter
from voxtral_serverless.services import Services

log = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass
class Run:
    """One job under way: the parts that do it, its language once that is known, and what went wrong on the way.

    Attributes:
        deadline: When it has to be done, on the clock of the event loop; None where it may take its time.
        missed: What was not done in time.
        mishaps: How many clips were befallen by what, by the codes of `transcript.MISHAPS`.
    """

    job: JobOptions
    services: Services
    events: Events
    meter: Meter
    deadline: float | None = None
    notices: list[Notice] = field(default_factory=list)
    language: str | None = None
    missed: list[str] = field(default_factory=list)
    mishaps: Counter[str] = field(default_factory=Counter)

    def warn(self, *notices: Notice) -> None:
        """Add warnings to the answer, each once."""
        self.notices += [notice for notice in notices if notice not in self.notices]

    async def attempt(
        self, what: str, work: Awaitable[Value], *, fatal: tuple[type[VoxtralError], ...] = ()
    ) -> Value | None:
        """The value of `work`, or None and a warning: the job goes on without it. What is `fatal` is raised."""
        try:
            return await work
        except fatal:
            raise
        except VoxtralError as error:
            self.warn(error.notice())
        except Exception:
            log.exception("%s failed unexpectedly", what)
            self.warn(InternalError(f"{what} failed unexpectedly; the worker's log has the details.").notice())
        return None

    @asynccontextmanager
    async def in_time(self, missing: str, share: float = 1.0) -> AsyncIterator[asyncio.Timeout]:
        """Leave the block, with a warning of what is `missing` then, when `share` of the time that is left is over."""
        try:
            async with asyncio.timeout_at(self._moment(share)) as timeout:
                yield timeout
        except TimeoutError:
            if not timeout.expired():
                raise
            self.missed.append(missing)
            self.warn(Notice("deadline_reached", f"the job's time was nearly over: {missing}."))

    def _moment(self, share: float) -> float | None:
        if self.deadline is None:
            return None
        now = asyncio.get_running_loop().time()
        return now + share * (self.deadline - now)
