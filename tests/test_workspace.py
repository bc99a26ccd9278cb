import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.workspace import sweep_leftovers, workspace


def jobs(temporary: Path) -> list[Path]:
    return list(temporary.glob("voxtral-serverless-*/*"))


def age(folder: Path) -> None:
    old = time.time() - 3600
    os.utime(folder, (old, old))


def test_folder_is_private_and_goes(temporary: Path) -> None:
    with workspace() as folder:
        assert jobs(temporary) == [folder]
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        (folder / "recording").write_bytes(b"x")
    assert jobs(temporary) == []


def test_folder_goes_on_an_error(temporary: Path) -> None:
    with pytest.raises(RuntimeError), workspace():
        raise RuntimeError
    assert jobs(temporary) == []


def test_leftovers_of_a_killed_worker_are_swept_at_once(temporary: Path) -> None:
    script = (
        "import os\nfrom voxtral_serverless.workspace import workspace\n"
        "with workspace() as folder:\n    (folder / 'recording').write_bytes(b'x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(jobs(temporary)) == 1
    assert sweep_leftovers() == 1
    assert jobs(temporary) == []


def test_folder_in_use_is_left_alone() -> None:
    with workspace() as folder:
        age(folder)
        script = "from voxtral_serverless.workspace import sweep_leftovers; raise SystemExit(sweep_leftovers())"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
        assert folder.exists()


def test_folder_that_never_got_its_lock_is_swept_when_it_is_old() -> None:
    with workspace() as folder:
        half_made = folder.with_name("new-abc")
        half_made.mkdir()
        assert sweep_leftovers() == 0
        age(half_made)
        assert sweep_leftovers() == 1
        assert folder.exists()


def test_folder_whose_deletion_was_interrupted_is_swept() -> None:
    with workspace() as folder:
        half_deleted = folder.with_name("job-abc")
        half_deleted.mkdir()
        (half_deleted / "mix.s16").write_bytes(b"x")
        age(half_deleted)
        assert sweep_leftovers() == 1
        assert not half_deleted.exists()


def test_what_is_not_ours_is_left_alone(temporary: Path) -> None:
    for name in ("voxtral-serverless-main", "of-somebody-else"):
        (temporary / name).mkdir()
        age(temporary / name)
    assert sweep_leftovers() == 0
    assert (temporary / "voxtral-serverless-main").exists()


def test_place_taken_by_something_else_is_refused(temporary: Path) -> None:
    (temporary / f"voxtral-serverless-{os.getuid()}").symlink_to(temporary)
    with pytest.raises(InvalidConfiguration, match="TMPDIR"), workspace():
        pass
