import asyncio
import threading
import time

import pytest

from tests.conftest import no_report
from voxtral_serverless.reporting import Report, in_thread


async def test_reports_arrive_on_the_loop_in_order_and_before_the_result() -> None:
    told: list[tuple[float, float, int]] = []

    def work(report: Report) -> str:
        for step in range(5):
            report(step, 5)
        return "done"

    result = await in_thread(work, lambda done, total: told.append((done, total, threading.get_ident())))
    assert result == "done"
    assert told == [(step, 5, threading.get_ident()) for step in range(5)]


async def test_cancelled_work_ends_at_its_next_report() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(report: Report) -> None:
        started.set()
        try:
            for step in range(10_000):
                report(step, 10_000)
                time.sleep(0.01)
        finally:
            ended.set()

    task = asyncio.create_task(in_thread(work, no_report))
    await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 2)
