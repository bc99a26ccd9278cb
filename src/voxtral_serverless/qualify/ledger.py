"""What has been measured so far, in the folder of the report: written down unit by unit, so that an examination that
was interrupted, or killed, goes on where it was.

Promises: a unit is in it as a whole or not at all; what was measured on another machine, or of another model, is not
taken for this one's; two examinations never write into one folder. Leaves out: what the readings mean (`findings`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

from voxtral_serverless.errors import InvalidConfiguration, OutputUnwritable
from voxtral_serverless.qualify.units import Reading

FILE = "measurements.jsonl"
FORMAT = 1
Subject = Mapping[str, JsonValue]
"""What is examined, and on what. What two examinations both name has to be the same for their readings to stand beside
each other; one that needs no recordings names none.
"""


class Ledger:
    """The readings of one examination.

    Attributes:
        readings: By the names of their units, in the order in which they were measured.
        began: When the first start of it was, ISO 8601, UTC.
    """

    def __init__(self, file: BinaryIO, subject: Subject) -> None:
        self._file = file
        head, before, self.readings = _read(file)
        if head is None:
            head = {"format": FORMAT, "began": _now()}
            self._write(head)
        _check(head, before, subject)
        if unnamed := {name: value for name, value in subject.items() if name not in before}:
            self._write({"subject": unnamed})
        self.began = str(head.get("began"))

    def add(self, unit: str, reading: Reading) -> None:
        """Keep a reading; it is on the disk when this returns.

        Raises:
            OutputUnwritable: the disk does not take it.
        """
        self._write({"unit": unit, "at": _now(), "reading": reading})
        self.readings[unit] = reading

    def lacks(self, unit: str) -> bool:
        """Whether a unit has still to be measured; one that failed is tried anew."""
        return "failed" in self.readings.get(unit, {"failed": None})

    def _write(self, line: Mapping[str, JsonValue]) -> None:
        try:
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputUnwritable(f"the measurements cannot be written ({error.strerror}).") from error


@contextmanager
def open_ledger(folder: Path, subject: Subject, *, fresh: bool = False) -> Iterator[Ledger]:
    """The ledger of a folder, which is made where it is missing; `fresh` forgets what was measured.

    Raises:
        OutputUnwritable: the folder cannot be written, or another examination is at work in it.
        InvalidConfiguration: what is in it was measured of something else.
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
        yield Ledger(file, subject)


def _read(file: BinaryIO) -> tuple[dict[str, JsonValue] | None, dict[str, JsonValue], dict[str, Reading]]:
    """The head, what was examined, and the readings, without a last line that was not finished."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        head, *lines = [json.loads(line) for line in whole.splitlines()] or [None]
        subject = {name: value for line in lines if "subject" in line for name, value in line["subject"].items()}
        readings = {str(line["unit"]): dict(line["reading"]) for line in lines if "subject" not in line}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidConfiguration(f"{FILE} is damaged; name another folder, or begin again with --fresh.") from error
    if head is not None or content.startswith(b'{"format"'):
        file.truncate(len(whole))
    return head, subject, readings


def _check(head: Mapping[str, JsonValue], before: Subject, subject: Subject) -> None:
    """Refuse readings of something else."""
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InvalidConfiguration(f"{FILE} is another version's; name another folder, or begin again with --fresh.")
    changed = [name for name in before if name in subject and before[name] != subject[name]]
    if changed:
        told = "; ".join(f"{name}: {_told(before.get(name))}, now {_told(subject.get(name))}" for name in changed)
        raise InvalidConfiguration(
            f"the folder holds measurements of something else ({told}); name another folder, or begin again with --fresh."
        )


def _told(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
