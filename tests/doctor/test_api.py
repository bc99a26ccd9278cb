from pathlib import Path

import pytest

from tests.doctor.conftest import finding


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "embedded")


async def test_service_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "auto")
    found = await finding("HTTP API")
    assert (found.mark, "ENGINE" in found.remedy) == ("warning", True)


async def test_it_answers_this_machine_alone() -> None:
    found = await finding("HTTP API")
    assert (found.mark, "127.0.0.1" in found.found) == ("ok", True)


async def test_a_key_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("API_KEY", "s3cr3ts3cr3t")
    found = await finding("HTTP API")
    assert (found.mark, "with the key" in found.found) == ("ok", True)
    assert "s3cr3t" not in repr(found)


async def test_everybody_is_a_problem_or_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    refused = await finding("HTTP API")
    assert (refused.mark, "API_KEY" in refused.remedy) == ("problem", True)
    monkeypatch.setenv("ALLOW_ANONYMOUS", "true")
    assert (await finding("HTTP API")).mark == "warning"


async def test_folder_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    found = await finding("HTTP API")
    assert (found.mark, "DATA_DIR" in found.remedy) == ("problem", True)


async def test_worker_of_runpod_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_WEBHOOK_GET_JOB", "http://127.0.0.1:9/")
    assert (await finding("HTTP API")).mark == "skipped"
