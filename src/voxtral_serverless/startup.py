"""How long the parts of a start take, for the log.

Promises: once everything is ready, a line for each phase, with its seconds as a field (`duration_s`) and, where that is
known, when it was over (`after_s`, counted from the start of the process); after the first job, how far that got
meanwhile. Phases run side by side, so they do not add up. Leaves out: starts of an engine that died.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

PREPARING = ("fetching", "decoding", "voice_activity", "diarization")
"""Stages of a job that need no engine."""
LONGEST_S = 86_400.0
"""A process that seems older has a clock that cannot be trusted."""


@dataclass(frozen=True)
class _Line:
    """What is told of a phase: how long it took, and how long after the beginning it was over; None what is not known."""

    name: str
    seconds: float | None
    after_s: float | None

    def __str__(self) -> str:
        took = "" if self.seconds is None else f" took {self.seconds:.1f} s,"
        when = "" if self.after_s is None else f" after {self.after_s:.1f} s"
        return f"{self.name.replace('_', ' ')}{took}{when}".rstrip(",")

    def fields(self) -> dict[str, str | float]:
        """The same for the log's JSON."""
        known = {"duration_s": self.seconds, "after_s": self.after_s}
        return {"stage": self.name} | {name: round(value, 3) for name, value in known.items() if value is not None}


class StartUp:
    """The start of one process, or of a part of it. Threads may share it.

    Attributes:
        began: When it began, by `time.monotonic`.
    """

    def __init__(self, began: float | None = None) -> None:
        self.began = time.monotonic() if began is None else began
        self.ready_after_s: float | None = None
        self._lines: list[_Line] = []
        self._lock = threading.Lock()
        self._has_served = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; one that fails is told too."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._add(_Line(name, time.monotonic() - began, self.now()))

    def note(self, name: str, seconds: float) -> None:
        """A phase took so long, as somebody else has measured."""
        self._add(_Line(name, seconds, None))

    def reached(self, name: str) -> None:
        """Something holds from now on."""
        self._add(_Line(name, None, self.now()))

    def _add(self, line: _Line) -> None:
        """Tell it with the others, or at once where those have been told."""
        with self._lock:
            self._lines.append(line)
            late = self.ready_after_s is not None
        if late:
            _tell(line)

    def phases(self) -> dict[str, float]:
        """Seconds of each phase so far, by name."""
        with self._lock:
            return {line.name: round(line.seconds, 3) for line in self._lines if line.seconds is not None}

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def report(self) -> None:
        """Everything is ready: tell each phase, and the whole."""
        with self._lock:
            self.ready_after_s = self.now()
            lines = [*self._lines, _Line("ready", None, self.ready_after_s)]
        for line in lines:
            _tell(line)

    def served(self, timings: Mapping[str, float], taken: float) -> None:
        """A job was done, taken at the moment `taken` (`time.monotonic`); of the first one, tell what it waited for.

        `timings` are the seconds of its stages. Its recording is prepared while the engine starts; what is left is told
        from the later of both on.
        """
        with self._lock:
            first, self._has_served = not self._has_served, True
        if not first or self.ready_after_s is None:
            return
        taken_s, answered_s = taken - self.began, self.now()
        prepared_s = taken_s + sum(timings.get(stage, 0.0) for stage in PREPARING)
        begun_s = max(self.ready_after_s, prepared_s)
        log.info(
            "first job: taken after %.1f s, its recording prepared after %.1f s, the engine ready after %.1f s; from the "
            "later of them %.1f s to the answer, after %.1f s",
            taken_s,
            prepared_s,
            self.ready_after_s,
            answered_s - begun_s,
            answered_s,
            extra=_Line("first_job", answered_s - taken_s, answered_s).fields(),
        )


_current: ContextVar[StartUp | None] = ContextVar("startup", default=None)


def follow(startup: StartUp) -> None:
    """Have the phases of this context, and of the tasks that it begins, noted in `startup`."""
    _current.set(startup)


def current() -> StartUp:
    """The start that this context belongs to; a new one where there is none, or it is over."""
    startup = _current.get()
    if startup is None or startup.ready_after_s is not None:
        startup = StartUp()
        _current.set(startup)
    return startup


def process_began() -> float:
    """When this process was started, by `time.monotonic`; now, where the system does not tell."""
    now = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return now
    return now - age_s if 0 <= age_s < LONGEST_S else now


def _tell(line: _Line) -> None:
    log.info("start-up: %s", line, extra=line.fields())
