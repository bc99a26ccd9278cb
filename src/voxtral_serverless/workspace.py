"""The temporary folder of a job: private, gone at the end in every case, and swept up after a killed worker."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "voxtral-serverless-"
LOCK = "lock"
YOUNG_S = 60.0
"""A folder younger than this is left alone: its owner may not have locked it yet."""


@contextmanager
def workspace() -> Iterator[Path]:
    """A new folder that only this user may enter, deleted when the block is left."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with (folder / LOCK).open("wb") as lock:
            # Held while this process lives, whatever its number; the sweep of another one sees that.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_leftovers() -> int:
    """Delete the folders of workers that were killed; how many there were. Called once, at start."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and _is_leftover(folder):
                shutil.rmtree(folder)
                swept += 1
    return swept


def _is_leftover(folder: Path) -> bool:
    if time.time() - folder.stat().st_mtime < YOUNG_S:
        return False
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
