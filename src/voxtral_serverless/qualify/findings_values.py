"""Readings, taken apart with types: what is absent, null or of another kind is None, and nothing is divided by zero."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import JsonValue

from voxtral_serverless.qualify.units import Reading

Values = Mapping[str, JsonValue]
Readings = Mapping[str, Reading]
"""By the names of their units."""


@dataclass(frozen=True)
class Tally:
    """How many readings there are of those that there should be."""

    measured: int
    failed: int
    missing: int

    @property
    def expected(self) -> int:
        """How many there should be."""
        return self.measured + self.failed + self.missing

    @property
    def complete(self) -> bool:
        """All of them, and none failed."""
        return self.measured == self.expected > 0


@dataclass(frozen=True)
class Pooled:
    """A rate over all calls together: a sum by a sum, so that a long call counts for more than a short one.

    Attributes:
        part: What is counted, of `whole`; words, or seconds.
        calls: Those that have both.
    """

    part: float
    whole: float
    calls: int

    @property
    def rate(self) -> float | None:
        """The part of the whole; None of nothing."""
        return ratio(self.part, self.whole)


def tally(readings: Readings, missing: Iterable[str] = ()) -> Tally:
    """How many of the readings were measured; with the units that were not."""
    failed = sum("failed" in reading for reading in readings.values())
    return Tally(len(readings) - failed, failed, len(list(missing)))


def measured(readings: Readings) -> dict[str, Reading]:
    """Those that did not fail."""
    return {unit: reading for unit, reading in readings.items() if "failed" not in reading}


def of_stage(readings: Readings, stage: str, last: str | None = None) -> dict[str, Reading]:
    """The readings of a stage; with `last`, those whose unit's name ends so."""
    return {unit: readings[unit] for unit in units_of(readings, stage, last)}


def units_of(units: Iterable[str], stage: str, last: str | None = None) -> list[str]:
    """The units of a stage; with `last`, those whose name ends so."""
    return [
        unit for unit in units if unit.startswith(f"{stage}/") and (last is None or unit.rpartition("/")[2] == last)
    ]


def number(values: Values, key: str) -> float | None:
    """A number."""
    value = values.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def count(values: Values, key: str) -> int:
    """A whole number; 0 where there is none."""
    return int(number(values, key) or 0)


def numbers(values: Values, key: str) -> tuple[float, ...]:
    """The numbers of a list."""
    found = values.get(key)
    listed = found if isinstance(found, list) else []
    return tuple(one for one in listed if isinstance(one, int | float) and not isinstance(one, bool))


def text(values: Values, key: str) -> str | None:
    """A text."""
    value = values.get(key)
    return value if isinstance(value, str) else None


def texts(values: Values, key: str) -> tuple[str, ...]:
    """The texts of a list."""
    found = values.get(key)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def part(values: Values, key: str) -> dict[str, JsonValue]:
    """An object inside; an empty one where there is none."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def parts(values: Values, key: str) -> list[dict[str, JsonValue]]:
    """The objects of a list."""
    found = values.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def by_name(values: Values) -> dict[str, float]:
    """The numbers of an object, by their names."""
    return {name: value for name in values if (value := number(values, name)) is not None}


def ratio(over: float | None, under: float | None) -> float | None:
    """A quotient; None where a part of it is not known, or there is nothing to divide by."""
    return None if over is None or not under else over / under


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def plain(value: Any) -> Any:
    """Dataclasses as JSON has them, with their properties."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def _names(value: Any) -> Iterator[str]:
    yield from (field.name for field in fields(value))
    yield from (name for name, one in vars(type(value)).items() if isinstance(one, property))
