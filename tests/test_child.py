import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from voxtral_serverless.child import LINE_BYTES, running_child
from voxtral_serverless.errors import StageFailed

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
SPAWN = """
import json, subprocess, time
child = subprocess.Popen(["sleep", "600"])
print(json.dumps({"pid": child.pid}), flush=True)
time.sleep(600)
"""


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", script)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def eventually(holds: Callable[[], bool], within_s: float = 2.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110 — other processes set no event
        await asyncio.sleep(0.01)
    return holds()


async def test_lines_go_there_and_back(tmp_path: Path) -> None:
    async with running_child(python(ECHO), folder=tmp_path, environment={}) as child:
        for number in range(3):
            await child.send({"number": number, "text": "é\n"})
            assert await child.receive() == {"number": number, "text": "é\n"}


async def test_end_of_output_is_none(tmp_path: Path) -> None:
    async with running_child(python("pass"), folder=tmp_path, environment={}) as child:
        assert await child.receive() is None


@pytest.mark.parametrize("printed", ["nonsense", "[1]", "7", "x" * (LINE_BYTES + 1), "[" * 1_000_000])
async def test_garbage_is_a_typed_error(printed: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(printed)
    async with running_child(("cat", "text"), folder=tmp_path, environment={"PATH": os.environ["PATH"]}) as child:
        with pytest.raises(StageFailed):
            await child.receive()


async def test_sending_to_a_dead_child_is_a_typed_error(tmp_path: Path) -> None:
    async with running_child(python("pass"), folder=tmp_path, environment={}) as child:
        await child.process.wait()
        with suppress(StageFailed):
            await child.send({"much": "x" * 1_000_000})
        with pytest.raises(StageFailed):
            await child.send({"more": 1})


async def test_whole_group_ends_with_the_block(tmp_path: Path) -> None:
    async with running_child(python(SPAWN), folder=tmp_path, environment={"PATH": os.environ["PATH"]}) as child:
        told = await child.receive()
        assert told is not None
        grandchild = told["pid"]
        assert alive(grandchild)
    assert await eventually(lambda: not alive(child.process.pid))
    assert await eventually(lambda: not alive(grandchild))


async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    pids: list[int] = []

    async def work() -> None:
        async with running_child(python("import time; time.sleep(600)"), folder=tmp_path, environment={}) as child:
            pids.append(child.process.pid)
            await child.receive()

    task = asyncio.create_task(work())
    assert await eventually(lambda: bool(pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await eventually(lambda: not alive(pids[0]))


async def test_unread_output_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Much more than a pipe takes, and than is read."""
    begun = time.monotonic()
    async with running_child(("yes",), folder=tmp_path, environment={"PATH": os.environ["PATH"]}, line_bytes=100):
        await asyncio.sleep(0.2)
    assert time.monotonic() - begun < 5


async def test_environment_is_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    async with running_child(python(script), folder=tmp_path, environment={"ONLY": "this"}) as child:
        told = await child.receive()
    assert told is not None
    assert told.pop("LC_CTYPE", None) in (None, "C.UTF-8")
    assert told == {"ONLY": "this"}
