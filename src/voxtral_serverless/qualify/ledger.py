"""What has been measured so far, in the folder of the report: written down unit by unit, so that an examination that
was interrupted, or killed, goes on where it was.

Promises: a unit is in it as a whole or not at all; what was measured on another machine, or of another model, is not
taken for this one's; two examinations never write into one folder. A file of lines, each a JSON object: the head; what is
examined (`subject`); what a report has to say (`told`); what is to be measured (`planned`); readings (`unit`). Leaves out: what they mean (`findings`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import JsonValue

from voxtral_serverless.errors import InvalidConfiguration, OutputUnwritable
from voxtral_serverless.qualify.units import Reading, Unit, is_whole

FILE = "measurements.jsonl"
FORMAT = 2
Facts = Mapping[str, JsonValue]


@dataclass
class _Kept:
    """What a file holds.

    Attributes:
        planned: By stage and name, what units were to be measured of, by the last start that had the stage.
        of: By the names of the units, what their readings are of.
    """

    head: dict[str, JsonValue] | None = None
    subject: dict[str, JsonValue] = field(default_factory=dict)
    told: dict[str, JsonValue] = field(default_factory=dict)
    planned: dict[str, dict[str, Reading]] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    of: dict[str, Reading] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """A line of the file after the first; what comes later counts."""
        if "unit" in line:
            self.readings[str(line["unit"])], self.of[str(line["unit"])] = dict(line["reading"]), dict(line["of"])
        else:
            self.subject |= dict(line.get("subject", {}))
            self.told |= dict(line.get("told", {}))
            self.planned |= {stage: dict(units) for stage, units in line.get("planned", {}).items()}


class Ledger:
    """The readings of one examination."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._kept = _read(file)
        if self._kept.head is None:
            self._kept.head = {"format": FORMAT, "began": _now()}
            self._write(self._kept.head)

    @property
    def began(self) -> str:
        """When the first start of it was, ISO 8601, UTC."""
        return str((self._kept.head or {}).get("began"))

    @property
    def readings(self) -> Mapping[str, Reading]:
        """By the names of their units, in the order in which they were first measured."""
        return self._kept.readings

    @property
    def told(self) -> Facts:
        """What was told of it, the latest of each."""
        return self._kept.told

    def examines(self, subject: Facts) -> None:
        """What is examined, or a part of it: what two starts both name has to be the same for their readings to stand
        beside each other. Where nothing was measured yet, another start may correct the one before.

        Raises:
            InvalidConfiguration: what is in the folder was measured of something else.
        """
        measured = any(map(is_whole, self.readings.values()))
        before = self._kept.subject if measured else {}
        if changed := [name for name in subject if name in before and before[name] != subject[name]]:
            told = "; ".join(_difference(name, before[name], subject[name]) for name in changed)
            raise InvalidConfiguration(
                f"the folder holds measurements of something else ({told}); name another folder, or begin again with --fresh."
            )
        if unnamed := {name: value for name, value in subject.items() if name not in before}:
            self._keep({"subject": unnamed})

    def tell(self, facts: Facts) -> None:
        """Keep what a report has to say, also after a start that does not know it."""
        if new := {name: value for name, value in facts.items() if self.told.get(name) != value}:
            self._keep({"told": new})

    def plan(self, stage: str, units: Iterable[Unit]) -> None:
        """What is to be measured of a stage. What an earlier start measured besides is no part of the examination."""
        planned = {unit.name: unit.of for unit in units}
        if self._kept.planned.get(stage) != planned:
            self._keep({"planned": {stage: dict(planned)}})

    def current(self) -> dict[str, Reading]:
        """The readings of what was planned."""
        return {name: self.readings[name] for name, of in self._planned() if self._has(name, of)}

    def missing(self) -> list[str]:
        """What was planned, and has not been measured yet."""
        return [name for name, of in self._planned() if not self._has(name, of)]

    def _planned(self) -> Iterator[tuple[str, Reading]]:
        for units in self._kept.planned.values():
            yield from units.items()

    def _has(self, name: str, of: Reading) -> bool:
        return name in self.readings and self._kept.of[name] == of

    def add(self, unit: Unit, reading: Reading) -> None:
        """Keep a reading; it is on the disk when this returns.

        Raises:
            OutputUnwritable: the disk does not take it.
        """
        self._keep({"unit": unit.name, "at": _now(), "of": unit.of, "reading": reading})

    def lacks(self, unit: Unit) -> bool:
        """Whether a unit has still to be measured: one that failed, or a job of which did, is tried anew, and so is one
        that was measured of something else.
        """
        return not (self._has(unit.name, unit.of) and is_whole(self.readings[unit.name]))

    def _keep(self, line: Mapping[str, JsonValue]) -> None:
        self._write(line)
        self._kept.take(line)

    def _write(self, line: Mapping[str, JsonValue]) -> None:
        try:
            self._file.write(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputUnwritable(f"the measurements cannot be written ({error.strerror}).") from error


@contextmanager
def open_ledger(folder: Path, *, fresh: bool = False) -> Iterator[Ledger]:
    """The ledger of a folder, which is made where it is missing; `fresh` forgets what was measured.

    Raises:
        OutputUnwritable: the folder cannot be written, or another examination is at work in it.
        InvalidConfiguration: what is in it is no ledger of this version.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / FILE).open("a+b")
    except OSError as error:
        raise OutputUnwritable(f"the folder {str(folder)!r} cannot be written ({error.strerror}).") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputUnwritable(f"another examination writes into {str(folder)!r}; name another folder.") from error
        if fresh:
            file.truncate(0)
        yield Ledger(file)


def _read(file: BinaryIO) -> _Kept:
    """What was kept, without a last line that was not finished."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    kept = _Kept()
    try:
        head, *lines = [json.loads(line) for line in whole.splitlines()] or [None]
        kept.head = None if head is None else dict(head)
        if kept.head is not None and kept.head.get("format") != FORMAT:
            raise InvalidConfiguration(
                f"{FILE} is another version's; name another folder, or begin again with --fresh."
            )
        for line in lines:
            kept.take(line)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidConfiguration(f"{FILE} is damaged; name another folder, or begin again with --fresh.") from error
    if kept.head is not None or content.startswith(b'{"format"'):
        file.truncate(len(whole))
    return kept


def _difference(name: str, before: JsonValue, now: JsonValue) -> str:
    """What has changed; of an object, the parts of it that have."""
    if isinstance(before, dict) and isinstance(now, dict):
        parts = [part for part in {**before, **now} if before.get(part) != now.get(part)]
        return ", ".join(_difference(f"{name}.{part}", before.get(part), now.get(part)) for part in parts)
    return f"{name}: {_told(before)}, now {_told(now)}"


def _told(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
