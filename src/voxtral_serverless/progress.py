"""How a job tells what it is doing, to whatever door it came through.

A door gives `Events` and makes of them what it can: a progress bar, an update to a queue, a stream. The
percentage is of the whole job and never falls.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from voxtral_serverless.reporting import Report
from voxtral_serverless.transcription.plan import Utterance

log = logging.getLogger(__name__)

Stage = Literal["fetching", "decoding", "voice_activity", "diarization", "transcription", "analysis"]
WEIGHTS: dict[Stage, int] = {
    "fetching": 5, "decoding": 10, "voice_activity": 5, "diarization": 25, "transcription": 45, "analysis": 10,
}  # fmt: skip
"""Each stage's share of the whole job, in percent."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands: `done` of `total` in the stage's own unit, `percent` of the whole job."""

    stage: Stage
    percent: float
    done: float
    total: float


class Events(Protocol):
    """What a door may hear of a job while it runs. Both methods are called on the event loop and return at once."""

    def progress(self, progress: Progress) -> None:
        """The job has moved on."""

    def utterance(self, utterance: Utterance) -> None:
        """A turn has its text (in the order in which they finish)."""


class NoEvents:
    """For a door that has no use for them."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def utterance(self, utterance: Utterance) -> None:
        """Nothing."""


class Meter:
    """Turns the reports of the stages into the progress of the job, and times each stage.

    Attributes:
        timings: Seconds spent in each finished stage; stages may run side by side.
    """

    def __init__(self, events: Events) -> None:
        self.timings: dict[str, float] = {}
        self._events = events
        self._percent = 0.0
        self._shares: dict[Stage, float] = {}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[Report]:
        """Announce and time one stage; gives the function that it reports to."""
        began = time.monotonic()

        def report(done: float, total: float) -> None:
            self._shares[stage] = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
            self._percent = max(self._percent, self._sum())
            self._events.progress(Progress(stage, round(self._percent, 1), done, total))

        report(0, 1)
        try:
            yield report
            report(1, 1)
        finally:
            self._shares[stage] = 1.0
            took_s = round(time.monotonic() - began, 3)
            self.timings[stage] = round(self.timings.get(stage, 0.0) + took_s, 3)
            log.info("%s took %.1f s", stage, took_s, extra={"stage": stage, "duration_s": took_s})

    def _sum(self) -> float:
        """Percent done: a stage that was skipped counts as done, one that is at work beside a later one as far as it is."""
        stages = list(WEIGHTS)
        begun = stages[: 1 + max(map(stages.index, self._shares))]
        return sum(WEIGHTS[stage] * self._shares.get(stage, 1.0) for stage in begun)
