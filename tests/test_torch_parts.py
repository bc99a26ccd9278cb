"""What runs in the process that holds torch, and what is said where it cannot."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import Hosted, Hub, own_home, running_hub, write
from tests.fakes.torch_process import command
from tests.transcription.test_aligner_models import FILES, FRENCH
from voxtral_serverless.errors import EngineUnavailable, ModelUnavailable, VoxtralError
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import TorchParts, running_torch_parts
from voxtral_serverless.transcription.aligner_models import PINNED


async def parts(tmp_path: Path, *, diarizes: bool = False, **settings: Any) -> TorchParts:
    """What can be had; it has ended when it is looked at."""
    chosen = load_settings(runpod_model_cache=tmp_path / "runpod", **settings)
    async with running_torch_parts(chosen, diarizes=diarizes, aligns=True) as found:
        await found.ready()
        return found


def aligner(tmp_path: Path) -> dict[str, str]:
    return {"fr": str(write(tmp_path / "aligner", FILES))}


def python_with(tmp_path: Path, *, transformers: bool) -> str:
    """The stand-in for the process, which has transformers or not."""
    path = Path(command(tmp_path))
    path.write_text(
        f"#!/bin/sh\n[ $# = 2 ] && exit {int(not transformers)}\n" + path.read_text().removeprefix("#!/bin/sh\n")
    )
    return str(path)


async def test_nothing_is_started_for_nothing(tmp_path: Path) -> None:
    assert await parts(tmp_path) == TorchParts()
    assert await parts(tmp_path, diarization_python=sys.executable) == TorchParts()


async def test_aligner_runs_without_pyannote(tmp_path: Path) -> None:
    found = await parts(
        tmp_path, diarization_python=python_with(tmp_path, transformers=True), alignment_models=aligner(tmp_path)
    )
    assert found.diarizer is None
    assert found.aligner
    assert found.aligner.knows("fr")
    assert not found.aligner.knows("en")


async def test_aligner_that_nothing_can_run_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = aligner(tmp_path)
    with caplog.at_level(logging.WARNING):
        for python in ("no/python", python_with(tmp_path, transformers=False)):
            found = await parts(tmp_path, diarization_python=python, alignment_models=models)
            assert found == TorchParts()
    assert caplog.text.count("they are not used") == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transcription_plan": "windows"}, "ALIGNMENT_LANGUAGES=fr,en"),
        ({"alignment_languages": "xx"}, "no aligner is known for xx"),
    ],
)
async def test_aligner_that_is_asked_for_and_not_there(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(VoxtralError, match=words):
        await parts(tmp_path, **settings)


@pytest.mark.parametrize("settings", [{"transcription_plan": "windows"}, {"alignment_languages": "fr"}])
async def test_aligner_that_is_asked_for_needs_its_python(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="torch and transformers"):
        await parts(tmp_path, diarization_python="no/python", alignment_models=aligner(tmp_path), **settings)


async def test_conditions_are_told_before_an_aligner_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"me/pipeline": Hosted({"config.yaml": bytes(9)}, gated=True), FRENCH: Hosted(FILES, PINNED[FRENCH])}
    with own_home(monkeypatch, tmp_path):
        async with running_hub(Hub(models)) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            with pytest.raises(ModelUnavailable, match="gated"):
                await parts(
                    tmp_path, diarizes=True, diarization_model="me/pipeline", alignment_languages="fr",
                    diarization_python=python_with(tmp_path, transformers=True),
                )  # fmt: skip
            assert hub.downloaded() == []
