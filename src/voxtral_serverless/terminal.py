"""Progress bars on a terminal's stderr; silence where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxtral_serverless.progress import Events, NoEvents, Progress
from voxtral_serverless.transcription.plan import Utterance

if TYPE_CHECKING:
    import rich.progress


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
