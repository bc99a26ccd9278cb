"""The command line with the real engine: it starts it, says in a sentence why it cannot, and leaves nothing behind."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.test_whole_way import ENGLISH, MOST_WRONG, right
from tests.media import CALL
from tests.test_child import eventually
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.qualify.killing import holds, of_session, processes

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

COMMAND = (sys.executable, "-m", "voxtral_serverless", "transcribe", str(CALL))


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    answer: str
    said: str

    @property
    def last_line(self) -> str:
        return self.said.splitlines()[-1]


async def command(*options: str, environment: dict[str, str]) -> Done:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    answer, said = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, answer.decode(), said.decode())


def environment(vllm: str, model: Path, **more: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ}
    return inherited | {
        "ENGINE": "vllm", "DIARIZER": "embedded", "VOXTRAL_MODEL": str(model), "VLLM_EXECUTABLE": vllm,
        "VLLM_PORT": "18700",
    } | more  # fmt: skip


async def test_wrong_key_is_one_sentence(engine: VllmServer, vllm: str, tiny: Path) -> None:
    address = environment(vllm, tiny, VLLM_BASE_URL=engine.client.url, VLLM_API_KEY="wrong")
    done = await command(environment=address)
    assert done.status == 1
    assert done.last_line == "engine_unavailable: the vLLM server refuses the key: set VLLM_API_KEY to its key."


async def test_command_line_with_an_engine_of_its_own(vllm: str, tiny: Path) -> None:
    """Starts the engine, transcribes, and leaves nothing of it behind; the port that was taken is left alone."""
    before = {process.pid for process in processes()}
    done = await command("--num-speakers", "2", environment=environment(vllm, tiny, VLLM_PORT="18500"))
    assert done.status == 0, done.said
    answer = json.loads(done.answer)
    assert right(answer, ENGLISH) >= len(ENGLISH) - MOST_WRONG
    assert answer["language"] == "en"
    assert answer["meta"]["models"]["transcription"] == "tiny-voxtral"
    assert not [process for process in processes() if process.pid not in before and "VLLM" in process.title]


def shorten(folder: Path) -> None:
    tensors = folder / "consolidated.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1000])


def reshape(folder: Path) -> None:
    """Files that are whole, and do not fit each other: only the engine can tell."""
    params = json.loads((folder / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps(params | {"hidden_dim": 512}))


@pytest.fixture
def spoilt(tiny: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


async def test_corrupt_file_is_one_sentence(vllm: str, spoilt: Path) -> None:
    shorten(spoilt)
    done = await command(environment=environment(vllm, spoilt))
    assert done.status == 1
    assert done.last_line.startswith("model_unavailable: ")
    assert str(spoilt) not in done.last_line


async def test_model_that_the_engine_refuses_is_one_sentence(vllm: str, spoilt: Path) -> None:
    reshape(spoilt)
    done = await command(environment=environment(vllm, spoilt))
    assert done.status == 1
    assert done.last_line.startswith("engine_unavailable: the engine did not start: ")
    assert str(spoilt) not in done.last_line
    assert "the engine's last words" in done.said


async def test_killed_worker_leaves_no_engine(vllm: str, tiny: Path) -> None:
    """kill -9 of the worker, as soon as its engine has a core; nothing of it is there 5 s later, and no port is held."""
    before = {process.pid for process in processes()}
    nowhere = asyncio.subprocess.DEVNULL
    worker = await asyncio.create_subprocess_exec(*COMMAND, env=environment(vllm, tiny), stdout=nowhere, stderr=nowhere)

    def cores() -> list[int]:
        return [p.session for p in processes() if p.pid not in before and p.title.startswith("VLLM::EngineCore")]

    assert await eventually(lambda: bool(cores()), within_s=200)
    session = cores()[0]
    worker.kill()
    await worker.wait()
    assert await eventually(lambda: not of_session(session), within_s=5)
    assert not holds(18_700)
