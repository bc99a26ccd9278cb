"""The door of every command: whatever goes wrong inside becomes one line on stderr, and an exit status."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import typer

from voxtral_serverless.errors import VoxtralError, public_error

log = logging.getLogger(__name__)

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
