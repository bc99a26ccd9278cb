"""A worker tells in its log how long each part of its start took, and how far the first job got meanwhile."""

import json
from typing import Any

from tests.runpod_worker.conftest import Fates
from tests.runpod_worker.scenarios import with_an_engine_that_dies


def test_report_of_the_start(fates: Fates) -> None:
    log: list[dict[str, Any]] = [json.loads(line) for line in fates(with_an_engine_that_dies).output.splitlines()]
    phases = [line for line in log if line.get("logger") == "voxtral_serverless.startup"]
    by_name = {line["stage"]: line for line in phases}
    assert len(by_name) == len(phases), "a restart of the engine is no start"
    assert set(by_name) >= {
        *("interpreter", "torch_models", "gpus", "weights"),
        *("engine_process", "engine_weights_loaded", "engine_warm_up"),
        *("sdk", "asking_for_jobs", "ready", "first_job"),
    }
    ready, first_job = by_name["ready"], by_name["first_job"]
    assert all(
        0 <= line["duration_s"] <= line["after_s"] for line in phases if {"duration_s", "after_s"} <= line.keys()
    )
    assert by_name["weights"]["after_s"] <= by_name["engine_process"]["after_s"] <= ready["after_s"]
    assert ready["after_s"] <= first_job["after_s"]
    assert all(line["requestId"] is None for line in phases if line is not first_job)
    assert first_job["message"].startswith("first job: taken after ")


def test_engine_is_started_before_the_sdk_is_imported(fates: Fates) -> None:
    """Importing takes seconds of one core, in the same process."""
    log = [json.loads(line) for line in fates(with_an_engine_that_dies).output.splitlines()]
    after = {line["stage"]: line for line in log if line.get("logger") == "voxtral_serverless.startup"}
    sdk_began = after["sdk"]["after_s"] - after["sdk"]["duration_s"]
    assert after["weights"]["after_s"] <= sdk_began
