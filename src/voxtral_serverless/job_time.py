"""How long a job may take, by RunPod's `policy`: `executionTimeout` and `ttl`, both in milliseconds.

Leaves out what becomes of a job whose time is over: the doors' business.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POSTING_S = 2.0
MOST_MS = 1e15
"""Thirty thousand years; more is no time."""


@dataclass(frozen=True)
class JobTime:
    """A job's time, on the clock of the loop: when it has to be done, and when it is ended; None for never."""

    deadline: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, job: Mapping[str, Any], margin_s: float) -> JobTime:
        """By the job's `executionTimeout`, which begins now; it has to be done `margin_s` seconds before its end."""
        timeout_s = policy_s(job, "executionTimeout")
        if timeout_s is None:
            return cls()
        now = asyncio.get_running_loop().time()
        return cls(now + max(timeout_s - margin_s, timeout_s / 2), now + timeout_s)

    def left_to_deliver(self) -> float:
        """Seconds until the job is ended, less what posting the answer takes."""
        if self.end is None:
            return math.inf
        return max(self.end - asyncio.get_running_loop().time() - POSTING_S, 0.0)


def policy_s(job: Mapping[str, Any], name: str) -> float | None:
    """A time of the job's `policy`, in seconds; None where it is not there, or makes no sense."""
    policy = job.get("policy")
    time_ms = policy.get(name) if isinstance(policy, Mapping) else None
    if not isinstance(time_ms, int | float) or isinstance(time_ms, bool) or not 0 < time_ms <= MOST_MS:
        return None
    return time_ms / 1000
