"""Progress bars on a terminal's stderr. Where there is none a job is silent, and an examination tells each unit."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from voxtral_serverless.progress import Events, NoEvents, Progress
from voxtral_serverless.transcription.plan import Utterance

if TYPE_CHECKING:
    import rich.progress

    from voxtral_serverless.qualify.measuring import Telling
    from voxtral_serverless.qualify.units import Reading


@contextmanager
def terminal_events() -> Iterator[Events]:
    """Events that draw one bar for the whole job while the block lasts."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield NoEvents()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _BarEvents(bars)


class _BarEvents:
    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("starting", total=100)

    def progress(self, progress: Progress) -> None:
        """Move the bar."""
        name = progress.stage.replace("_", " ")
        self._bars.update(self._task, completed=progress.percent, description=name)

    def utterance(self, utterance: Utterance) -> None:
        """Nothing: the answer comes as a whole."""


@contextmanager
def terminal_telling() -> Iterator[Telling]:
    """Tells how far an examination is, while the block lasts: a bar on a terminal, else a line for each unit."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _UnitBars(bars)


class _UnitBars:
    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("starting", total=None)

    def says(self, text: str) -> None:
        """Leave a line."""
        self._bars.console.print(text, markup=False, highlight=False)

    def begun(self, unit: str, number: int, total: int) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=number - 1, total=total, description=unit)

    def goes_on(self, unit: str, seconds: float) -> None:
        """Nothing: the bar's clock tells it."""

    def ended(self, unit: str, reading: Reading) -> None:
        """Leave a line about what failed."""
        if "failed" in reading:
            self.says(f"{unit}: {reading['failed']}")


class _Lines:
    def __init__(self) -> None:
        self._began = 0.0

    def says(self, text: str) -> None:
        """Say it."""
        typer.echo(text, err=True)

    def begun(self, unit: str, number: int, total: int) -> None:
        """Say so."""
        self._began = time.monotonic()
        self.says(f"[{number}/{total}] {unit} …")

    def goes_on(self, unit: str, seconds: float) -> None:
        """Say how long it has taken."""
        self.says(f"{unit}: {seconds / 60:.0f} min …")

    def ended(self, unit: str, reading: Reading) -> None:
        """Say how long it took, or why it failed."""
        took_s = time.monotonic() - self._began
        self.says(f"{unit}: {reading.get('failed') or f'{took_s:.1f} s'}")
