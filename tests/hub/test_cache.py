"""Where models are cached, and looked for: by the variables, on RunPod's volume, in the user's own folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import COMMIT, cache, own_home
from voxtral_serverless import volume
from voxtral_serverless.hub.cache import cache_folder, commit_of, find_copy
from voxtral_serverless.hub.repository import Family, Repository

MOUNTED = Path("/dev/shm")


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        monkeypatch.delenv("HF_HOME")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
        yield


def test_volume_is_where_downloads_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "user" / "huggingface" / "hub"
    monkeypatch.setattr(volume, "VOLUME", MOUNTED)
    assert cache_folder() == MOUNTED / "voxtral-serverless" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / "hub"


def test_folder_that_is_no_mount_is_no_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume, "VOLUME", tmp_path)
    assert cache_folder() == tmp_path / "user" / "huggingface" / "hub"


def test_models_of_the_image_are_found_beside_a_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(volume, "VOLUME", MOUNTED)
    folder = cache(tmp_path / "user" / "huggingface" / "hub", {"config.json": b"{}"}, name="me/mine")
    wanted = Repository(
        "me/mine", COMMIT, False, None, Family("model", "MODEL", "REVISION", "ways"), (), lambda *_: None
    )
    assert find_copy(wanted, tmp_path / "none", lambda found, _: found) == folder


def test_commit_is_that_of_a_snapshot_alone(tmp_path: Path) -> None:
    assert commit_of(cache(tmp_path, {}, name="me/mine")) == COMMIT
    for own in ("snapshots/mine", "models--me--mine/2026/mine", "mine", "."):
        assert commit_of(Path(own)) is None
