"""The temporary folder of a job: private, gone at the end in every case, and swept up after a killed worker.

All of them lie in one folder of this user's own, `voxtral-serverless-UID` under TMPDIR, so that nothing else is
ever taken for ours.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voxtral_serverless.errors import InvalidConfiguration

LOCK = "lock"
NEW, JOB = "new-", "job-"
YOUNG_S = 60.0
"""A folder still without its lock is being made, unless it is older than this."""


@contextmanager
def workspace() -> Iterator[Path]:
    """A new folder that only this user may enter, deleted when the block is left.

    Raises:
        InvalidConfiguration: TMPDIR has no place for it.
    """
    new = Path(tempfile.mkdtemp(prefix=NEW, dir=_parent()))
    folder = new.with_name(JOB + new.name.removeprefix(NEW))
    try:
        with (new / LOCK).open("wb") as lock:
            # Held while this process lives, whatever its number; the sweep of another one sees that.
            fcntl.flock(lock, fcntl.LOCK_EX)
            new.rename(folder)
            yield folder
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def sweep_leftovers() -> int:
    """Delete the folders of workers that were killed; how many there were. Called once, at start."""
    swept = 0
    for folder in _parent().iterdir():
        with suppress(OSError):
            if _is_leftover(folder):
                shutil.rmtree(folder)
                swept += 1
    return swept


def _parent() -> Path:
    """The folder of all workspaces of this user, made where it is missing."""
    parent = Path(tempfile.gettempdir()) / f"voxtral-serverless-{os.getuid()}"
    try:
        parent.mkdir(mode=0o700, exist_ok=True)
        status = parent.lstat()
    except OSError as error:
        raise InvalidConfiguration("no temporary folder can be made; set TMPDIR to a folder with room.") from error
    if parent.is_symlink() or status.st_uid != os.getuid():
        raise InvalidConfiguration(f"the temporary folder {parent.name!r} belongs to somebody else; set TMPDIR.")
    return parent


def _is_leftover(folder: Path) -> bool:
    old = time.time() - folder.stat().st_mtime > YOUNG_S
    if not folder.name.startswith(JOB):
        return old and folder.name.startswith(NEW)
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # its owner was killed while deleting it
        return old
    except BlockingIOError:
        return False
    return True
