"""The models that an examination finds: their commits, and in which order they are asked for."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.diarization.test_models import EMBEDDING, LEGACY, LEGACY_FILES, SEGMENTATION
from tests.doctor.conftest import nvidia_smi, program
from tests.engine.test_weights import model
from tests.fakes.hub import Hosted, Hub, own_home, running_hub, write
from tests.transcription.test_aligner_models import FILES
from voxtral_serverless.diarization import models as pyannote_models
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.errors import EngineUnavailable, ModelUnavailable
from voxtral_serverless.qualify.situation import find_models, look_around, on_used_gpus
from voxtral_serverless.qualify.situation import machine as described_machine
from voxtral_serverless.settings import Settings, load_settings
from voxtral_serverless.transcription import aligner_models

VOXTRAL, FRENCH, ITALIAN = "me/voxtral", aligner_models.KNOWN["fr"], aligner_models.KNOWN["it"]
COMMITS = {VOXTRAL: "1" * 40, ITALIAN: "2" * 40, FRENCH: aligner_models.PINNED[FRENCH], **pyannote_models.PINNED}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of the programs of a machine without a GPU; its `vllm` is nothing that could be refused."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs / "vllm", "", interpreter="/bin/sh")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with own_home(monkeypatch, tmp_path):
        yield programs


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A Hub with everything, each at a commit of its own."""
    files = {VOXTRAL: model(), FRENCH: FILES, ITALIAN: FILES, **LEGACY_FILES}
    models = {name: Hosted(content, COMMITS[name], accepted=True) for name, content in files.items()}
    models[SEGMENTATION].gated = True
    async with running_hub(Hub(models, token="hf_token")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def settings(tmp_path: Path, **others: Any) -> Settings:
    usual = {
        "engine": "vllm", "voxtral_model": VOXTRAL, "hf_token": "hf_token", "alignment_languages": "it, fr",
        "runpod_model_cache": tmp_path / "runpod",
    }  # fmt: skip
    return load_settings(**usual | others)


async def test_each_model_is_told_with_its_own_commit(hub: Hub, tmp_path: Path) -> None:
    assert await find_models(settings(tmp_path)) == {
        "transcription": {"name": VOXTRAL, "revision": COMMITS[VOXTRAL]},
        "diarization": {
            "name": LEGACY,
            "revision": COMMITS[LEGACY],
            "parts": {SEGMENTATION: COMMITS[SEGMENTATION], EMBEDDING: COMMITS[EMBEDDING]},
        },
        "alignment": {
            "name": f"fr: {FRENCH}, it: {ITALIAN}",
            "revision": f"fr: {COMMITS[FRENCH]}, it: {COMMITS[ITALIAN]}",
        },
    }


async def test_the_largest_are_fetched_last(hub: Hub, tmp_path: Path) -> None:
    await find_models(settings(tmp_path))
    repositories = list(dict.fromkeys(file.rpartition("/")[0] for file in hub.downloaded()))
    assert set(repositories[:3]) == {LEGACY, SEGMENTATION, EMBEDDING}
    assert (set(repositories[3:5]), repositories[5:]) == ({FRENCH, ITALIAN}, [VOXTRAL])


async def test_conditions_are_told_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.models[SEGMENTATION].accepted = False
    with pytest.raises(ModelUnavailable, match=f"'{SEGMENTATION}' is gated"):
        await find_models(settings(tmp_path))
    assert hub.downloaded() == []


async def test_machine_that_cannot_hold_the_model_is_told_before_the_hub_is_asked(
    hub: Hub, tmp_path: Path, machine: Path
) -> None:
    nvidia_smi(machine)
    with pytest.raises(EngineUnavailable, match="of GPU memory"):
        await find_models(settings(tmp_path, voxtral_model="mistralai/Voxtral-Small-24B-2507"))
    assert hub.requests == []


async def test_folders_have_no_commit_and_what_is_elsewhere_none_that_we_know(tmp_path: Path) -> None:
    aligner = write(tmp_path / "aligner", FILES)
    elsewhere = settings(
        tmp_path, vllm_base_url="http://gpu.example", diarizer="none", alignment_models={"fr": str(aligner)},
        alignment_languages="fr",
    )  # fmt: skip
    assert await find_models(elsewhere) == {
        "transcription": {"name": VOXTRAL, "revision": None},
        "diarization": None,
        "alignment": {"name": "fr: aligner", "revision": None},
    }


async def test_card_and_price_are_those_of_the_gpus_that_the_engine_uses() -> None:
    """The small model takes one of two cards; what nvidia-smi tells of their use is of both."""
    cards = (Gpu("NVIDIA L4", 23_034, 22_000), Gpu("NVIDIA H100 80GB HBM3", 81_559, 80_000))
    alone = await look_around(load_settings(engine="embedded"))
    both = replace(alone, engine="vllm", gpus=cards, machine=described_machine(cards))
    used = await on_used_gpus(load_settings(engine="vllm"), both)
    assert (used.gpus, used.other_gpus) == (cards[:1], 1)
    assert used.machine["gpus"] == [{"name": "NVIDIA L4", "total_mib": 23_034}]
    assert used.machine["all_gpus_mib"] == 23_034 + 81_559
    assert used.machine["untold_gpu"] is None
    assert await on_used_gpus(load_settings(engine="embedded"), alone) is alone
