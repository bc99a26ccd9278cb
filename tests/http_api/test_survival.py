"""Jobs outlive the service: two hundred at once, kill -9 and SIGTERM in the midst of them, and start again."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.vllm_server import Manners, Vllm, running_vllm, set_manners
from tests.http_api.near import inline, rows
from tests.http_api.service import COMMAND, Service, clip, environment_of, running_service
from tests.runpod_worker.harness import Ended
from tests.runpod_worker.scenarios import own_engine
from tests.test_child import eventually
from voxtral_serverless.engine.client import WARM_UP_TOKENS
from voxtral_serverless.http_api.desk import MAX_ATTEMPTS

JOBS, MIDST = 200, 30
WAIT_S = 20.0
ENDS_S = 8.0
"""A service that is asked to end does so, on a busy machine."""


class Holding(Vllm):
    """An engine that comes up, and then, while it `holds`, is not done with any job."""

    holds = True

    async def _work(self, seconds: float, besides_s: float = 0.0) -> None:
        held = is_of_a_job(self.requests[-1])
        while held and self.holds:  # noqa: ASYNC110 — a test sets the flag
            await asyncio.sleep(0.05)
        await super()._work(seconds, besides_s)


def is_of_a_job(request: dict[str, str]) -> bool:
    """Whether it is none of those by which the engine is tried out."""
    return request["max_completion_tokens"] != str(WARM_UP_TOKENS)


def heard(vllm: Vllm) -> int:
    """How many requests for jobs the engine has got."""
    return sum(map(is_of_a_job, vllm.requests))


def settings_of(vllm: Vllm, **others: str) -> dict[str, str]:
    """Of a service over that engine."""
    return {"ENGINE": "vllm", "VLLM_BASE_URL": vllm.url, "DIARIZER": "none", "MAX_CONCURRENCY": "4"} | others


@asynccontextmanager
async def over(vllm: Vllm, folder: Path, **others: str) -> AsyncIterator[Service]:
    """A service over an engine that is there already."""
    async with running_service(folder, settings_of(vllm, **others)) as service:
        await pinged(service, 200)
        yield service


async def pinged(service: Service, status: int) -> None:
    """Wait until a ping is answered so."""
    async with asyncio.timeout(WAIT_S):
        while (await service.client.get("/ping")).status_code != status:  # noqa: ASYNC110 — another process
            await asyncio.sleep(0.05)


async def posted(service: Service, speech: bytes, count: int) -> list[str]:
    """The ids of so many jobs, all posted at once; each says in its metadata which one it is."""
    jobs = (service.run(inline(speech, metadata={"which": number})) for number in range(count))
    return list(await asyncio.gather(*jobs))


async def all_over(service: Service, ids: list[str], within_s: float = 90.0) -> list[dict[str, Any]]:
    """The jobs when all are over. The last ones are asked for first, since they are over last."""
    newest_first = [await service.over(job_id, within_s) for job_id in reversed(ids)]
    return newest_first[::-1]


async def until_counted(service: Service, state: str, count: int) -> None:
    """Wait until so many jobs are in that state."""
    async with asyncio.timeout(WAIT_S):
        while (await service.client.get("/health")).json()["jobs"][state] < count:  # noqa: ASYNC110 — another process
            await asyncio.sleep(0.02)


def in_order(folder: Path) -> bool:
    """Whether the jobs were begun in the order in which they were accepted."""
    begun = [row["started"] for row in rows(folder)]
    return all(start is not None for start in begun) and begun == sorted(begun)


async def test_two_hundred_at_once(speech: bytes, tmp_path: Path) -> None:
    async with running_vllm(Vllm()) as vllm, over(vllm, tmp_path) as service:
        began = time.monotonic()
        ids = await posted(service, speech, JOBS)
        taken_s = time.monotonic() - began
        jobs = await all_over(service, ids)
        print(f"{JOBS} jobs taken in within {taken_s:.1f} s, done within {time.monotonic() - began:.1f} s")  # noqa: T201
        assert len(set(ids)) == JOBS
        assert {job["status"] for job in jobs} == {"COMPLETED"}
        assert [job["output"]["metadata"]["which"] for job in jobs] == list(range(JOBS))
        assert heard(vllm) == JOBS, "each once"
        assert max(row["attempts"] for row in rows(service.folder, "attempts, number")) == 1
        assert in_order(service.folder)


async def test_killed_in_the_midst(speech: bytes, tmp_path: Path) -> None:
    async with running_vllm(Vllm(Manners(latency_s=0.05))) as vllm:
        async with over(vllm, tmp_path) as service:
            ids = [*await posted(service, speech, MIDST), await sent(service, speech)]
            await until_counted(service, "completed", MIDST // 3)
            await service.process.stop(signal.SIGKILL)
        vllm.requests.clear()
        before = {row["id"]: row for row in rows(service.folder)}
        finished = [row for row in before.values() if row["status"] == "COMPLETED"]
        assert MIDST > len(finished) >= MIDST // 3
        assert set(before) == set(ids), "what was accepted is there"
        async with over(vllm, tmp_path) as service:
            jobs = await all_over(service, ids)
            assert {job["status"] for job in jobs} == {"COMPLETED"}
            kept = {row["id"]: row for row in rows(service.folder)}
            assert [kept[row["id"]] for row in finished] == finished, "a finished job was touched"
            assert heard(vllm) == len(ids) - len(finished), "something was done twice, or not at all"
            assert service.uploads() == []


async def sent(service: Service, speech: bytes) -> str:
    """The id of a job whose recording was uploaded."""
    fields = {"input": json.dumps({"task": "transcribe"})}
    response = await service.client.post("/run", files={"file": ("a.wav", speech)}, data=fields)
    return str(response.json()["id"])


async def test_upload_of_a_waiting_job_survives(speech: bytes, tmp_path: Path) -> None:
    async with running_vllm(engine := Holding()) as vllm:
        async with over(vllm, tmp_path, MAX_CONCURRENCY="1") as service:
            ids = [await sent(service, speech) for _ in range(3)]
            await until_counted(service, "inProgress", 1)
            await service.process.stop(signal.SIGKILL)
        assert len(service.uploads()) == 3
        engine.holds = False
        async with over(vllm, tmp_path, MAX_CONCURRENCY="1") as service:
            assert {job["status"] for job in await all_over(service, ids)} == {"COMPLETED"}
            assert service.uploads() == []
            assert in_order(service.folder)


async def test_job_that_ends_the_service_is_given_up(speech: bytes, tmp_path: Path) -> None:
    ids: list[str] = []
    async with running_vllm(engine := Holding()) as vllm:
        for attempt in (1, 2, 3):
            async with over(vllm, tmp_path, MAX_CONCURRENCY="1") as service:
                ids = ids or [await sent(service, speech) for _ in range(2)]
                assert await eventually(lambda: heard(vllm) > 0, WAIT_S)
                assert (await service.status(ids[0]))["status"] == "IN_PROGRESS"
                await service.process.stop(signal.SIGKILL)
            vllm.requests.clear()
            assert rows(service.folder)[0]["attempts"] == attempt
        engine.holds = False
        async with over(vllm, tmp_path, MAX_CONCURRENCY="1") as service:
            job = await service.status(ids[0])
            assert (job["status"], job["error"].partition(":")[0]) == ("FAILED", "internal_error")
            assert (await service.over(ids[1]))["status"] == "COMPLETED"
            assert service.uploads() == [], "of a job that is over, its upload is gone"


async def test_asked_to_end_in_the_midst(speech: bytes, tmp_path: Path) -> None:
    async with running_vllm(engine := Holding()) as vllm:
        async with over(vllm, tmp_path, MAX_CONCURRENCY="2") as service:
            ids = [*await posted(service, speech, 4), await sent(service, speech)]
            waiting = asyncio.create_task(service.client.post("/runsync", json=inline(speech)))
            await until_counted(service, "inProgress", 2)
            assert await eventually(lambda: len(rows(service.folder)) == 6)
            ended = await service.process.stop()
            assert (ended.status, ended.within_s < ENDS_S) == (0, True), (ended, service.process.output)
            assert (await waiting).json()["status"] == "IN_QUEUE"
            assert service.process.leftovers() == []
        assert [(row["status"], row["attempts"]) for row in rows(service.folder)] == [("IN_QUEUE", 0)] * 6
        engine.holds = False
        async with over(vllm, tmp_path) as service:
            jobs = await all_over(service, [*ids, rows(service.folder)[-1]["id"]])
            assert {job["status"] for job in jobs} == {"COMPLETED"}


async def refused_start(folder: Path, settings: dict[str, str]) -> str:
    """What a service says that does not start."""
    folder.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, env=environment_of(folder, settings), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1, output
    assert b"Traceback" not in output
    return output.decode()


async def test_folder_belongs_to_one_service(tmp_path: Path) -> None:
    async with running_service(tmp_path / "first") as service:
        output = await refused_start(tmp_path / "second", {"DATA_DIR": str(service.folder)})
        assert "invalid_configuration: another service keeps its jobs in DATA_DIR" in output
        assert (await service.client.get("/health")).status_code == 200


async def test_listens_while_the_engine_starts(speech: bytes, tmp_path: Path) -> None:
    """What is posted meanwhile is done when it has come up."""
    async with (
        running_vllm(Vllm(Manners(frozen=True))) as vllm,
        running_service(tmp_path, settings_of(vllm)) as service,
    ):
        await pinged(service, 204)
        [job_id] = await posted(service, speech, 1)
        assert (await service.client.get("/health")).json()["workers"]["initializing"] == 1
        vllm.manners.frozen = False
        await pinged(service, 200)
        assert (await service.over(job_id))["status"] == "COMPLETED"


async def test_end_before_the_engine_is_there_counts_for_nothing(speech: bytes, tmp_path: Path) -> None:
    """Jobs are begun while it starts; what ends the service then is not their fault. Nor is it their time."""
    job = inline(speech) | {"policy": {"executionTimeout": 20_000}}
    async with running_vllm(Vllm(Manners(frozen=True))) as vllm:
        async with running_service(tmp_path, settings_of(vllm)) as service:
            job_id = await service.run(job)
            await service.process.kill()
        for _ in range(MAX_ATTEMPTS):
            async with running_service(tmp_path, settings_of(vllm)) as service:
                async with asyncio.timeout(WAIT_S):
                    while (await service.status(job_id))["status"] != "IN_PROGRESS":  # noqa: ASYNC110 — another process
                        await asyncio.sleep(0.05)
                await service.process.kill()
        vllm.manners.frozen = False
        async with over(vllm, tmp_path) as service:
            assert (await service.over(job_id))["status"] == "COMPLETED"


@pytest.mark.parametrize("starts", [True, False])
async def test_jobs_wait_for_an_engine_that_can_start(starts: bool, speech: bytes, tmp_path: Path) -> None:
    """One that cannot be started at all, and one that fails while it starts, when jobs are under way already."""
    folder = tmp_path / "service"
    async with running_vllm(Holding()) as vllm, over(vllm, folder) as service:
        ids = await posted(service, speech, 6)
    broken = own_engine(tmp_path, Manners(start="exit")) | {"DIARIZER": "none"}
    if not starts:
        broken["VLLM_EXECUTABLE"] = "/nonexistent"
    async with running_service(folder, broken) as service:
        asked = await service.client.post("/v1/audio/transcriptions", files={"file": speech})
        assert (asked.status_code, asked.json()["error"]["code"]) == (503, "engine_unavailable"), "at once or later"
        await pinged(service, 503)
        refused = await service.client.post("/run", json=inline(speech))
        assert (refused.status_code, refused.json()["error"].partition(":")[0]) == (503, "engine_unavailable")
        health = (await service.client.get("/health")).json()
        assert health["workers"]["unhealthy"] == 1
        assert [(await service.status(job_id))["status"] for job_id in ids] == ["IN_QUEUE"] * 6
    async with running_vllm(Vllm()) as vllm, over(vllm, folder) as service:
        assert {job["status"] for job in await all_over(service, ids)} == {"COMPLETED"}


@dataclass(frozen=True)
class Fate:
    """What became of a service whose engine died for good: how it ended, what it left, and its jobs."""

    ended: Ended
    leftovers: list[Path]
    jobs: list[dict[str, Any]]


async def with_an_engine_that_dies(folder: Path) -> Fate:
    """An engine that a job ends, and that does not start again."""
    settings = own_engine(folder, Manners(dies_over=2)) | {"DIARIZER": "none"}
    async with running_service(folder / "service", settings) as service:
        await pinged(service, 200)
        set_manners(folder / "engine", Manners(start="exit"))
        await service.run(inline(await clip(folder / "call", 2.4)))
        ended = await service.process.end(within_s=100)
        return Fate(ended, service.process.leftovers(), rows(service.folder))


@pytest.fixture(scope="module", autouse=True)
def fate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Fate]]:
    """It waits for half a minute: beside the other tests."""
    folder = tmp_path_factory.mktemp("fate")
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(lambda: asyncio.run(with_an_engine_that_dies(folder)))


def test_engine_that_dies_for_good_ends_the_service(fate: Future[Fate]) -> None:
    found = fate.result()
    assert (found.ended.status, found.leftovers) == (1, [])
    [job] = found.jobs
    assert (job["status"], job["attempts"]) == ("IN_QUEUE", 0), "the next start may do it"
