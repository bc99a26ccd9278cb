"""The door of every command: whatever goes wrong inside becomes one line on stderr, and an exit status."""

from __future__ import annotations

import logging
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import typer

from voxtral_serverless.errors import VoxtralError, public_error

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SIGNALLED = 128
"""To this is added the number of the signal that ended the command, as shells have it."""


class Interrupted(Exception):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def door(level: int, style: Literal["plain", "json"] = "plain") -> Iterator[None]:
    """Whatever is raised inside becomes one line on stderr and an exit status."""
    from voxtral_serverless.log import set_up_logging

    set_up_logging(level, style=style)
    try:
        yield
    except typer.Exit:
        raise
    except (Interrupted, KeyboardInterrupt) as interruption:
        typer.echo("interrupted", err=True)
        number = interruption.number if isinstance(interruption, Interrupted) else signal.SIGINT
        raise typer.Exit(SIGNALLED + number) from None
    except Exception as error:
        if not isinstance(error, VoxtralError):
            log.exception("unexpected failure")
        shown = public_error(error)
        typer.echo(str(shown), err=True)
        raise typer.Exit(shown.exit_status) from None


def run_to_its_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` in a loop of its own; SIGINT and SIGTERM cancel it, so that nothing of it stays behind.

    Raises:
        Interrupted: by such a signal.
    """
    import asyncio

    received: list[int] = []

    async def until_done() -> Result:
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(until_done())
    except asyncio.CancelledError:
        raise Interrupted(received[0] if received else signal.SIGTERM) from None
