"""What many tests share. Nothing here stands in for a part of the product."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

from voxtral_serverless.settings import Settings

# Two busy cores tell nothing about how long an example takes.
hypothesis.settings.register_profile("steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("steady")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, no test the real Hub or its cache, and temporary folders are the test's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    logging.getLogger("voxtral_serverless").setLevel(logging.NOTSET)  # the command line sets it
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def temporary(own_environment: None, tmp_path: Path) -> Path:
    """Where the product puts its temporary files in this test."""
    return tmp_path / "temporary"


def no_report(done: float, total: float) -> None:
    """A report that nobody reads."""


def leftovers(temporary: Path) -> list[Path]:
    """What is in the temporary folder, but for the empty folder in which jobs have theirs. It may be going meanwhile."""
    found = (Path(folder, name) for folder, folders, files in os.walk(temporary) for name in (*folders, *files))
    return [path for path in found if path.parent != temporary or not path.name.startswith("voxtral-")]
