"""The checks, all at once: each has its time, none ever raises, and their order stays.

What the code under a check logs as a warning belongs to its finding: an `ok` with a warning is a `warning`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.doctor.findings import Finding, Line, problem
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.errors import VoxtralError
from voxtral_serverless.log import redacted

log = logging.getLogger(__name__)

Result = TypeVar("Result")
LIMIT_S = 60.0
"""Longest time for a check."""

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@dataclass(frozen=True)
class Check:
    """One look at the machine."""

    name: str
    look: Callable[[Situation], Awaitable[Finding]]
    limit_s: float = LIMIT_S


def blocking(name: str, look: Callable[[Situation], Finding], limit_s: float = LIMIT_S) -> Check:
    """A check that blocks: it gets a thread of its own, which is left behind where it takes too long."""
    return Check(name, lambda situation: in_thread(partial(look, situation)), limit_s)


async def in_thread(work: Callable[[], Result]) -> Result:
    """The result of blocking `work`, whose warnings are heard here."""
    return await in_daemon_thread(partial(copy_context().run, work))


async def examine(checks: Sequence[Check], situation: Situation) -> list[Line]:
    """The findings of all checks, in the order of the checks."""
    return list(await asyncio.gather(*(_line(check, situation) for check in checks)))


async def _line(check: Check, situation: Situation) -> Line:
    heard: list[str] = []
    _heard.set(heard)
    finding = await _finding(check, situation)
    if heard and finding.mark == "ok":
        finding = replace(finding, mark="warning", remedy=" ".join(heard))
    elif heard:
        finding = finding.with_details(*heard)
    return Line(check.name, finding)


async def _finding(check: Check, situation: Situation) -> Finding:
    try:
        async with asyncio.timeout(check.limit_s):
            return await check.look(situation)
    except TimeoutError:
        return problem(
            f"no answer within {check.limit_s:g} s.",
            "See whether the machine is overloaded, or its driver, disk or network hangs.",
        )
    except VoxtralError as error:
        return problem(error.message)
    except Exception as error:
        log.debug("the check %r failed", check.name, exc_info=True)
        found = f"the check itself failed ({type(error).__name__})."
        return problem(found, "Please report it.").with_details(redacted(str(error)))


class _Listener(logging.Handler):
    """Gives each warning to the check in which it was logged."""

    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None:
            heard.append(redacted(record.getMessage()))


@contextmanager
def listening() -> Iterator[None]:
    """Have the checks in the block hear what is logged; the log itself shows it only where it shows much."""
    logger, listener = logging.getLogger("voxtral_serverless"), _Listener(logging.WARNING)
    level, logger.propagate = logger.level, logger.isEnabledFor(logging.INFO)
    logger.addHandler(listener)
    logger.setLevel(min(level or logging.WARNING, logging.WARNING))
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = True
