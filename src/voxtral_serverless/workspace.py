"""The temporary folder of a job: private, gone at the end in every case, and swept up after a killed worker.

All of them lie in one folder of this user's own, `voxtral-serverless-UID` under TMPDIR (or under /tmp, where TMPDIR is
too long a name for a socket in it), so that nothing else is ever taken for ours.
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
SHORT = Path("/tmp")  # noqa: S108 — what the system has for it
MAX_SHORT_BYTES = 24
"""Of a folder that is to hold `voxtral-serverless-UID`, a workspace, and a socket: a socket's path may have 107."""


@contextmanager
def workspace(*, short: bool = False) -> Iterator[Path]:
    """A new folder that only this user may enter, deleted when the block is left.

    The name of a `short` one leaves room for sockets in it.

    Raises:
        InvalidConfiguration: TMPDIR has no place for it.
    """
    new = Path(tempfile.mkdtemp(prefix=NEW, dir=own_folder(short=short)))
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


def sweep_leftovers(*, short: bool = False) -> int:
    """Delete the folders of workers that were killed, or their `short` ones; how many there were."""
    swept = 0
    for folder in own_folder(short=short).iterdir():
        with suppress(OSError):
            if _is_leftover(folder):
                shutil.rmtree(folder)
                swept += 1
    return swept


def own_folder(*, short: bool = False) -> Path:
    """The folder of all workspaces of this user, made where it is missing.

    Raises:
        InvalidConfiguration: it cannot be made, or is somebody else's.
    """
    temporary = Path(tempfile.gettempdir())
    if short and len(os.fsencode(temporary)) > MAX_SHORT_BYTES:
        temporary = SHORT
    parent = temporary / f"voxtral-serverless-{os.getuid()}"
    try:
        parent.mkdir(mode=0o700, exist_ok=True)
        status = parent.lstat()
    except OSError as error:
        which = f"a folder with room, whose path has at most {MAX_SHORT_BYTES} bytes" if short else "a folder with room"
        raise InvalidConfiguration(f"no temporary folder can be made; set TMPDIR to {which}.") from error
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
