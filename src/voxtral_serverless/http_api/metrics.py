"""What Prometheus is told: jobs, stages, how fast, the queue, the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from voxtral_serverless.http_api.records import FINAL, Status
from voxtral_serverless.lifetime import EngineState

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)
SPEEDS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Metrics:
    """Counts what happens, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._jobs = Counter("voxtral_jobs", "Jobs that are over, by status.", ["status"], registry=registry)
        self._job_s = Histogram("voxtral_job_seconds", "Time to do a job.", buckets=SECONDS, registry=registry)
        self._stage_s = Histogram(
            "voxtral_stage_seconds", "Time in a stage of a job.", ["stage"], buckets=SECONDS, registry=registry
        )
        self._audio_s = Counter("voxtral_audio_seconds", "Length of the recordings done.", registry=registry)
        self._rtf = Histogram(
            "voxtral_real_time_factor", "Time to do a job, over its recording's length.", buckets=SPEEDS, registry=registry
        )  # fmt: skip
        self._waiting = Gauge("voxtral_queue_jobs", "Jobs that are not over, by status.", ["status"], registry=registry)
        self._engine = Gauge(
            "voxtral_engine_state", "1 for the state that the engine is in.", ["state"], registry=registry
        )
        for status in FINAL:
            self._jobs.labels(status)

    def over(self, status: Status) -> None:
        """A job is over."""
        self._jobs.labels(status).inc()

    def done(self, output: Mapping[str, Any], took_s: float) -> None:
        """A job is done, with this output, after `took_s` seconds."""
        self._job_s.observe(took_s)
        for stage, seconds in output["meta"]["timings"].items():
            self._stage_s.labels(stage).observe(seconds)
        if audio_s := output["duration"]:
            self._audio_s.inc(audio_s)
            self._rtf.observe(took_s / audio_s)

    def exposed(self, counts: Mapping[Status, int], engine: EngineState) -> bytes:
        """All of it in Prometheus' text format, with what is so at this moment."""
        for status in (Status.IN_QUEUE, Status.IN_PROGRESS):
            self._waiting.labels(status).set(counts[status])
        for state in EngineState:
            self._engine.labels(state).set(state is engine)
        return generate_latest(self._registry)
