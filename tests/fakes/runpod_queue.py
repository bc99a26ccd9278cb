"""RunPod's queue on loopback, as the SDK in a worker sees it: the real routes and wire shapes.

It keeps what became of every job, and can be given manners. A job counts as handed out when its answer was written to a
connection that the worker had not closed; else it stays in the queue. What the platform would be right to complain about
(a result that it refuses, a post after the result, JSON that is none, a wrong key) is kept in `faults`, and fails the
block that the queue runs in. Leaves out: `/run`, `/status`, several workers, a job's time to live.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

POD, ENDPOINT = "pod1234", "endpoint5678"
HOLD_S = 90.0
"""So long a poll is held open."""
LIMIT_BYTES = 10_000_000


@dataclass
class Manners:
    """How the queue behaves.

    Attributes:
        holds: Polls are held until there is something to say; else they are answered at once (204).
        take_status: HTTP status of job-take, instead of jobs.
        done_failures: So many results get HTTP 500 before one is accepted.
        slow_s: A pause in the middle of every answer that hands out jobs.
        done_slow_s: A pause before every answer to job-done.
        limit_bytes: A larger result gets HTTP 413.
    """

    holds: bool = True
    take_status: int | None = None
    done_failures: int = 0
    slow_s: float = 0.0
    done_slow_s: float = 0.0
    limit_bytes: int = LIMIT_BYTES


@dataclass(frozen=True)
class Post:
    """What a worker posted for a job, and when (`time.monotonic`)."""

    at: float
    body: dict[str, Any]

    @property
    def is_progress(self) -> bool:
        return self.body.get("status") == "IN_PROGRESS"


@dataclass
class Job:
    """A job, and what became of it.

    Attributes:
        body: What the worker is handed, as it is.
        handed_out: When it was.
        posts: What was accepted for it, in order.
        refused: HTTP statuses that its results got instead.
        stopped: It was cancelled.
    """

    id: str
    body: Any
    handed_out: list[float] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    stopped: bool = False

    @property
    def progress(self) -> list[Post]:
        return [post for post in self.posts if post.is_progress]

    @property
    def results(self) -> list[Post]:
        return [post for post in self.posts if not post.is_progress]

    @property
    def status(self) -> str:
        """What a client of the endpoint would see."""
        if self.stopped:
            return "CANCELLED"
        if self.posts and not self.posts[-1].is_progress:
            return "FAILED" if "error" in self.posts[-1].body else "COMPLETED"
        return "IN_PROGRESS" if self.handed_out else "IN_QUEUE"

    @property
    def result(self) -> dict[str, Any]:
        """The body of its one result."""
        [result] = self.results
        return result.body

    @property
    def output(self) -> dict[str, Any]:
        """The answer of a job that went well."""
        assert self.status == "COMPLETED", (self.status, self.posts[-1:])
        output = self.result["output"]
        assert isinstance(output, dict)
        return output

    @property
    def error(self) -> str:
        """The error of a job that failed."""
        assert self.status == "FAILED", (self.status, self.posts[-1:])
        error = self.result["error"]
        assert isinstance(error, str)
        return error


@dataclass(frozen=True)
class Take:
    """A request for jobs: when, and for how many."""

    at: float
    most: int
    in_progress: str


@dataclass
class RunpodQueue:
    """The queue's state.

    Attributes:
        key: What a worker has to send as `Authorization`.
        jobs: All jobs that were put in, by id.
        takes: Every request for jobs, in order.
        pings: The parameters of every ping.
        faults: What a worker did wrong.
    """

    manners: Manners = field(default_factory=Manners)
    key: str = "rpa_key"
    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    takes: list[Take] = field(default_factory=list)
    pings: list[dict[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _queue: list[Job] = field(default_factory=list)
    _stops: list[str] = field(default_factory=list)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    def environment(self) -> dict[str, str]:
        """What RunPod would set for a worker. The SDK's own checks of the machine are off: they ask the internet."""
        base, query = f"{self.url}/v2/{ENDPOINT}", "?gpu=NVIDIA+L4"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID{query}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID{query}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID{query}",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": self.key,
            "RUNPOD_POD_ID": POD,
            "RUNPOD_ENDPOINT_ID": ENDPOINT,
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    def put(self, job_input: Any, **beside: Any) -> Job:
        """Queue a job with this `input`; `beside` are the fields that stand next to it, `policy` for one."""
        name = f"job-{len(self.jobs)}-e1"
        return self.put_raw({"id": name, "input": job_input, **beside}, name)

    def put_raw(self, body: Any, name: str = "") -> Job:
        """Queue `body` as it is, which need not be a job at all."""
        job = Job(name or f"raw-{len(self.jobs)}", body)
        self.jobs[job.id] = job
        self._queue.append(job)
        self._ring()
        return job

    async def hand_out_when(self, event: asyncio.Event, job_input: Any) -> Job:
        """Queue a job in the moment of `event`."""
        await event.wait()
        return self.put(job_input)

    def cancel(self, job: Job) -> None:
        """What `/cancel` does: a job in the queue is taken out of it, one that runs is stopped."""
        job.stopped = True
        if job in self._queue:
            self._queue.remove(job)
        else:
            self._stops.append(job.id)
            self._ring()

    async def until(self, holds: Callable[[], Any], within_s: float = 30.0) -> bool:
        """Whether something comes to hold in time; looked at whenever anything happens here."""
        deadline = time.monotonic() + within_s
        while not holds():
            left = deadline - time.monotonic()
            if left <= 0 or not await self._rung(left):
                return bool(holds())
        return True

    async def pings_for(self, job: Job, within_s: float = 30.0) -> bool:
        """Whether a ping, sent or to come, names the job."""
        return await self.until(lambda: any(job.id in ping.get("job_id", "") for ping in self.pings), within_s)

    async def pings_idle(self, within_s: float = 30.0) -> bool:
        """Whether a ping comes, from now on, that names no job. The process that pings may not have started yet."""
        seen = len(self.pings)
        return await self.until(lambda: any("job_id" not in ping for ping in self.pings[seen:]), within_s)

    async def finished(self, *jobs: Job, within_s: float = 60.0) -> None:
        """Wait for the results of all `jobs`."""
        came = await self.until(lambda: all(job.results for job in jobs), within_s)
        assert came, {job.id: job.status for job in jobs if not job.results}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._gate], client_max_size=1 << 30)
        base = f"/v2/{ENDPOINT}"
        app.router.add_get(f"{base}/job-take/{POD}", self.take)
        app.router.add_get(f"{base}/job-take-batch/{POD}", self.take_batch)
        app.router.add_get(f"{base}/job-stop/{POD}", self.stop)
        app.router.add_post(f"{base}/job-done/{POD}/{{id}}", self.done)
        app.router.add_post(f"{base}/job-stream/{POD}/{{id}}", self.stream)
        app.router.add_get(f"{base}/ping/{POD}", self.ping)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:  # type: ignore[name-defined]
        if request.headers.get("Authorization") != self.key:
            self.faults.append(f"{request.path} without the key")
            return web.Response(status=401)
        return await handler(request)  # type: ignore[no-any-return]

    async def take(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_take(request, 1)

    async def take_batch(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_take(request, int(request.query["batch_size"]))

    async def _answer_take(self, request: web.Request, most: int) -> web.StreamResponse:
        self.takes.append(Take(time.monotonic(), most, request.query["job_in_progress"]))
        self._ring()
        if self.manners.take_status:
            return web.Response(status=self.manners.take_status)
        if not self._queue and self.manners.holds:
            await self.until(lambda: self._queue, HOLD_S)
        jobs = self._queue[:most]
        if not jobs:
            return web.Response(status=204)
        del self._queue[:most]
        bodies = [job.body for job in jobs]
        try:
            response = await self._write(request, bodies[0] if request.path.endswith(f"/job-take/{POD}") else bodies)
        except (ConnectionError, asyncio.CancelledError):
            self._queue[:0] = jobs
            self._ring()  # another poll may be waiting already
            raise
        for job in jobs:
            job.handed_out.append(time.monotonic())
        self._ring()
        return response

    async def _write(self, request: web.Request, answer: Any) -> web.StreamResponse:
        """Write an answer in two halves, as long as the worker listens.

        Raises:
            ConnectionError: it does not.
        """
        text = json.dumps(answer).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
        await response.prepare(request)
        if self.manners.slow_s:
            await response.write(text[:2])
            await asyncio.sleep(self.manners.slow_s)
            text = text[2:]
        _refuse_closed(request)
        await response.write_eof(text)
        return response

    async def stop(self, request: web.Request) -> web.StreamResponse:
        if self.manners.holds:
            await self.until(lambda: self._stops, HOLD_S)
        _refuse_closed(request)
        stops, self._stops = self._stops, []
        return web.json_response({"jobsToStop": stops}) if stops else web.Response(status=204)

    async def done(self, request: web.Request) -> web.Response:
        data = await request.read()
        job = self.jobs.get(request.match_info["id"])
        if len(data) > self.manners.limit_bytes:
            self.faults.append(f"{len(data)} bytes for {request.path}")
            return web.Response(status=413)
        post = Post(time.monotonic(), self._parsed(data))
        if job is None:
            self.faults.append(f"a post for {request.match_info['id']!r}, which is no job")
            return web.Response(status=404)
        if not post.is_progress and self.manners.done_failures:
            self.manners.done_failures -= 1
            job.refused.append(500)
            return web.Response(status=500)
        if job.results:
            self.faults.append(f"a post for {job.id} after its result")
        job.posts.append(post)
        self._ring()
        await asyncio.sleep(self.manners.done_slow_s)
        return web.json_response({})

    def _parsed(self, data: bytes) -> dict[str, Any]:
        def refuse(name: str) -> None:
            self.faults.append(f"{name} in a result")

        try:
            body = json.loads(data, parse_constant=refuse)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self.faults.append(f"not a JSON object: {data[:200]!r}")
            return {}
        return body

    async def stream(self, request: web.Request) -> web.Response:
        """No worker of ours streams."""
        self.faults.append(f"a post to {request.path}")
        return web.Response(status=400)

    async def ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        self._ring()
        return web.Response(text="ok")

    def _ring(self) -> None:
        """Wake up who waits for something to happen."""
        self._bell.set()
        self._bell = asyncio.Event()

    async def _rung(self, within_s: float) -> bool:
        try:
            await asyncio.wait_for(self._bell.wait(), within_s)
        except TimeoutError:
            return False
        return True


def _refuse_closed(request: web.Request) -> None:
    """The kernel knows of a closed connection before the event loop has heard of it.

    Raises:
        ConnectionResetError: the worker has closed the connection.
    """
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError
    with socket.socket(fileno=os.dup(request.transport.get_extra_info("socket").fileno())) as connection:
        try:
            closed = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            closed = False
    if closed:
        raise ConnectionResetError


@asynccontextmanager
async def running_queue(manners: Manners | None = None, key: str = "rpa_key") -> AsyncIterator[RunpodQueue]:
    """A queue on a free port of 127.0.0.1; no worker may have done anything wrong at its end."""
    queue = RunpodQueue(manners or Manners(), key)
    runner = web.AppRunner(queue.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    queue.url = f"http://{host}:{port}"
    try:
        yield queue
    finally:
        await runner.cleanup()
    assert queue.faults == []
