import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.test_child import eventually
from voxtral_serverless.concurrency import in_daemon_thread, side_by_side, together
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


class Rooms:
    """Blocks that take a moment to enter, and write down what becomes of them."""

    def __init__(self) -> None:
        self.entered: set[str] = set()
        self.left: dict[str, str] = {}
        self.both = asyncio.Event()

    @asynccontextmanager
    async def room(
        self, name: str, failure: Exception | None = None, *, late: Exception | None = None
    ) -> AsyncIterator[str]:
        self.entered.add(name)
        if len(self.entered) == 2:
            self.both.set()
        await self.both.wait()  # one after the other they would wait for ever
        if failure:
            raise failure
        try:
            yield name.upper()
            self.left[name] = "in order"
        except BaseException as error:
            self.left[name] = type(error).__name__
            raise
        if late:
            raise late


async def test_side_by_side_enters_both_at_the_same_time_and_leaves_both_in_order() -> None:
    rooms = Rooms()
    async with asyncio.timeout(10), side_by_side(rooms.room("one"), rooms.room("other")) as values:
        assert values == ("ONE", "OTHER")
        assert not rooms.left
    assert rooms.left == {"one": "in order", "other": "in order"}


@pytest.mark.parametrize("which", ["one", "other"])
async def test_side_by_side_raises_the_first_failure_and_leaves_the_other(which: str) -> None:
    rooms, failure = Rooms(), StageFailed("the token is refused")
    failures = {which: failure}
    with pytest.raises(StageFailed) as raised:
        async with side_by_side(rooms.room("one", failures.get("one")), rooms.room("other", failures.get("other"))):
            pytest.fail("there is nothing to work with")
    assert raised.value is failure
    assert set(rooms.left.values()) <= {"CancelledError"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_side_by_side_tells_both_of_a_failure_in_the_block() -> None:
    rooms = Rooms()
    with pytest.raises(StageFailed, match="inside"):
        async with side_by_side(rooms.room("one"), rooms.room("other")):
            raise StageFailed("inside")
    assert rooms.left == {"one": "CancelledError", "other": "CancelledError"}


async def test_side_by_side_hears_of_a_failure_on_the_way_out() -> None:
    rooms = Rooms()
    with pytest.raises(StageFailed, match="late"):
        async with side_by_side(rooms.room("one"), rooms.room("other", late=StageFailed("late"))):
            pass
    assert rooms.left["one"] == "in order"


async def test_side_by_side_is_cancelled_as_one() -> None:
    rooms = Rooms()

    async def inside() -> None:
        async with side_by_side(rooms.room("one"), rooms.room("other")):
            await asyncio.sleep(3600)

    task = asyncio.create_task(inside())
    await rooms.both.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rooms.left == {"one": "CancelledError", "other": "CancelledError"}
