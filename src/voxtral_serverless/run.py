"""What the stages of one job share."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
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
    """One job under way: the parts that do it, its language once that is known, and what went wrong on the way."""

    job: JobOptions
    services: Services
    events: Events
    meter: Meter
    notices: list[Notice] = field(default_factory=list)
    language: str | None = None

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
