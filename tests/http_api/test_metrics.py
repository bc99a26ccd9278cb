"""What Prometheus is told, read as Prometheus reads it, before and after jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.http_api.near import FINAL, Near, inline, near_service
from voxtral_serverless.http_api.metrics import Metrics
from voxtral_serverless.http_api.records import Status
from voxtral_serverless.lifetime import EngineState

Figures = dict[str, float]
NO_JOBS = dict.fromkeys(Status, 0)


def figures(text: str) -> Figures:
    """Every sample, as `name{label="value"}`."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def told(service: Near) -> Figures:
    """What the service tells."""
    response = await service.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return figures(response.text)


async def test_a_job_moves_the_figures(tmp_path: Path, speech: bytes) -> None:
    async with near_service(tmp_path) as service:
        before = await told(service)
        assert before['voxtral_engine_state{state="ready"}'] == 1
        assert before['voxtral_jobs_total{status="COMPLETED"}'] == 0
        job = await service.until(await service.run(inline(speech, language="en")), *FINAL)
        assert job["status"] == "COMPLETED", job
        after = await told(service)
    assert after['voxtral_jobs_total{status="COMPLETED"}'] == 1
    assert after["voxtral_job_seconds_count"] == 1
    assert 0 < after["voxtral_job_seconds_sum"] < 60
    assert after["voxtral_audio_seconds_total"] == pytest.approx(job["output"]["duration"])
    assert after["voxtral_real_time_factor_sum"] == pytest.approx(
        after["voxtral_job_seconds_sum"] / job["output"]["duration"]
    )
    for stage, seconds in job["output"]["meta"]["timings"].items():
        assert after[f'voxtral_stage_seconds_sum{{stage="{stage}"}}'] == pytest.approx(seconds)
    assert after['voxtral_stage_seconds_count{stage="transcription"}'] == 1


async def test_jobs_that_wait_are_cancelled_and_fail(tmp_path: Path) -> None:
    async with near_service(tmp_path, works=False) as service:
        ids = [await service.run({"input": {}}) for _ in range(3)]
        assert (await told(service))['voxtral_queue_jobs{status="IN_QUEUE"}'] == 3
        await service.client.post(f"/cancel/{ids[0]}")
        await service.client.post(f"/cancel/{ids[0]}")
        after = await told(service)
        assert after['voxtral_jobs_total{status="CANCELLED"}'] == 1, "a job is over once"
        assert after['voxtral_queue_jobs{status="IN_QUEUE"}'] == 2
        await service.client.post("/purge-queue")
        assert (await told(service))['voxtral_jobs_total{status="CANCELLED"}'] == 3


async def test_a_job_that_fails_has_no_speed(tmp_path: Path) -> None:
    async with near_service(tmp_path) as service:
        await service.until(await service.run({"input": {}}), "FAILED")
        after = await told(service)
    assert after['voxtral_jobs_total{status="FAILED"}'] == 1
    assert after["voxtral_real_time_factor_count"] == 0


async def test_a_dead_engine_is_told(tmp_path: Path) -> None:
    async with near_service(tmp_path, engine="vllm", vllm_executable=str(tmp_path / "none")) as service:
        assert (await told(service))['voxtral_engine_state{state="dead"}'] == 1


@pytest.mark.parametrize("state", list(EngineState))
def test_the_engine_is_in_one_state(state: EngineState) -> None:
    found = figures(Metrics().exposed(NO_JOBS, state).decode())
    assert {name: value for name, value in found.items() if "engine" in name and value} == {
        f'voxtral_engine_state{{state="{state}"}}': 1
    }


def test_silence_has_no_speed() -> None:
    metrics = Metrics()
    metrics.done({"duration": 0.0, "meta": {"timings": {"decode": 0.25}}}, 0.5)
    found = figures(metrics.exposed(NO_JOBS, EngineState.READY).decode())
    assert found["voxtral_job_seconds_sum"] == 0.5
    assert found['voxtral_stage_seconds_sum{stage="decode"}'] == 0.25
    assert found["voxtral_real_time_factor_count"] == 0
    assert found["voxtral_audio_seconds_total"] == 0


def test_what_has_not_happened_yet_is_there() -> None:
    found = figures(Metrics().exposed(NO_JOBS, EngineState.STARTING).decode())
    for status in FINAL:
        assert found[f'voxtral_jobs_total{{status="{status}"}}'] == 0
