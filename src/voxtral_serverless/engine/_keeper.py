"""Keeps an engine: starts it in a group of its own, and ends all of it when the worker lets go or dies.

Run as `python -I -S _keeper.py STATUS_FD FOLDER COMMAND…`. Standard input is a pipe that only the worker holds open: its
end means that the worker is gone, however it went. Writes JSON lines to STATUS_FD: `{"group": …}` once started, or
`{"refused": …}`; `{"exit": …}` when the engine ends by itself; `{"gone": true}` when nothing of it is left, and nothing of
FOLDER, where it had its sockets. Standard library only, and no import of the package: it starts in milliseconds and has
nothing that could fail.

A parent-death signal alone is not enough: it reaches the API server, and leaves its engine core behind with all
of its memory. As a subreaper the keeper inherits such orphans and sees to it that none stays, zombies included.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 2.5
"""Time between SIGTERM and SIGKILL."""
TRACKER_S = 1.5
"""Time for Python's resource tracker, which outlives the rest and unlinks the shared memory that they left."""
TRACKER = "multiprocessing.resource_tracker"
LAST_S = 10.0
"""Time for what was killed to be gone."""
POLL_S = 0.05


class Family:
    """The engine and every process that it leaves behind."""

    def __init__(self, engine: int) -> None:
        self.engine = engine
        self.exit: int | None = None

    def alive(self) -> bool:
        """Whether any of it lives; what has ended is reaped on the way."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                if pid == self.engine:
                    self.exit = os.waitstatus_to_exitcode(status)
        return False

    def end(self) -> None:
        """SIGTERM, after the grace SIGKILL: the resource tracker last, then whatever is left."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.engine, signal.SIGTERM)
            os.killpg(self.engine, signal.SIGCONT)  # a stopped process ends in order too
        _until(lambda: not self.alive(), GRACE_S)
        _until(lambda: not self._killed(sparing=TRACKER), TRACKER_S)
        _until(lambda: not self._killed(), LAST_S)

    def _killed(self, sparing: str | None = None) -> bool:
        """Whether any of it lives, after SIGKILL to all whose command does not have the words `sparing` in it."""
        for process in self._members():
            with suppress(OSError):  # it may end while we look
                if sparing is None or sparing not in (process / "cmdline").read_text():
                    os.kill(int(process.name), signal.SIGKILL)
        return self.alive()

    def _members(self) -> list[Path]:
        """The living processes of the engine's group, and those who left it and were left to us, in /proc."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                _state, parent, group, *_ = (process / "stat").read_text().rpartition(")")[2].split()
                if int(group) == self.engine or int(parent) == os.getpid():
                    found.append(process)
        return found


def main(status: int, folder: str, command: list[str]) -> int:
    """Run `command` until it ends or standard input does; then leave none of its processes, and not its `folder`."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note)
    try:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        _tell(status, {"refused": error.strerror or "it cannot be started"})
        return 1
    _tell(status, {"group": engine.pid})
    family = Family(engine.pid)
    _wait(family, woken)
    if family.exit is not None:
        _tell(status, {"exit": family.exit})
    family.end()
    shutil.rmtree(folder, ignore_errors=True)
    _tell(status, {"gone": True})
    return 0


def _note(number: int, _frame: object) -> None:
    """A signal is noted by its byte in the wake-up pipe."""


def _wait(family: Family, woken: int) -> None:
    """Until the engine has ended, the worker is gone, or a signal asks for the end."""
    while family.alive() and family.exit is None:
        readable, _, _ = select.select([0, woken], [], [])
        if 0 in readable and not os.read(0, 4096):
            return
        if woken in readable and set(os.read(woken, 4096)) - {signal.SIGCHLD}:
            return


def _until(done: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not done() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _tell(status: int, message: dict[str, object]) -> None:
    with suppress(OSError):
        os.write(status, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
