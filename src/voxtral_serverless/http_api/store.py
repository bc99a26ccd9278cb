"""The jobs of the HTTP API, in SQLite: what was accepted is there after a crash, and what came of it.

Promises: one process at a time has a folder; every step of a job is one statement, on the disk when it returns; what is
deleted is overwritten (`secure_delete`). Leaves out: doing the jobs (`desk`), and the uploaded files themselves.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxtral_serverless.errors import DiskFull, InvalidConfiguration, QueueFull
from voxtral_serverless.http_api.records import FINAL, Outcome, Record, Status

if TYPE_CHECKING:
    import aiosqlite

    from voxtral_serverless.settings import Settings

VERSION = 1
"""Of the table; in SQLite's `user_version`."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT UNIQUE NOT NULL,
    status TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    kept INTEGER NOT NULL,
    request TEXT,
    upload TEXT,
    started REAL,
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    output TEXT,
    error TEXT,
    webhook TEXT,
    webhook_due REAL,
    webhook_tries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE INDEX IF NOT EXISTS jobs_by_webhook ON jobs (webhook_due) WHERE webhook_due IS NOT NULL;
"""
_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL))
_JSON = ("request", "progress", "output")
_COLUMNS = "id, status, created, request, upload, started, finished, attempts, progress, output, error"  # of a Record


class JobStore:
    """The table of jobs. Made by `open_store`.

    Every method raises DiskFull where the folder takes no more.
    """

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database

    async def add(
        self,
        job_id: str,
        request: Mapping[str, Any],
        *,
        upload: str | None = None,
        webhook: str | None = None,
        ttl_s: float | None = None,
        kept: bool = True,
        max_waiting: int,
    ) -> Record:
        """A new job, at the end of the queue. One that is not `kept` is gone after a restart.

        Raises:
            QueueFull: `max_waiting` jobs wait already.
        """
        now = time.time()
        expires = None if ttl_s is None else now + ttl_s
        added = await self._do(
            "INSERT INTO jobs (id, status, created, expires, kept, request, upload, webhook) SELECT ?,?,?,?,?,?,?,? "
            "WHERE (SELECT count(*) FROM jobs WHERE status = ?) < ?",
            (job_id, Status.IN_QUEUE, now, expires, kept, json.dumps(request), upload, webhook, Status.IN_QUEUE, max_waiting),
        )  # fmt: skip
        if not added:
            raise queue_full(max_waiting)
        return Record(job_id, Status.IN_QUEUE, now, dict(request), upload)

    async def get(self, job_id: str) -> Record | None:
        """The job of that id, if there is one."""
        return await self._one(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))  # noqa: S608 — our own names

    async def claim(self) -> Record | None:
        """The first job of the queue, now in progress; None where nobody waits."""
        now = time.time()
        return await self._one(
            "UPDATE jobs SET status = ?, started = ? WHERE number = (SELECT number FROM jobs "  # noqa: S608
            f"WHERE status = ? AND (expires IS NULL OR expires > ?) ORDER BY number LIMIT 1) RETURNING {_COLUMNS}",
            (Status.IN_PROGRESS, now, Status.IN_QUEUE, now),
        )

    async def put_back(self, job_id: str) -> None:
        """A job in progress, at its old place in the queue; this attempt does not count."""
        await self._do(
            "UPDATE jobs SET status = ?, started = NULL, progress = NULL, attempts = max(attempts - 1, 0) "
            "WHERE id = ? AND status = ?",
            (Status.IN_QUEUE, job_id, Status.IN_PROGRESS),
        )

    async def count_attempt(self, job_id: str) -> None:
        """A job is being done, and the engine is there: should the service end now, the job may be why."""
        await self._do(
            "UPDATE jobs SET attempts = attempts + 1 WHERE id = ? AND status = ?", (job_id, Status.IN_PROGRESS)
        )

    async def note(self, job_id: str, progress: Mapping[str, Any]) -> None:
        """How far a job is."""
        await self._do(
            "UPDATE jobs SET progress = ? WHERE id = ? AND status = ?",
            (json.dumps(progress), job_id, Status.IN_PROGRESS),
        )

    async def finish(self, job_id: str, outcome: Outcome) -> bool:
        """A job is over, and its request gone; False where it was over before, or is not there."""
        now = time.time()
        output = None if outcome.output is None else json.dumps(outcome.output)
        return await self._do(
            "UPDATE jobs SET status = ?, output = ?, error = ?, finished = ?, progress = NULL, request = NULL, "  # noqa: S608
            f"webhook_due = iif(webhook IS NULL, NULL, ?) WHERE id = ? AND status NOT IN ({_FINAL})",
            (outcome.status, output, outcome.error, now, now, job_id),
        )

    async def delete(self, job_id: str) -> bool:
        """Nothing of a job stays; False where there was nothing."""
        return await self._do("DELETE FROM jobs WHERE id = ?", (job_id,))

    async def counts(self) -> dict[Status, int]:
        """How many jobs there are of each status."""
        rows = await self._rows("SELECT status, count(*) FROM jobs GROUP BY status")
        return dict.fromkeys(Status, 0) | {Status(status): count for status, count in rows}

    async def purge_queue(self) -> list[str]:
        """Cancel whatever waits; the ids."""
        now = time.time()
        rows = await self._rows(
            "UPDATE jobs SET status = ?, finished = ?, request = NULL, webhook_due = iif(webhook IS NULL, NULL, ?) "
            "WHERE status = ? RETURNING id",
            (Status.CANCELLED, now, now, Status.IN_QUEUE),
        )
        return [job_id for (job_id,) in rows]

    async def time_out(self) -> list[str]:
        """End the jobs that have waited for longer than their time to live; their ids."""
        now = time.time()
        rows = await self._rows(
            "UPDATE jobs SET status = ?, error = ?, finished = ?, request = NULL, "
            "webhook_due = iif(webhook IS NULL, NULL, ?) WHERE status = ? AND expires <= ? RETURNING id",
            (Status.TIMED_OUT, "deadline_exceeded: the job's ttl was over before it was begun.", now, now, Status.IN_QUEUE, now),
        )  # fmt: skip
        return [job_id for (job_id,) in rows]

    async def give_up(self, error: str) -> list[str]:
        """End the jobs that wait for an engine in vain, and that nobody can ask for after a restart; their ids."""
        rows = await self._rows(
            "UPDATE jobs SET status = ?, error = ?, finished = ?, request = NULL WHERE status = ? AND kept = 0 RETURNING id",
            (Status.FAILED, error, time.time(), Status.IN_QUEUE),
        )
        return [job_id for (job_id,) in rows]

    async def forget(self, ttl_s: float) -> list[str]:
        """Delete the jobs that were over so long ago; their ids. A webhook under way is waited for."""
        rows = await self._rows(
            "DELETE FROM jobs WHERE finished <= ? AND webhook_due IS NULL RETURNING id", (time.time() - ttl_s,)
        )
        return [job_id for (job_id,) in rows]

    async def recover(self, max_attempts: int) -> int:
        """After a start: what was in progress waits again, unless it was begun too often; how many that were.

        Jobs that nobody can ask for any more (not `kept`) are gone.
        """
        await self._do("DELETE FROM jobs WHERE kept = 0")
        error = f"internal_error: the service ended {max_attempts} times while it did this job, which may be why."
        await self._do(
            "UPDATE jobs SET status = ?, error = ?, finished = ?, request = NULL, progress = NULL, "
            "webhook_due = iif(webhook IS NULL, NULL, ?) WHERE status = ? AND attempts >= ?",
            (Status.FAILED, error, time.time(), time.time(), Status.IN_PROGRESS, max_attempts),
        )
        rows = await self._rows(
            "UPDATE jobs SET status = ?, started = NULL, progress = NULL WHERE status = ? RETURNING id",
            (Status.IN_QUEUE, Status.IN_PROGRESS),
        )
        await self.empty_log()
        return len(rows)

    async def uploads(self) -> set[str]:
        """The names of the uploaded files that a job still needs."""
        rows = await self._rows("SELECT upload FROM jobs WHERE upload IS NOT NULL AND request IS NOT NULL")
        return {name for (name,) in rows}

    async def due_webhook(self, again_in_s: float) -> tuple[Record, str, int] | None:
        """The job whose webhook is to be called first of those that are due: with its URL, and how often it was tried.

        It is due again in so many seconds, should nobody tell meanwhile what came of that (`webhook_tried`).
        """
        now = time.time()
        rows = await self._rows(
            "UPDATE jobs SET webhook_due = ? WHERE number = (SELECT number FROM jobs WHERE webhook_due <= ? "
            "ORDER BY webhook_due LIMIT 1) RETURNING id, webhook, webhook_tries",
            (now + again_in_s, now),
        )
        for job_id, url, tries in rows:
            if record := await self.get(job_id):
                return record, url, tries
        return None

    async def webhook_tried(self, job_id: str, again_in_s: float | None) -> None:
        """A webhook was called; it is to be called again in so many seconds, or never."""
        due = None if again_in_s is None else time.time() + again_in_s
        await self._do("UPDATE jobs SET webhook_due = ?, webhook_tries = webhook_tries + 1 WHERE id = ?", (due, job_id))

    async def empty_log(self) -> None:
        """Take what was deleted, requests of jobs that are over among it, out of SQLite's log of changes too."""
        with suppress(DiskFull):  # the next one does it
            await self._do("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _one(self, statement: str, values: tuple[Any, ...] = ()) -> Record | None:
        rows = await self._rows(statement, values)
        return _record(rows[0]) if rows else None

    async def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with _faults_told():
            return list(await self._database.execute_fetchall(statement, values))

    async def _do(self, statement: str, values: tuple[Any, ...] = ()) -> bool:
        """Whether the statement changed anything."""
        with _faults_told():
            async with self._database.execute(statement, values) as cursor:
                return cursor.rowcount > 0


def queue_full(max_waiting: int) -> QueueFull:
    """That so many jobs wait."""
    return QueueFull(f"{max_waiting} jobs are waiting already (MAX_QUEUE); try again later.")


def _record(row: tuple[Any, ...]) -> Record:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    parsed = {name: json.loads(values[name]) for name in _JSON if values[name] is not None}
    return Record(**values | parsed | {"status": Status(values["status"])})


@contextmanager
def _faults_told() -> Iterator[None]:
    """SQLite's faults as ours.

    Raises:
        DiskFull: it cannot write.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DiskFull("the folder of the jobs (DATA_DIR) cannot be written; it may be full.") from error


def data_folder(settings: Settings) -> Path:
    """Where the jobs are kept."""
    from platformdirs import user_data_path

    return (settings.data_dir or user_data_path("voxtral-serverless", appauthor=False)).expanduser().absolute()


@asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[JobStore]:
    """The jobs in `folder`, which is made where it is missing, and belongs to the block alone.

    Raises:
        InvalidConfiguration: it cannot be used, or another process uses it.
    """
    import aiosqlite

    with _locked(folder):
        file = folder / "jobs.sqlite3"
        try:
            file.touch(mode=0o600)
            sqlite3.connect(file).close()  # aiosqlite's thread outlives what cannot be opened
            database = await aiosqlite.connect(file, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise _unusable() from error
        async with _closing(database):
            await _prepare(database)
            yield JobStore(database)


@asynccontextmanager
async def _closing(database: aiosqlite.Connection) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await database.close()


async def _prepare(database: aiosqlite.Connection) -> None:
    try:
        [(version,)] = await database.execute_fetchall("PRAGMA user_version")
        if version not in (0, VERSION):
            raise InvalidConfiguration("the jobs in DATA_DIR were written by another version; name another folder.")
        await database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
            f"{SCHEMA} PRAGMA user_version = {VERSION};"
        )
    except sqlite3.Error as error:
        raise _unusable() from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise _unusable() from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InvalidConfiguration("another service keeps its jobs in DATA_DIR; name another folder.") from error
        yield


def _unusable() -> InvalidConfiguration:
    return InvalidConfiguration("the folder for the jobs cannot be used: set DATA_DIR to one that can be written.")
