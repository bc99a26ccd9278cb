"""What the readings say together. Pure: no reading is changed, and one that failed is listed, never left out in silence.

Leaves out: whether that is good enough (`targets`), and how it is told (`report`).
"""

from __future__ import annotations

from dataclasses import dataclass

from voxtral_serverless.qualify.findings_accuracy import Accuracy, Sound, Stock, accuracy, sounds, stock
from voxtral_serverless.qualify.findings_answers import Analysis, Robustness, analysis, robustness
from voxtral_serverless.qualify.findings_speed import Loaded, Peak, Speed, Start, alone, loaded, peaks, speeds, starts
from voxtral_serverless.qualify.findings_values import Readings, number, part, text, texts
from voxtral_serverless.qualify.units import Reading


@dataclass(frozen=True)
class Failure:
    """A unit that could not be measured."""

    unit: str
    message: str


@dataclass(frozen=True)
class Findings:
    """All that the readings say.

    Attributes:
        given, free: Accuracy with the number of speakers given, and not.
        alone: A call of five minutes by itself, by the usual plan; None where it was not measured.
        loaded: What the worker can carry.
        missing: The units that have not been measured yet.
        units: How many readings there are, failed ones included.
    """

    given: Accuracy
    free: Accuracy
    stock: Stock
    sounds: tuple[Sound, ...]
    starts: tuple[Start, ...]
    speeds: tuple[Speed, ...]
    alone: Speed | None
    loaded: Loaded
    analysis: Analysis
    robustness: Robustness
    peaks: tuple[Peak, ...]
    failures: tuple[Failure, ...]
    missing: tuple[str, ...]
    units: int


def find(readings: Readings, situation: Reading) -> Findings:
    """What the readings say, of a machine and models as the situation tells them."""
    missing = texts(situation, "missing")
    rows = speeds(readings, number(part(situation, "gpu_price"), "usd_per_hour"))
    plan = text(situation, "plan") or "turns"
    failed = {unit: reading["failed"] for unit, reading in sorted(readings.items()) if "failed" in reading}
    return Findings(
        given=accuracy(readings, "given", missing), free=accuracy(readings, "free", missing),
        stock=stock(readings), sounds=sounds(readings),
        starts=starts(readings), speeds=rows, alone=alone(rows, plan), loaded=loaded(readings, rows, plan, missing),
        analysis=analysis(readings, missing), robustness=robustness(readings), peaks=peaks(readings),
        failures=tuple(Failure(unit, str(message)) for unit, message in failed.items()), missing=missing,
        units=len(readings),
    )  # fmt: skip
