"""The supervisor, over a stand-in for vLLM that starts, dies and freezes as it is told."""

import asyncio
import errno
import logging
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.vllm_server import Manners, Vllm, running_vllm, set_manners, vllm_command
from tests.test_child import alive, eventually
from voxtral_serverless.engine import server as supervisor
from voxtral_serverless.engine.client import EngineClient, EngineLost, as_wav
from voxtral_serverless.engine.command import Launch
from voxtral_serverless.engine.machine import free_port
from voxtral_serverless.engine.process import engine_process
from voxtral_serverless.engine.server import State, VllmServer, vllm_server
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.workspace import sweep_leftovers

CLIP = as_wav(bytes(2 * 16_000))


@dataclass
class Bench:
    """A supervisor under test, and the stand-in that it starts."""

    server: VllmServer
    folder: Path

    @property
    def group(self) -> int:
        assert self.server.process is not None
        return self.server.process.group

    @property
    def place(self) -> Path:
        """Where the engine leaves what it leaves."""
        assert self.server.process is not None
        return self.server.process.folder

    def members(self) -> list[int]:
        """The living processes of the engine's group."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _group(path) == self.group]

    async def transcribe(self) -> str:
        return (await self.server.client.transcribe(CLIP, language="fr", max_tokens=9)).text


def _group(process: Path) -> int | None:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[2])


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def assert_holds_a_socket(folder: Path) -> None:
    """As vLLM has them, and another file that it leaves; others of the machine cannot enter."""
    kinds = {stat.S_IFMT(path.stat().st_mode) for path in folder.iterdir() if path.name != "lock"}
    assert kinds == {stat.S_IFSOCK, stat.S_IFREG}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@asynccontextmanager
async def started(folder: Path, manners: Manners | None = None, *, freeze_s: float = 60.0) -> AsyncIterator[Bench]:
    command = vllm_command(folder, manners or Manners())

    def on_port(port: int) -> Launch:
        arguments = (str(command), "serve", "model", "--port", str(port), "--served-model-name", "voxtral")
        return Launch(arguments, {"PATH": os.environ["PATH"], "VLLM_API_KEY": "k3y"})

    client = EngineClient("", "voxtral", "k3y", ours=True)
    server = VllmServer(on_port, client, port=free_port(18_000), start_timeout_s=30, freeze_timeout_s=freeze_s)
    async with vllm_server(server):
        yield Bench(server, folder)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between two lives."""
    monkeypatch.setattr(supervisor, "BACK_OFF_S", (0.1, 0.1, 0.1))


