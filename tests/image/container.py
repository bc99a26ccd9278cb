"""An image as buildah has it, without a Docker engine, and containers of it: processes in its folders, with its command.

What is not as in Docker: chroot isolation shares the machine's processes and network, and everything runs as root.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runpod_worker.harness import _parents
from tests.test_child import alive, eventually


def buildah(*arguments: str | Path) -> str:
    """Run it; its output.

    Raises:
        AssertionError: it failed.
    """
    done = subprocess.run(["buildah", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """A built image."""

    name: str

    def config(self) -> dict[str, Any]:
        """What a container of it starts with: Env, Entrypoint, Cmd, Labels, User."""
        config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", self.name))["Docker"]["config"]
        return config

    def manifest(self) -> str:
        """What names its layers and their sizes in bytes, as JSON."""
        described: dict[str, str] = json.loads(buildah("inspect", "--type", "image", self.name))
        return described["Manifest"]

    def command(self) -> list[str]:
        """Its own entry point and command."""
        config = self.config()
        return [*config["Entrypoint"], *config["Cmd"]]


@dataclass(frozen=True)
class Container:
    """A container of an image.

    Attributes:
        root: Where its files can be seen.
    """

    name: str
    root: Path

    def run(self, *command: str) -> str:
        """Run a command in it; its output.

        Raises:
            AssertionError: it failed.
        """
        return buildah("run", self.name, "--", *command)

    @asynccontextmanager
    async def running(
        self, command: Sequence[str], environment: Mapping[str, str], volumes: Mapping[Path, str], log: Path
    ) -> AsyncIterator[Running]:
        """The command as a container's main process, beside the block. Nothing of it stays."""
        with_these = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        seeing = [part for folder, place in volumes.items() for part in ("--volume", f"{folder}:{place}:ro")]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                "buildah", "run", *with_these, *seeing, self.name, "--", *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        running = Running(process, log)
        try:
            yield running
        finally:
            await running.kill()


@dataclass(frozen=True)
class Running:
    """A container's processes."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self.log.read_text("utf-8", "replace")

    def below(self) -> dict[int, str]:
        """The living processes and their names, of buildah itself too."""
        parents = dict(_parents())
        found, level = set[int](), {self.process.pid}
        while level := {pid for pid, parent in parents.items() if parent in level} - found:
            found |= level
        names = {}
        for pid in found:
            with suppress(OSError):
                names[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
        return names

    async def stop(self, within_s: float = 60.0) -> int:
        """What `docker stop` does: the first process gets SIGTERM. Its exit status, once nothing of it is left."""
        below = self.below()
        (first,) = [pid for pid, name in below.items() if name == "tini"]
        os.kill(first, signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), within_s)
        assert await eventually(lambda: not any(alive(pid) for pid in below)), "a process outlives the container"
        return status

    async def kill(self) -> None:
        """End what is still there, at once."""
        below = self.below()
        for pid in [*below, self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()
