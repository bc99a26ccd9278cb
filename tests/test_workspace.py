import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voxtral_serverless.workspace import PREFIX, sweep_leftovers, workspace


def age(folder: Path) -> None:
    old = time.time() - 3600
    os.utime(folder, (old, old))


def test_folder_is_private_and_goes(temporary: Path) -> None:
    with workspace() as folder:
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "recording").write_bytes(b"x")
    assert list(temporary.iterdir()) == []


def test_folder_goes_on_an_error(temporary: Path) -> None:
    with pytest.raises(RuntimeError), workspace():
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_leftovers_of_a_killed_worker_are_swept(temporary: Path) -> None:
    script = (
        "import os\nfrom voxtral_serverless.workspace import workspace\n"
        "with workspace() as folder:\n    (folder / 'recording').write_bytes(b'x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = temporary.iterdir()
    assert sweep_leftovers() == 0, "too young to be judged"
    age(left)
    assert sweep_leftovers() == 1
    assert list(temporary.iterdir()) == []


def test_folder_in_use_is_left_alone(temporary: Path) -> None:
    with workspace() as folder:
        age(folder)
        script = "from voxtral_serverless.workspace import sweep_leftovers; raise SystemExit(sweep_leftovers())"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
        assert folder.exists()


def test_folder_that_never_got_its_lock_is_swept(temporary: Path) -> None:
    folder = temporary / f"{PREFIX}abc"
    folder.mkdir()
    age(folder)
    other = temporary / "of-somebody-else"
    other.mkdir()
    age(other)
    assert sweep_leftovers() == 1
    assert list(temporary.iterdir()) == [other]
