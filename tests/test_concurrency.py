import asyncio
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from tests.test_child import eventually
from voxtral_serverless.concurrency import in_daemon_thread, together
from voxtral_serverless.errors import StageFailed


async def fail_with(error: BaseException) -> None:
    await asyncio.sleep(0.01)
    raise error


async def test_together_waits_for_all() -> None:
    async with together() as tasks:
        works = [tasks.create_task(asyncio.sleep(0.01, number)) for number in range(3)]
    assert [work.result() for work in works] == [0, 1, 2]


async def test_together_raises_the_first_failure_itself_and_cancels_the_rest() -> None:
    cause = OSError("the cause")
    failure = StageFailed("the first")
    failure.__cause__ = cause
    ended: list[str] = []

    async def rest() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("rest")
            raise ValueError("on the way out")

    async def block() -> None:
        async with together() as tasks:
            tasks.create_task(rest())
            tasks.create_task(fail_with(failure))

    with pytest.raises(StageFailed) as raised:
        await block()
    assert raised.value is failure
    assert raised.value.__cause__ is cause
    assert ended == ["rest"]


async def test_together_raises_the_failure_of_its_own_block() -> None:
    works: list[asyncio.Task[None]] = []

    async def block() -> None:
        async with together() as tasks:
            works.append(tasks.create_task(asyncio.sleep(3600)))
            await asyncio.sleep(0)
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await block()
    assert works[0].cancelled()


async def test_together_is_cancelled_as_a_whole() -> None:
    works: list[asyncio.Task[None]] = []

    async def block() -> None:
        async with together() as tasks:
            works.append(tasks.create_task(asyncio.sleep(3600)))

    whole = asyncio.create_task(block())
    await asyncio.sleep(0.01)
    whole.cancel()
    with suppress(asyncio.CancelledError):
        await whole
    assert whole.cancelled()
    assert works[0].cancelled()


async def test_result_of_a_thread() -> None:
    def work() -> tuple[int, bool]:
        return threading.get_ident(), threading.current_thread().daemon

    thread, daemon = await in_daemon_thread(work)
    assert daemon
    assert thread != threading.get_ident()


async def test_failure_of_a_thread() -> None:
    failure = StageFailed("on disk")

    def work() -> None:
        raise failure

    with pytest.raises(StageFailed) as raised:
        await in_daemon_thread(work)
    assert raised.value is failure


@pytest.mark.parametrize("fails", [True, False])
async def test_thread_that_ends_after_nobody_waits_any_more(fails: bool) -> None:
    release, ended = threading.Event(), threading.Event()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    def work() -> None:
        release.wait(30)
        ended.set()
        if fails:
            raise StageFailed("too late")

    waiting = asyncio.create_task(in_daemon_thread(work))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
    release.set()
    assert await eventually(ended.is_set)
    await asyncio.sleep(0.1)
    assert faults == []


LEAVES = """
import asyncio, time
from voxtral_serverless.concurrency import in_daemon_thread
async def main():
    try:
        await asyncio.wait_for(in_daemon_thread(lambda: time.sleep({seconds})), 0.1)
    except TimeoutError:
        print("left")
asyncio.run(main())
time.sleep({after})
"""


@pytest.mark.parametrize(("seconds", "after"), [(60, 0), (0.3, 0.5)])
async def test_process_does_not_wait_for_a_thread(seconds: float, after: float) -> None:
    """The second one ends while the loop is closed already, and the process still there."""
    began = time.monotonic()
    script = LEAVES.format(seconds=seconds, after=after)
    command = [sys.executable, "-W", "error", "-c", script]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left\n", "")
    assert time.monotonic() - began < 30
