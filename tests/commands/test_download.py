"""The command as it is run, against a Hub on loopback."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.diarization.test_models import EMBEDDING, LEGACY, LEGACY_FILES, SEGMENTATION, TOKEN
from tests.engine.test_weights import MINI, model
from tests.fakes.hub import COMMIT, Hosted, Hub, running_hub
from tests.transcription.test_aligner_models import FILES, FRENCH
from voxtral_serverless.diarization.models import PINNED
from voxtral_serverless.transcription.aligner_models import PINNED as ALIGNERS

GATED = {LEGACY, SEGMENTATION}


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A Hub with all the models that are needed, whose conditions the account of TOKEN has accepted."""
    pyannote = {
        name: Hosted(files, PINNED[name], gated=name in GATED, accepted=True) for name, files in LEGACY_FILES.items()
    }
    async with running_hub(
        Hub(pyannote | {MINI: Hosted(model()), FRENCH: Hosted(FILES, ALIGNERS[FRENCH])}, token=TOKEN)
    ) as running:
        yield running


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


async def download(hub: Hub, tmp_path: Path, **settings: str) -> Done:
    """Run it, with nothing of this machine's but the PATH."""
    own = {"PATH": os.environ["PATH"], "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voxtral_serverless", "download", env=own | settings, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def test_all_models_are_brought_and_told(hub: Hub, tmp_path: Path) -> None:
    done = await download(hub, tmp_path, ALIGNMENT_LANGUAGES="fr")
    assert done.status == 0, done.err
    assert [line[:2] for line in done.lines] == [
        ["diarization (segmentation)", LEGACY],
        ["diarization (embedding)", LEGACY],
        ["alignment (fr)", FRENCH],
        ["transcription", MINI],
    ]
    snapshots = tmp_path / "hub"
    assert [Path(line[2]) for line in done.lines] == [
        snapshots / f"models--{name.replace('/', '--')}" / "snapshots" / commit
        for name, commit in [
            (SEGMENTATION, PINNED[SEGMENTATION]), (EMBEDDING, PINNED[EMBEDDING]), (FRENCH, ALIGNERS[FRENCH]), (MINI, COMMIT),
        ]
    ]  # fmt: skip
    assert sorted(file.name for file in Path(done.lines[-1][2]).iterdir()) == sorted(model())
    assert TOKEN not in done.out + done.err


async def test_what_is_here_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    first = await download(hub, tmp_path)
    asked = len(hub.requests)
    second = await download(hub, tmp_path)
    assert (second.status, second.out, len(hub.requests)) == (0, first.out, asked)


async def test_refusal_comes_before_the_gigabytes(hub: Hub, tmp_path: Path) -> None:
    hub.models[SEGMENTATION].accepted = False
    done = await download(hub, tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "model_unavailable" in done.err
    assert SEGMENTATION in done.err
    assert hub.downloaded() == []


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"DIARIZER": "none"}, {"transcription"}),
        ({"DIARIZER": "embedded"}, {"transcription"}),
        ({"ENGINE": "embedded"}, set()),
        ({"VLLM_BASE_URL": "http://127.0.0.1:9"}, {"diarization (segmentation)", "diarization (embedding)"}),
    ],
)
async def test_what_the_settings_do_not_need_is_not_brought(
    settings: dict[str, str], wanted: set[str], hub: Hub, tmp_path: Path
) -> None:
    done = await download(hub, tmp_path, **settings)
    assert (done.status, {line[0] for line in done.lines}) == (0, wanted)
