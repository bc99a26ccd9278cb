"""The commands of the pages for strangers run as they stand there, or are named here with what they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.diarization.test_channels import sound
from tests.fakes.origin import running_origin
from tests.http_api.service import running_service
from tests.media import CALL, ROOT
from tests.pages import PAGES, examples, scripts
from voxtral_serverless.contract import JobResult, job_fields
from voxtral_serverless.qualify.media import encode

RUN = (
    r"\.venv/bin/voxtral-serverless transcribe .*(?<! -v)",
    r"\.venv/bin/voxtral-serverless doctor",
    r"\.venv/bin/voxtral-serverless deploy .* --dry-run",
)
"""The commands that are run, in a folder that has the clone's environment and a recording."""
SERVE = "ENGINE=embedded .venv/bin/voxtral-serverless serve"
ASK = r"curl .*http://localhost:8000/.*"
"""What starts the service, and what is asked of it."""
RUN_IN_THE_CLONE = "make demo"
"""Slow: the whole call."""
NEEDS = {
    r"make test|make test-engines": "is itself a command of the tests",
    r"make demo-engine": "the real vLLM, which tests/engines starts",
    r"make engine diarization": "what make test-engines runs, and a download of gigabytes",
    r"python3 -m venv ~/vllm .*": "a download of gigabytes, and a GPU",
    r"\.venv/bin/voxtral-serverless transcribe .* -v": "Mistral's weights, and pyannote's behind their gate",
    r"docker (build|run|push) .*": "Docker; make image-test builds and runs the image without it",
    r"\.venv/bin/voxtral-serverless deploy .*(?<!--dry-run)|curl .* https://api\.runpod\.ai/.*": "an account of RunPod's",
    r"export [A-Z_]+=.*": "is run with the commands that follow it",
}
"""The commands that are not run, and what they need."""
WITHIN_S = 60
ROUTE = re.compile(r"localhost:8000(/\S+ )")
ADDRESS = "https://example.com/call.ogg"

ALL = {command: block for page in PAGES for block in scripts(page) for command in block.commands}


def is_one_of(command: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in patterns)


def call() -> np.ndarray[Any, np.dtype[np.int16]]:
    """The first words of the bundled call."""
    return sound(CALL)[0][: round(3.2 * 16_000)].astype(np.int16)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a reader has who follows the page: the clone's environment, a recording, and a job."""
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    encode(folder / "call.mp3", call(), container="mp3", codec="libmp3lame", rate=16_000)
    (folder / "examples").mkdir()
    encode(folder / "examples" / "call.ogg", call(), container="ogg", codec="libopus", rate=16_000)
    job = next(example for example in examples("README.md") if "input" in example)
    (folder / "job.json").write_text(json.dumps(job))
    return folder


async def shell(command: str, folder: Path, *, exports: tuple[str, ...] = ()) -> str:
    """What a command prints; it has to end well. A recording of ours stands for the one of the pages."""
    async with running_origin((folder / "call.mp3").read_bytes()) as origin:
        job = folder / "job.json"
        job.write_text(job.read_text().replace(ADDRESS, f"{origin.url}/ok"))
        script = "\n".join(("set -e", *exports, command.replace(ADDRESS, f"{origin.url}/ok")))
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, cwd=folder, env=surroundings(folder),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err.decode()
    return out.decode()


def surroundings(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(folder), "ENGINE": "embedded", "FETCH_ALLOW_PRIVATE": "true"}


def check(command: str, out: str, folder: Path) -> None:
    """What a command gave is what the page says that it gives."""
    if target := re.search(r"--output (\S+)", command):
        assert (folder / target[1]).read_text().startswith("1\n00:00:0")
    elif "transcribe" in command:
        answer = JobResult.model_validate(json.loads(out)).to_json()
        assert answer["transcriptions"][0]["speaker"] == "SPEAKER_00"
        assert ("summary" in answer) == ("--summary" in command or "--job" in command)
    elif "--dry-run" in command:
        assert json.loads(out)["dry_run"] is True


@pytest.mark.parametrize("command", [command for command in ALL if is_one_of(command, RUN)])
async def test_command_does_what_the_page_says(command: str, folder: Path) -> None:
    exports = tuple(line for line in ALL[command].commands if line.startswith("export "))
    check(command, await shell(command, folder, exports=exports), folder)


async def test_service_does_what_the_pages_say(folder: Path) -> None:
    """Its command is `serve` with ENGINE=embedded; the calls are made as they stand there, but for the port."""
    command = shlex.split(SERVE.partition(" ")[2])
    asked = [command for command in ALL if is_one_of(command, [ASK])]
    async with running_service(folder, command=command) as service:
        for call_of_it in asked:
            port = service.url.rpartition(":")[2]
            out = await shell(f"curl -sS {call_of_it.removeprefix('curl').replace(':8000', f':{port}')}", folder)
            answer = json.loads(out)
            assert "error" not in answer, answer
            assert ("/run " in call_of_it) == (answer.get("status") == "IN_QUEUE"), answer
    assert {"/run ", "/runsync ", "/v1/audio/transcriptions "} <= {
        found[1] for one in asked if (found := ROUTE.search(one))
    }


@pytest.mark.soak
async def test_answer_of_the_page_is_that_of_its_command(folder: Path) -> None:
    """What it shows is shown by `test_bundled_call` too."""
    out = await shell(f"cd {ROOT} && make -s -o .venv/.installed {RUN_IN_THE_CLONE.removeprefix('make')}", folder)
    answer, shown = json.loads(out), next(one for one in examples("README.md") if "transcriptions" in one)
    for name in ("task", "language", "duration", "sentiment"):
        assert answer[name] == shown[name]
    assert answer["transcriptions"][:2] == shown["transcriptions"]
    assert answer["summary"].startswith(shown["summary"].removesuffix(" …"))


@pytest.mark.parametrize("command", ALL)
def test_every_command_is_run_or_named(command: str) -> None:
    ways = [is_one_of(command, (*RUN, SERVE, ASK)), is_one_of(command, NEEDS), command == RUN_IN_THE_CLONE]
    assert ways.count(True) == 1


@pytest.mark.parametrize("pattern", [*RUN, *NEEDS])
def test_what_is_named_is_on_a_page(pattern: str) -> None:
    assert any(is_one_of(command, [pattern]) for command in ALL)


def test_what_is_run_in_the_image_is_a_command_of_its_entry() -> None:
    told = (ROOT / "Dockerfile").read_text("utf-8")
    entry = json.loads(re.findall(r"^ENTRYPOINT (.+)$", told, re.MULTILINE)[-1])
    shown = [
        command for page in (*PAGES, "docs/deployment.md") for block in scripts(page) for command in block.commands
    ]
    inside = [found[1] for command in shown if (found := re.match(r"docker run .*? voxtral-serverless (\S+)", command))]
    assert inside
    assert all(("voxtral-serverless" in entry) != (first == "voxtral-serverless") for first in inside)


def test_exports_are_of_variables_that_there_are() -> None:
    from voxtral_serverless.settings import Settings

    exported = [command for command in ALL if command.startswith("export ")]
    names = {name for command in exported for name in re.findall(r"([A-Z_]+)=", command)}
    assert names - {"RUNPOD_API_KEY"} <= {name.upper() for name in Settings.model_fields}


def test_job_of_the_page_is_the_bundled_one() -> None:
    job = next(example for example in examples("README.md") if "input" in example)
    bundled = json.loads((ROOT / "examples" / "call.json").read_text())
    assert job_fields(job) == job_fields(bundled)
