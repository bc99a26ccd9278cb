"""A job as the HTTP API keeps it, and as RunPod's API shows one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """Where a job is, in RunPod's words."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})


@dataclass(frozen=True)
class Record:
    """A job.

    Attributes:
        request: What was posted, until the job is over: it may hold secrets.
        upload: The name of the file that came with it, in the folder of uploads.
        created, started, finished: Seconds since 1970; None for not yet.
        attempts: How often it was begun: more than once where the server ended meanwhile.
        progress: Its newest progress.
        output, error: What came of it.
    """

    id: str
    status: Status
    created: float
    request: dict[str, Any] | None = None
    upload: str | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    progress: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    error: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.status in FINAL


@dataclass(frozen=True)
class Outcome:
    """What came of a job: an output, or an error."""

    status: Status
    output: dict[str, Any] | None = None
    error: str | None = None


def shown(record: Record) -> dict[str, Any]:
    """The job as RunPod's `/status` shows it: times in milliseconds; the progress is the output of one under way."""
    answer: dict[str, Any] = {"id": record.id, "status": record.status}
    if record.started is not None:
        answer["delayTime"] = _ms(record.created, record.started)
        if record.finished is not None:
            answer["executionTime"] = _ms(record.started, record.finished)
    output = record.output if record.is_final else record.progress
    return answer | {name: value for name, value in (("output", output), ("error", record.error)) if value is not None}


def _ms(since: float, until: float) -> int:
    return max(round((until - since) * 1000), 0)
