"""Work done side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, cast

Result = TypeVar("Result")
One = TypeVar("One")
Other = TypeVar("Other")


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """An `asyncio.TaskGroup` that raises the first failure itself, not a group of them."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        first = group.exceptions[0]
        raise first from first.__cause__


@asynccontextmanager
async def side_by_side(
    one: AbstractAsyncContextManager[One], other: AbstractAsyncContextManager[Other]
) -> AsyncIterator[tuple[One, Other]]:
    """Both, entered at the same time, and left at the same time, each in a task of its own.

    Where one cannot be entered, its error is raised at once, and the other is left.
    """
    leave = asyncio.Event()
    entered: tuple[asyncio.Future[One], asyncio.Future[Other]] = (asyncio.Future(), asyncio.Future())
    lives = [asyncio.create_task(_live(one, entered[0], leave)), asyncio.create_task(_live(other, entered[1], leave))]
    try:
        value, other_value = await _first_failure_or(asyncio.gather(*entered), lives)
        yield value, other_value
    except BaseException:
        for life in lives:
            life.cancel()
        raise
    finally:
        leave.set()
        await asyncio.gather(*lives, return_exceptions=True)
    for life in lives:
        life.result()


async def _live(
    manager: AbstractAsyncContextManager[Result], entered: asyncio.Future[Result], leave: asyncio.Event
) -> None:
    async with manager as value:
        entered.set_result(value)
        await leave.wait()


async def _first_failure_or(wanted: asyncio.Future[Result], lives: Sequence[asyncio.Task[None]]) -> Result:
    """What is wanted, or the error of the first of the tasks to end before that."""
    await asyncio.wait(cast("list[asyncio.Future[Any]]", [wanted, *lives]), return_when=asyncio.FIRST_COMPLETED)
    for life in lives:
        if life.done():
            life.result()
    return await wanted


async def in_daemon_thread(work: Callable[[], Result]) -> Result:
    """The result of blocking `work`, a download for one, that may be left behind when the process is to end."""
    future: Future[Result] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 — raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)
