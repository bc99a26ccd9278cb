"""Ways of killing a real engine, and looking for what is left of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voxtral_serverless.engine.server import VllmServer


@dataclass(frozen=True)
class Process:
    """A living process. `title` is what it calls itself."""

    pid: int
    session: int
    title: str


def processes() -> list[Process]:
    """All processes of the machine that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            title = stat.with_name("cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        if state != "Z":
            found.append(Process(int(stat.parent.name), int(session), title))
    return found


def of_session(session: int) -> list[Process]:
    """The processes that belong to one engine: it has a session of its own."""
    return [process for process in processes() if process.session == session]


def holds(port: int) -> bool:
    """Whether somebody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Killing:
    """An engine that is to be killed."""

    server: VllmServer

    @property
    def session(self) -> int:
        """Of the engine that runs now."""
        assert self.server.process is not None
        return self.server.process.group

    @property
    def place(self) -> Path:
        """Where the engine that runs now has its sockets."""
        assert self.server.process is not None
        return self.server.process.folder

    def members(self) -> list[Process]:
        """The processes of the engine that runs now."""
        return of_session(self.session)

    def core(self) -> None:
        """SIGKILL to the engine's core."""
        [core] = [process for process in self.members() if process.title.startswith("VLLM::EngineCore")]
        os.kill(core.pid, signal.SIGKILL)

    def api_server(self) -> None:
        """SIGKILL to the API server, the parent of the rest."""
        os.kill(self.session, signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP to all of it: it is there, and does nothing."""
        for process in self.members():
            os.kill(process.pid, signal.SIGSTOP)

    @property
    def ways(self) -> dict[str, Callable[[], None]]:
        """Every way, by name."""
        return {"core": self.core, "api_server": self.api_server, "freeze": self.freeze}
