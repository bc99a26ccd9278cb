"""How long a job may take, by its own word."""

import asyncio
import math

import pytest

from voxtral_serverless.job_time import POSTING_S, JobTime, policy_s


@pytest.mark.parametrize(
    ("time_ms", "seconds"),
    [(1500, 1.5), (0.5, 0.0005), (1e15, 1e12), (0, None), (-1, None), (True, None), ("1500", None), (None, None),
     (math.nan, None), (math.inf, None), (1e300, None), (10**400, None), ([1], None)],
)  # fmt: skip
def test_policy(time_ms: object, seconds: float | None) -> None:
    assert policy_s({"policy": {"ttl": time_ms}}, "ttl") == seconds


@pytest.mark.parametrize("job", [{}, {"policy": None}, {"policy": []}, {"policy": "ttl"}, {"policy": {"other": 1}}])
def test_no_policy(job: dict[str, object]) -> None:
    assert policy_s(job, "ttl") is None


async def test_never() -> None:
    time = JobTime.of({}, margin_s=30)
    assert (time.deadline, time.end, time.left_to_deliver()) == (None, None, math.inf)


@pytest.mark.parametrize(("timeout_s", "margin_s", "done_s"), [(100, 30, 70), (40, 30, 20), (10, 30, 5), (10, 0, 10)])
async def test_time_begins_now(timeout_s: float, margin_s: float, done_s: float) -> None:
    """A margin takes half of the time at most."""
    now = asyncio.get_running_loop().time()
    time = JobTime.of({"policy": {"executionTimeout": timeout_s * 1000}}, margin_s)
    assert time.deadline is not None
    assert time.end is not None
    assert 0 <= time.end - now - timeout_s < 1
    assert time.end - time.deadline == pytest.approx(timeout_s - done_s)
    assert timeout_s - POSTING_S - 1 < time.left_to_deliver() <= timeout_s - POSTING_S


async def test_nothing_is_left_to_deliver() -> None:
    assert JobTime.of({"policy": {"executionTimeout": 100}}, 0).left_to_deliver() == 0.0