async def test_a_life(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        states = [bench.server.state]
        await bench.server.ready()
        states.append(bench.server.state)
        assert states == [State.STARTING, State.READY]
        assert await bench.transcribe() == "1.00 s in fr"
        group, members = bench.group, bench.members()
        assert len(members) == 2  # the server and its core
        assert_holds_a_socket(place := bench.place)
    assert not place.exists()
    assert bench.server.state is State.DEAD
    assert _group(Path(f"/proc/{group}")) is None
    assert not any(alive(member) for member in members)


@pytest.mark.parametrize("victim", ["server", "core"])
async def test_death_is_noticed_and_mended(tmp_path: Path, victim: str) -> None:
    async with started(tmp_path) as bench:
        await bench.server.ready()
        first, place = bench.members(), bench.place
        os.kill(bench.group if victim == "server" else next(m for m in first if m != bench.group), signal.SIGKILL)
        assert await eventually(lambda: bench.server.state is State.RESTARTING, within_s=10)
        await bench.server.ready()
        assert bench.server.deaths == 1
        assert await bench.transcribe() == "1.00 s in fr"
        assert not set(first) & set(bench.members())
        assert not any(alive(pid) for pid in first)
        assert not place.exists()
        assert bench.place.exists()


async def test_request_resumes_after_the_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        await bench.server.ready()
        os.kill(bench.group, signal.SIGKILL)
        with pytest.raises(EngineLost):
            await bench.transcribe()
        await bench.server.recovered()
        assert await bench.transcribe() == "1.00 s in fr"


@pytest.mark.parametrize("manners", [Manners(), Manners(frozen=True)])
async def test_frozen_engine_is_restarted(tmp_path: Path, manners: Manners) -> None:
    async with started(tmp_path, freeze_s=1.0) as bench:
        await bench.server.ready()
        group = bench.group
        os.kill(group, signal.SIGSTOP)
        with pytest.raises(EngineLost):
            await bench.transcribe()
        await bench.server.recovered()
        assert bench.server.deaths == 1
        assert not alive(group)


async def test_engine_that_is_there_and_answers_nobody_is_restarted(tmp_path: Path) -> None:
    async with started(tmp_path, freeze_s=1.0) as bench:
        await bench.server.ready()
        group = bench.group
        deaf = bench.server.client.url = "http://127.0.0.1:9"  # as if it had closed its port
        with pytest.raises(EngineLost):
            await bench.transcribe()
        await bench.server.recovered()
        assert bench.server.client.url != deaf
        assert bench.server.deaths == 1
        assert not alive(group)


@pytest.mark.parametrize("turns", range(1, 12))
async def test_start_that_is_cancelled_leaves_nothing(turns: int) -> None:
    """At any moment, even where the event loop comes too late to stop the keeper from starting the engine."""
    sleeper = f"import time; time.sleep(600)  # {turns}-{os.getpid()}"

    async def start() -> None:
        async with engine_process(Launch((sys.executable, "-c", sleeper), dict(os.environ))):
            await asyncio.sleep(600)

    task = asyncio.create_task(start())
    for _ in range(turns):
        await asyncio.sleep(0)
        time.sleep(0.02)  # noqa: ASYNC251 — the event loop is late
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert await eventually(lambda: not any(sleeper in _command(path) for path in Path("/proc").glob("[0-9]*")), 10)


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


async def test_idle_engine_is_not_frozen(tmp_path: Path) -> None:
    async with started(tmp_path, freeze_s=0.2) as bench:
        await bench.server.ready()
        await asyncio.sleep(1)
        assert bench.server.deaths == 0


async def test_budget_of_restarts(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        for _ in range(supervisor.RESTARTS):
            await bench.server.ready()
            os.kill(bench.group, signal.SIGKILL)
            assert await eventually(lambda: bench.server.state is State.RESTARTING, within_s=10)
        await bench.server.ready()
        os.kill(bench.group, signal.SIGKILL)
        assert await eventually(lambda: bench.server.state is State.DEAD, within_s=10)
        with pytest.raises(EngineUnavailable, match="died 4 times in 10 minutes"):
            await bench.server.ready()
        with pytest.raises(EngineUnavailable):
            await bench.server.recovered()


async def test_failed_start_has_the_reason_and_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with started(tmp_path, Manners(start="exit")) as bench:
        with pytest.raises(EngineUnavailable) as failure:
            await bench.server.ready()
    assert failure.value.message == (
        "the engine did not start: ValueError: the tensors in consolidated.safetensors are damaged."
    )
    assert "INFO: starting" in failure.value.details
    assert "the engine's last words" in caplog.text


async def test_failed_restart_counts(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        await bench.server.ready()
        set_manners(tmp_path, Manners(start="exit"))
        os.kill(bench.group, signal.SIGKILL)
        assert await eventually(lambda: bench.server.state is State.DEAD, within_s=20)
        with pytest.raises(EngineUnavailable, match="died 4 times"):
            await bench.server.ready()


async def test_restart_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no place for its folder, for a moment, it is tried again, as after any death."""
    async with started(tmp_path) as bench:
        await bench.server.ready()
        with monkeypatch.context() as full:
            full.setattr(tempfile, "mkdtemp", _full_disk)
            os.kill(bench.group, signal.SIGKILL)
            assert await eventually(lambda: "could not be started: No space left" in caplog.text, within_s=10)
        await bench.server.ready()
        assert await bench.transcribe() == "1.00 s in fr"


async def test_first_start_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", _full_disk)
    async with started(tmp_path) as bench:
        with pytest.raises(EngineUnavailable, match="No space left"):
            await bench.server.ready()


def _full_disk(**_: object) -> str:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_start_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(tmp_path, Manners(start="hang")) as bench:
        bench.server._start_timeout_s = 0.5
        with pytest.raises(EngineUnavailable, match="ENGINE_START_TIMEOUT_S"):
            await bench.server.ready()


async def test_port_that_is_taken_meanwhile(tmp_path: Path) -> None:
    async with started(tmp_path, Manners(start="taken")) as bench:
        before = bench.server._port
        await bench.server.ready()
        assert bench.server.client.url.endswith(f":{before + 1}")


async def test_stranger_on_the_port_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vLLM of another worker, which took the port after we had found it free."""
    async with running_vllm(Vllm(model="voxtral", key="theirs")) as stranger:
        theirs = int(stranger.url.rpartition(":")[2])
        found = iter([theirs])
        monkeypatch.setattr(supervisor, "free_port", lambda wanted: next(found, None) or free_port(wanted))
        async with started(tmp_path) as bench:
            await bench.server.ready()
            assert bench.server.client.url != stranger.url
            assert await bench.transcribe() == "1.00 s in fr"
        assert not stranger.requests


async def test_port_that_is_always_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_vllm(Vllm(key="theirs")) as stranger:
        monkeypatch.setattr(supervisor, "free_port", lambda _: int(stranger.url.rpartition(":")[2]))
        async with started(tmp_path) as bench:
            with pytest.raises(EngineUnavailable, match="address already in use"):
                await bench.server.ready()


@pytest.mark.parametrize("command", ["nothing", "folder"])
async def test_command_that_cannot_be_started(tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    client = EngineClient("", "voxtral", None)
    launch = Launch((str(tmp_path / command), "serve"), {})
    server = VllmServer(lambda _: launch, client, port=free_port(18_000), start_timeout_s=30, freeze_timeout_s=60)
    async with vllm_server(server):
        with pytest.raises(EngineUnavailable, match="the engine cannot be started"):
            await server.ready()


async def test_keeper_that_is_killed_takes_nothing_with_it_and_leaves_nothing(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        await bench.server.ready()
        first, place = bench.members(), bench.place
        os.kill(_parent(bench.group), signal.SIGKILL)
        assert await eventually(lambda: bench.server.state is State.RESTARTING, within_s=10)
        assert await eventually(lambda: not any(alive(pid) for pid in first), within_s=10)
        await bench.server.ready()
        assert not place.exists()


@pytest.mark.parametrize("name", ["t", "a-long-name-" * 9])
async def test_sockets_have_room_whatever_the_name_of_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A path of a socket may have 107 characters, and the engine would not start."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        temporary = Path(short, name)
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        async with started(tmp_path) as bench:
            await bench.server.ready()
            assert_holds_a_socket(bench.place)
            assert (temporary in bench.place.parents) == (name == "t")


async def test_what_a_killed_worker_and_its_killed_keeper_leave_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        monkeypatch.setenv("TMPDIR", short)
        worker = await _worker(tmp_path)
        assert worker.stdout is not None
        place, *pids = (await worker.stdout.readline()).decode().split()
        [keeper] = {_parent(int(pid)) for pid in pids} - {int(pid) for pid in pids}
        for pid in (keeper, worker.pid, *map(int, pids)):
            os.kill(pid, signal.SIGKILL)
        await worker.wait()
        assert_holds_a_socket(Path(place))
        assert sweep_leftovers(short=True) == 1
        assert not Path(place).exists()


WORKER = """
import asyncio, sys
from pathlib import Path
from tests.engine.test_server import started
async def main():
    async with started(Path(sys.argv[1])) as bench:
        await bench.server.ready()
        print(bench.place, *bench.members(), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def _worker(folder: Path) -> asyncio.subprocess.Process:
    """Tells where its engine leaves what it leaves, and the numbers of the engine's processes."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(folder), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_worker_that_is_killed_leaves_no_engine(tmp_path: Path, number: signal.Signals) -> None:
    worker = await _worker(tmp_path)
    assert worker.stdout is not None
    place, *pids = (await worker.stdout.readline()).decode().split()
    members = [int(pid) for pid in pids]
    assert len(members) == 2
    assert_holds_a_socket(Path(place))
    worker.send_signal(number)
    await worker.wait()
    assert await eventually(lambda: not any(alive(pid) for pid in members), within_s=5)
    assert await eventually(lambda: not Path(place).exists(), within_s=5)


async def test_log_of_the_engine_goes_to_ours_in_measure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noisy = tmp_path / "vllm"
    noisy.write_text(f"#!{sys.executable}\nfor number in range(5000): print('line', number, 'x' * 9000)\n")
    noisy.chmod(0o755)
    server = VllmServer(
        lambda _: Launch((str(noisy),), {}),
        EngineClient("", "voxtral", None),
        port=free_port(18_000),
        start_timeout_s=30,
        freeze_timeout_s=60,
    )
    with caplog.at_level(logging.INFO, logger="voxtral_serverless.engine.vllm"):
        async with vllm_server(server):
            with pytest.raises(EngineUnavailable) as failure:
                await server.ready()
    lines = [record for record in caplog.records if record.name == "voxtral_serverless.engine.vllm"]
    assert 200 <= len(lines) <= 402  # a minute may turn in between
    assert len(failure.value.details.splitlines()) == 50
    assert "line 4999" in failure.value.details
    assert len(failure.value.details) < 50 * 2001


async def test_what_is_in_flight_is_awaited_at_the_end(tmp_path: Path) -> None:
    async with started(tmp_path) as bench:
        await bench.server.ready()
        request = asyncio.create_task(bench.transcribe())
        await asyncio.sleep(0)
    assert await request == "1.00 s in fr"


def test_watchdog() -> None:
    from voxtral_serverless.engine.watchdog import Watchdog

    dog = Watchdog(10)
    looks: list[tuple[float, int, float, bool]] = [
        (0, 0, 5, False),
        (100, 0, 5, False),  # idle for long
        (101, 1, 5, False),  # a request comes
        (111, 1, 5, False),
        (112, 1, 6, False),  # a step
        (120, 3, 6, False),
        (123, 3, 6, True),
        (124, 0, 6, False),  # nobody waits any more
        (125, 1, 6, False),
        (136, 1, 6, True),
        (138, 1, 7, False),
    ]
    assert [dog.frozen(now, waiting, steps) for now, waiting, steps, _ in looks] == [frozen for *_, frozen in looks]
