from pathlib import Path

import pytest

from tests.doctor.conftest import finding
from voxtral_serverless.doctor.findings import Mark
from voxtral_serverless.doctor.room import (
    disk_finding,
    downloads_finding,
    files_finding,
    job_room,
    memory_finding,
    memory_needed,
)
from voxtral_serverless.settings import load_settings

GB = 10**9


def test_room_of_the_longest_jobs() -> None:
    need = job_room(load_settings(max_duration_s=3600, max_audio_mb=1000, max_concurrency=2))
    decoded = 3600 * 16_000 * 2 * 3
    assert (need.one, need.all) == (GB + decoded, 2 * (GB + decoded))


@pytest.mark.parametrize(("free", "mark"), [(4 * GB, "problem"), (6 * GB, "warning"), (20 * GB, "ok")])
def test_disk_for_jobs(free: int, mark: Mark) -> None:
    found = disk_finding(job_room(load_settings()), free)
    assert found.mark == mark
    assert f"{free / GB:.1f} GB free" in found.found
    assert "4 jobs of (4.1 GB of MAX_AUDIO_MB + 0.9 GB of MAX_DURATION_S" in found.details[0]


@pytest.mark.parametrize(("free", "mark"), [(9 * GB, "problem"), (10 * GB, "ok")])
def test_disk_for_downloads(free: int, mark: Mark) -> None:
    assert downloads_finding(9_350_000_000, free).mark == mark


def test_memory_counts_a_temporary_folder_that_lies_in_it() -> None:
    settings = load_settings()
    alone = memory_needed(settings, diarizes=False, in_memory=False)
    assert memory_needed(settings, diarizes=True, in_memory=False) - alone == pytest.approx(2.8 * GB)
    assert memory_needed(settings, diarizes=False, in_memory=True) - alone == job_room(settings).all
    assert memory_finding(5 * GB, 4 * GB, in_memory=False).mark == "warning"
    assert "TMPDIR" in memory_finding(5 * GB, 4 * GB, in_memory=True).remedy
    assert memory_finding(5 * GB, 6 * GB, in_memory=True).mark == "ok"


def test_open_files() -> None:
    settings = load_settings(max_requests=64, max_concurrency=4)
    assert files_finding(settings, 1024).mark == files_finding(settings, None).mark == "ok"
    few = files_finding(settings, 256)
    assert (few.mark, "ulimit -n" in few.remedy) == ("warning", True)


async def test_this_machine_has_them() -> None:
    for name in ("disk", "memory", "files"):
        assert (await finding(name)).mark in {"ok", "warning", "problem"}
    assert " GB free for temporary files" in (await finding("disk")).found


async def test_temporary_folder_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").rmdir()
    (tmp_path / "temporary").write_text("a file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert "set TMPDIR" in (await finding("disk")).found
    assert (await finding("decoding")).mark == "problem"


async def test_sound_is_really_decoded(temporary: Path) -> None:
    found = await finding("decoding")
    assert (found.mark, "searched for speech" in found.found) == ("ok", True)
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
