"""The image that scripts/image_test.sh has built, and one container of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.container import Container, Image, buildah
from tests.media import ROOT

ENGINES = ROOT / "tests" / "engines"


def built(variable: str) -> Image:
    if not (name := os.environ.get(variable)):
        pytest.skip("there is no image to try: make image-test builds one")
    return Image(name)


@pytest.fixture(scope="session")
def image() -> Image:
    """The image."""
    return built("VOXTRAL_TEST_IMAGE")


@pytest.fixture(scope="session")
def base() -> Image:
    """What it was built on."""
    return built("VOXTRAL_TEST_BASE")


@pytest.fixture
def container(image: Image) -> Iterator[Container]:
    """A container of the image, which nothing has run in."""
    name = buildah("from", image.name)
    yield Container(name, Path(buildah("mount", name)))
    buildah("rm", name)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be lent to a container as `/models`: the tiny Voxtral, a pyannote pipeline with toy networks, and the
    Python that finds those networks."""
    folder = tmp_path_factory.mktemp("models")
    tiny, toy = ENGINES / "tiny_voxtral", ENGINES / "toy_pyannote"
    (folder / "tiny-voxtral").mkdir()
    for name in ("params.json", "consolidated.safetensors"):
        shutil.copy(tiny / name, folder / "tiny-voxtral")
    _make(".venv-engine", tiny / "tokenizer.py", folder / "tiny-voxtral")
    _make(".venv-diarization", toy / "make.py", "ahc", "toy", folder / "toy-pipeline")
    shutil.copytree(toy, folder / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    python = folder / "python"
    python.write_text('#!/bin/sh\nPYTHONPATH=/models/toy exec /opt/voxtral-serverless/diarization/bin/python "$@"\n')
    python.chmod(0o755)
    folder.chmod(0o755)
    return folder


def _make(environment: str, *command: str | Path) -> None:
    python = ROOT / environment / "bin" / "python"
    subprocess.run(
        [python, *command], check=True, capture_output=True, env={**os.environ, "PYANNOTE_METRICS_ENABLED": "0"}
    )
