import os
import socket
from pathlib import Path

import pytest

from tests.doctor.conftest import finding, nvidia_smi, vllm
from voxtral_serverless.doctor.surroundings import is_free, readable_settings


async def test_settings_that_cannot_be_read_are_told_and_the_rest_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"ENGINE": "nonsense", "VLLM_PORT": "99999999", "JOB_DEFAULTS": "{", "ALIGNMENT_MODELS": "[]"}
    for name, value in ({"LABEL_LANGUAGE": "en"} | wrong).items():
        monkeypatch.setenv(name, value)
    settings, _ = readable_settings()
    assert (settings.engine, settings.vllm_port, settings.job_defaults, settings.label_language) == (
        "auto",
        8000,
        {},
        "en",
    )
    assert os.environ["ENGINE"] == "nonsense"
    found = await finding("settings")
    assert found.mark == "problem"
    assert [name for name in wrong if found.found.count(f"{name}: ") != 1] == []


async def test_job_defaults_that_no_job_could_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_DEFAULTS", '{"langauge": "fr"}')
    assert "JOB_DEFAULTS: " in (await finding("settings")).found
    assert (await finding("engine")).mark == "warning"


async def test_settings_are_named_and_their_values_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cr3ts3cr3t")
    found = await finding("settings")
    assert "API_KEY" in found.details
    assert "s3cr3t" not in repr(found)


async def test_worker_of_runpod(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await finding("RunPod")).mark == "skipped"
    monkeypatch.setenv("RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/s3cr3t")
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "abc123")
    refuses = await finding("RunPod")
    assert refuses.mark == "problem"
    assert "endpoint abc123" in refuses.found
    assert "s3cr3t" not in repr(refuses)
    nvidia_smi(bare_machine)
    vllm(bare_machine)
    short = await finding("RunPod")
    assert (short.mark, "RUNPOD_INIT_TIMEOUT" in short.remedy) == ("warning", True)
    monkeypatch.setenv("RUNPOD_INIT_TIMEOUT", "1800")
    assert (await finding("RunPod")).mark == "ok"


async def test_port_that_is_taken_and_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        monkeypatch.setenv("ENGINE", "vllm")
        monkeypatch.setenv("VLLM_PORT", str(port))
        monkeypatch.setenv("PORT", str(port))
        found = await finding("ports")
        assert found.mark == "warning"
        assert found.found.count(f"(process {os.getpid()})") == 2
        assert "vLLM moves to the next free one" in found.found
        monkeypatch.setenv("ENGINE", "embedded")
        assert "VLLM_PORT" not in (await finding("ports")).found
    monkeypatch.setenv("PORT", "0")
    assert (await finding("ports")).mark == "ok"
