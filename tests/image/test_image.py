"""The built image as a container of it would be: with its own command, against RunPod's queue on loopback, and by HTTP.

vLLM and pyannote in it are real, on a processor; the models are tiny, and the base stands in for vLLM's image.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.fakes.runpod_queue import running_queue
from tests.image.container import Container, Image, buildah
from tests.runpod_worker.harness import running_recordings
from tests.test_child import eventually
from tests.user_readme.contract import REQUEST
from tests.user_readme.test_api import answering, own_address, posted

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

OWN = Path("opt/voxtral-serverless")
START_S = 400.0
SECRETS = re.compile(rb"\bhf_[A-Za-z0-9]{20,}|\brpa_[A-Za-z0-9]{20,}|PRIVATE KEY-----|://[^/\s\"']+:[^/\s\"']+@")
KEPT = {"tmp/voxtral-serverless-0"}
"""The empty folder in which jobs have theirs."""


def own_files(container: Container, *places: str) -> list[Path]:
    """The files in folders of the image."""
    return [file for place in places for file in (container.root / place).rglob("*") if file.is_file()]


def settings(models: Path, **more: str) -> dict[str, str]:
    """The environment of a container with the tiny models."""
    return {
        "VOXTRAL_MODEL": "/models/tiny-voxtral",
        "DIARIZATION_MODEL": "/models/toy-pipeline",
        "DIARIZATION_PYTHON": "/models/python",
        "FETCH_ALLOW_PRIVATE": "true",
        "ENGINE_START_TIMEOUT_S": str(START_S),
        **more,
    }


def found_in(container: Container) -> set[str]:
    """What lies where temporary files and sockets do."""
    places = [container.root / place for place in ("tmp", "var/tmp", "run", "dev/shm")]
    return {str(path.relative_to(container.root)) for place in places for path in place.rglob("*")}


def has(container: Container, environment: str, *libraries: str) -> set[str]:
    """Which of the libraries an environment's Python finds."""
    look = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec(n)))"
    return {*container.run(f"/{OWN}/{environment}/bin/python", "-c", look, *libraries).split()}


async def test_first_job_is_done_and_nothing_is_left(
    image: Image, container: Container, models: Path, tmp_path: Path
) -> None:
    before = found_in(container)
    (tmp_path / "call").mkdir()
    async with running_recordings(tmp_path / "call") as recordings, running_queue() as queue:
        environment = settings(models, VLLM_PORT="18750") | queue.environment()
        job = queue.put({"audio_url": f"{recordings.url}/clip/12", "language": "en", "num_speakers": 2})
        async with container.running(image.command(), environment, {models: "/models"}, tmp_path / "log") as running:
            await queue.finished(job, within_s=START_S)
            assert "VLLM::EngineCor" in running.below().values()
            status = await running.stop()
    assert status == 0, running.output[-4000:]
    turns, meta = job.output["transcriptions"], job.output["meta"]
    assert turns, job.output
    assert any(entry["text"] for entry in turns), job.output
    assert any(entry["speaker"] for entry in turns), job.output  # toy networks know tones, and hear few in speech
    assert (meta["engine"], meta["models"]["diarization"]) == ("vllm", "toy-pipeline"), meta
    assert await eventually(lambda: found_in(container) <= before | KEPT), found_in(container) - before


async def test_request_of_the_user_on_port_8000(
    image: Image, container: Container, models: Path, tmp_path: Path
) -> None:
    """`docker run … -p 8000:8000`: its HTTP API, whose port is the one that vLLM wants."""
    before = found_in(container)
    (tmp_path / "call").mkdir()
    url = f"http://{own_address()}:8000"
    async with running_recordings(tmp_path / "call") as recordings:
        job = {"input": REQUEST["input"] | {"audio_url": f"{recordings.url}/clip/12", "language": "en"}}
        environment = settings(models, VLLM_PORT="8000")
        async with container.running(image.command(), environment, {models: "/models"}, tmp_path / "log") as running:
            await answering(url, START_S)
            _, done = await posted(url, job, within_s=START_S)
            status = await running.stop()
    assert (done["status"], status) == ("COMPLETED", 0), running.output[-4000:]
    assert any(entry["text"] for entry in done["output"]["transcriptions"]), done
    assert "ANYBODY" in running.output, "it warns of what ALLOW_ANONYMOUS means"
    assert [*(container.root / "data" / "uploads").iterdir()] == []
    assert await eventually(lambda: found_in(container) <= before | KEPT), found_in(container) - before


def test_what_is_needed_is_there_and_the_rest_is_not(container: Container) -> None:
    worker, diarization = f"/{OWN}/worker/bin/python", f"/{OWN}/diarization/bin/python"
    container.run("python3", "-c", "import vllm, av, scipy.signal, soundfile, soxr, mistral_common.audio")
    container.run(diarization, "-W", "ignore", "-c", "import pyannote.audio, transformers, torch, torchaudio")
    container.run(
        worker,
        "-c",
        "import runpod, aiohttp, av, onnxruntime, botocore, voxtral_serverless.cli, voxtral_serverless.http_api.server",
    )
    unwanted = ("torch", "vllm", "pocketsphinx", "sklearn", "pytest", "pip", "hatchling")
    assert has(container, "worker", *unwanted, "runpod") == {"runpod"}


def test_torch_is_there_once(container: Container) -> None:
    assert [file for file in (container.root / OWN).rglob("torch") if (file / "version.py").is_file()] == []
    told = container.run(f"/{OWN}/diarization/bin/python", "-c", "import torch; print(torch.__file__)")
    assert told.startswith("/usr/")


def test_nothing_of_the_build_stays(container: Container) -> None:
    root = container.root
    assert [name for name in ("gcc", "cc", "g++", "clang", "make", "git") if (root / "usr/bin" / name).exists()] == []
    assert [name for name in (".cache", ".config") if (root / "root" / name).exists()] == []
    assert [*(root / "var/lib/apt/lists").iterdir()] == []
    assert not (root / "etc/pip.conf").exists() or (root / "etc/pip.conf").stat().st_size == 0
    assert [name for name in ("requirements", "source", "tests") if (root / name).exists()] == []


def test_no_secret_is_in_it(container: Container, image: Image) -> None:
    package = next(container.root.glob(f"{OWN}/worker/lib/python*/site-packages/voxtral_serverless"))
    looked_at = own_files(container, str(package.relative_to(container.root)), "root", "home", "data", "etc/pip.conf")
    assert len(looked_at) > 100
    assert [str(file) for file in looked_at if SECRETS.search(file.read_bytes())] == []
    described = buildah("inspect", "--type", "image", image.name)
    assert SECRETS.search(described.encode()) is None
    variables = dict(pair.partition("=")[::2] for pair in image.config()["Env"])
    assert [name for name in variables if re.search("TOKEN|KEY|SECRET|PASSWORD", name)] == []


def test_size_of_our_own_layers(image: Image, base: Image) -> None:
    """docs/container.md has it."""
    sizes = [sum(layer["size"] for layer in json.loads(one.manifest())["layers"]) / 1e6 for one in (base, image)]
    print(f"the base {sizes[0]:.0f} MB, the image {sizes[1]:.0f} MB")  # noqa: T201 — the figure for the page
    assert 500 < sizes[1] - sizes[0] < 1500
