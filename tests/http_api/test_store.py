"""The table of jobs: who may have it, what cannot be had, what is readable by whom, and a disk that is full."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.http_api.near import TICKS, inline, near_service, rows, traces
from tests.http_api.test_survival import refused_start
from voxtral_serverless.errors import DiskFull, InvalidConfiguration, QueueFull
from voxtral_serverless.http_api.records import Outcome, Record, Status, shown
from voxtral_serverless.http_api.store import JobStore, open_store

SECRET = "Bearer s3cr3t"


async def added(store: JobStore, *names: str, kept: bool = True) -> None:
    """Jobs of these names, in this order."""
    for name in names:
        await store.add(name, {"input": {"audio_headers": {"Authorization": SECRET}}}, kept=kept, max_waiting=99)


async def test_folder_that_another_has(tmp_path: Path) -> None:
    async with open_store(tmp_path):
        with pytest.raises(InvalidConfiguration, match="another service"):
            async with open_store(tmp_path):
                pass
    async with open_store(tmp_path) as store:
        assert sum((await store.counts()).values()) == 0


async def test_table_of_another_version(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "one")
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidConfiguration, match="another version"):
        async with open_store(tmp_path):
            pass
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("what", ["a file in its place", "below a file", "no database", "a folder for a database"])
async def test_folder_that_cannot_be_used(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    if what == "a file in its place":
        folder.touch()
    elif what == "below a file":
        (tmp_path / "file").touch()
        folder = tmp_path / "file" / "data"
    elif what == "no database":
        folder.mkdir()
        (folder / "jobs.sqlite3").write_bytes(b"no database at all" * 1000)
    else:
        (folder / "jobs.sqlite3").mkdir(parents=True)
    output = await refused_start(tmp_path / "service", {"DATA_DIR": str(folder)})
    assert "invalid_configuration: " in output
    assert "DATA_DIR" in output


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with open_store(folder) as store:
        await added(store, "one")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o077 for path in folder.glob("jobs.sqlite3*")} == {0}


async def test_order_and_states(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "one", "two", "three")
        claimed = [await store.claim() for _ in range(4)]
        assert [job.id if job else None for job in claimed] == ["one", "two", "three", None]
        await store.count_attempt("two")
        await store.put_back("two")
        await store.put_back("three")
        again = await store.claim()
        assert again is not None
        assert (again.id, again.attempts, again.status) == ("two", 0, Status.IN_PROGRESS)
        assert await store.finish("two", Outcome(Status.COMPLETED, {"text": "a"}))
        assert not await store.finish("two", Outcome(Status.CANCELLED)), "it was over"
        await store.put_back("two")
        await store.note("two", {"stage": "late"})
        job = await store.get("two")
        assert job is not None
        assert (job.status, job.output, job.progress) == (Status.COMPLETED, {"text": "a"}, None)


async def test_input_goes_when_a_job_is_over(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "one", "two", "three", "four")
        await store.claim()
        await store.finish("one", Outcome(Status.COMPLETED, {}))
        await store.purge_queue()
        assert [row["request"] for row in rows(tmp_path)] == [None] * 4
        await store.empty_log()
        assert traces(tmp_path, SECRET) == []


async def test_place_in_the_queue_is_given_once(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        jobs = (store.add(f"job-{number}", {}, max_waiting=3) for number in range(10))
        taken = await asyncio.gather(*jobs, return_exceptions=True)
        assert sum(isinstance(one, Record) for one in taken) == 3
        assert sum(isinstance(one, QueueFull) for one in taken) == 7


async def test_recovery(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "one", "two")
        await added(store, "nobody asks", kept=False)
        await store.claim()
        assert await store.recover(1) == 1, "the engine was not there yet"
        assert await store.get("nobody asks") is None
        for jobs_waiting in (1, 0):
            await store.claim()
            await store.count_attempt("one")
            assert await store.recover(2) == jobs_waiting
        one, two = await store.get("one"), await store.get("two")
        assert one is not None
        assert two is not None
        assert (one.status, two.status) == (Status.FAILED, Status.IN_QUEUE)
        assert (one.error or "").startswith("internal_error: ")


async def test_old_results_go_unless_somebody_is_to_be_told(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "old")
        await store.add("told", {}, webhook="http://example.com/", max_waiting=9)
        await store.purge_queue()
        await added(store, "waits")
        assert await store.forget(60) == []
        time.sleep(0.01)  # noqa: ASYNC251 — nothing else is to go on
        assert await store.forget(0) == ["old"]
        await store.webhook_tried("told", None)
        assert await store.forget(0) == ["told"]
        assert [row["id"] for row in rows(tmp_path)] == ["waits"]


async def test_full_disk(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await added(store, "one")
        [(pages,)] = await store._database.execute_fetchall("PRAGMA page_count")
        await store._database.execute(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(DiskFull):
            await store.add("large", {"input": "x" * 1_000_000}, max_waiting=9)
        assert await store.get("one") is not None


async def test_full_disk_refuses_jobs_and_loses_none(tmp_path: Path) -> None:
    async with near_service(tmp_path) as near:
        taken = await near.send()
        database = near.parts.desk.store._database
        await near.until(taken, "COMPLETED")
        [(pages,)] = await database.execute_fetchall("PRAGMA page_count")
        await database.execute(f"PRAGMA max_page_count = {pages + 5}")
        refused = await near.client.post("/run", json=inline(TICKS * 10))
        assert (refused.status_code, refused.json()["error"].partition(":")[0]) == (503, "disk_full")
        await database.execute("PRAGMA max_page_count = 1000000")
        assert (await near.until(await near.run(inline(TICKS)), "COMPLETED", "FAILED"))["status"] == "COMPLETED"
        assert (await near.status(taken))["status"] == "COMPLETED"
        assert near.uploads == []


def test_job_as_it_is_shown() -> None:
    created = Record("a", Status.IN_QUEUE, 100.0)
    assert shown(created) == {"id": "a", "status": "IN_QUEUE"}
    running = Record("a", Status.IN_PROGRESS, 100.0, started=101.5, progress={"stage": "fetching"})
    assert shown(running) == {"id": "a", "status": "IN_PROGRESS", "delayTime": 1500, "output": {"stage": "fetching"}}
    over = Record("a", Status.FAILED, 100.0, started=101.5, finished=101.25, progress={"stage": "x"}, error="c: m")
    assert shown(over) == {"id": "a", "status": "FAILED", "delayTime": 1500, "executionTime": 0, "error": "c: m"}
