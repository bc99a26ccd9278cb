import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_placement import RTX_4090
from voxtral_serverless.engine import caches
from voxtral_serverless.engine.caches import BELOW, PLACES, cache_variables


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(caches, "VOLUME", tmp_path / "no volume")
    return tmp_path / "home"


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real mount that can be written."""
    place, below = Path("/dev/shm"), Path(f"voxtral-serverless-test-{os.getpid()}")
    monkeypatch.setattr(caches, "VOLUME", place)
    monkeypatch.setattr(caches, "BELOW", below)
    yield place / below
    shutil.rmtree(place / below, ignore_errors=True)


def roots(variables: dict[str, str]) -> set[Path]:
    """The folders in which the caches have theirs."""
    return {Path(folder).parent for folder in variables.values()}


def test_all_lie_in_one_folder_for_each_kind_of_gpu(tmp_path: Path) -> None:
    gpu = cache_variables(tmp_path / "cache", [RTX_4090, RTX_4090], {})
    cpu = cache_variables(tmp_path / "cache", [], {})
    assert set(gpu) == set(cpu) == set(PLACES)
    assert roots(gpu) == {tmp_path / "cache" / "nvidia-geforce-rtx-4090"}
    assert roots(cpu) == {tmp_path / "cache" / "cpu"}
    assert len(set(gpu.values())) == len(PLACES)


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    variables = cache_variables(tmp_path / "cache", [], {"VLLM_CACHE_ROOT": "/mine"})
    assert "VLLM_CACHE_ROOT" not in variables
    assert "TRITON_CACHE_DIR" in variables


def test_without_a_volume_it_is_the_user_s_own_folder(home: Path, tmp_path: Path) -> None:
    assert roots(cache_variables(None, [], {})) == {home / ".cache" / BELOW / "cpu"}
    assert roots(cache_variables(None, [], {"XDG_CACHE_HOME": str(tmp_path)})) == {tmp_path / BELOW / "cpu"}
    assert roots(cache_variables(None, [], {"XDG_CACHE_HOME": "relative"})) == {home / ".cache" / BELOW / "cpu"}


def test_volume(volume: Path) -> None:
    assert roots(cache_variables(None, [], {})) == {volume / "cpu"}


@pytest.mark.parametrize("place", ["chosen", "volume", "home"])
def test_folder_that_cannot_be_written_stops_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Not even for root: where a file is in the way, or the mount is the kernel's own."""
    expected = home / ".cache" / BELOW / "cpu"
    home.parent.mkdir(exist_ok=True)
    if place == "volume":
        monkeypatch.setattr(caches, "VOLUME", Path("/proc"))
    if place == "home":
        home.write_text("a file")
        expected = tmp_path / "temporary" / f"voxtral-serverless-{os.getuid()}" / BELOW.name / "cpu"
    chosen = tmp_path / "file" / "cache" if place == "chosen" else None
    (tmp_path / "file").write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert roots(cache_variables(chosen, [], {})) == {expected}
    assert "cannot be written" in caplog.text
