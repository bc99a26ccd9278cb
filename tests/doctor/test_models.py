import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.diarization.test_models import GATED, LEGACY_FILES
from tests.doctor.conftest import finding, python
from tests.engine.test_weights import MINI, model
from tests.fakes.hub import Hosted, Hub, cache, running_hub, write
from voxtral_serverless.diarization.models import PINNED
from voxtral_serverless.doctor.models import pyannote_finding
from voxtral_serverless.hub import download
from voxtral_serverless.interpreters import Python
from voxtral_serverless.transcription.aligner_models import KNOWN
from voxtral_serverless.transcription.aligner_models import PINNED as ALIGNERS

TOKEN = "hf_s3cr3ts3cr3t"
ALIGNER = {
    "config.json": b"{}", "preprocessor_config.json": b"{}", "vocab.json": b'{"a": 1}', "pytorch_model.bin": bytes(20_000),
}  # fmt: skip


@pytest.fixture(autouse=True)
def real_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "vllm")


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    models = {name: Hosted(files, commit=PINNED[name], gated=name in GATED) for name, files in LEGACY_FILES.items()}
    async with running_hub(Hub(models | {MINI: Hosted(model())}, token=TOKEN)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


async def test_gated_repositories_are_told_with_the_pages_to_accept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = await finding("Hugging Face")
    assert refused.mark == "problem"
    for name in GATED:
        assert (f"https://huggingface.co/{name}" in refused.found) == (name in LEGACY_FILES)
    assert "set its token as HF_TOKEN" in refused.found
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    not_accepted = await finding("Hugging Face")
    assert "with the account of HF_TOKEN" in not_accepted.found
    assert TOKEN not in repr(not_accepted)
    monkeypatch.setenv("HF_TOKEN", "hf_unknownunknown")
    assert "does not accept HF_TOKEN" in (await finding("Hugging Face")).found
    assert hub.downloaded() == []


async def test_hub_that_lets_us_in_downloads_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for hosted in hub.models.values():
        hosted.accepted = True
    welcome = await finding("Hugging Face")
    assert welcome.mark == "ok"
    assert MINI in welcome.found
    assert "HF_TOKEN is set" in welcome.found
    assert (await finding("downloads")).found.startswith("0.1 MB to download")
    assert not [path for path in hub.downloaded() if not path.endswith(("config.yaml", "params.json", "tekken.json"))]
    assert not Path(os.environ["HF_HOME"], "hub").exists()


async def test_no_network_is_told() -> None:
    lost = await finding("Hugging Face")
    assert lost.mark == "problem"
    assert "the Hugging Face Hub cannot be reached" in lost.found


async def test_hub_that_never_answers_holds_nothing_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "METADATA_TIMEOUT_S", 0.2)
    hub.silent = True
    assert "cannot be reached" in (await finding("Hugging Face")).found
    assert " GB free for temporary files" in (await finding("disk")).found


async def test_offline_asks_nobody(hub: Hub) -> None:
    quiet = await finding("Hugging Face", offline=True)
    assert quiet.mark == "skipped"
    assert MINI in quiet.found
    assert hub.requests == []


async def test_weights_are_found_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = await finding("weights")
    assert missing.mark == "warning"
    assert "9.3 GB" in missing.found
    cache(tmp_path / "home" / "hub", model(), name=MINI)
    assert "in the Hugging Face cache" in (await finding("weights")).found
    cache(tmp_path / "runpod", model(), name=MINI)
    assert "in RunPod's model cache" in (await finding("weights")).found
    folder = write(tmp_path / "mine", model())
    monkeypatch.setenv("VOXTRAL_MODEL", str(folder))
    mine = await finding("weights")
    assert (mine.mark, mine.details) == ("ok", (str(folder),))
    assert str(folder) not in mine.found
    (folder / "tekken.json").unlink()
    assert (await finding("weights")).found.startswith("'mine' has no tekken.json")


async def test_weights_with_no_way_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert (await finding("weights")).mark == "problem"
    assert (await finding("diarization")).mark == "problem"


async def test_damaged_copy_beside_a_whole_one_is_told(tmp_path: Path) -> None:
    cache(tmp_path / "runpod", model() | {"consolidated.safetensors": b"cut off"}, name=MINI)
    cache(tmp_path / "home" / "hub", model(), name=MINI)
    found = await finding("weights")
    assert found.mark == "warning"
    assert "RunPod's cached model is passed over" in found.remedy
    assert (await finding("model")).mark == (await finding("disk")).mark == "ok"  # told once


async def test_python_with_pyannote(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = await finding("pyannote")
    assert (missing.mark, "DIARIZATION_PYTHON" in missing.remedy) == ("problem", True)
    python(bare_machine, pyannote_audio="4.0.7", torch="2.13.0", transformers="5.1.0")
    there = await finding("pyannote")
    assert (there.mark, there.found) == ("ok", "pyannote.audio 4.0.7, torch 2.13.0, transformers 5.1.0.")
    monkeypatch.setenv("DIARIZER", "none")
    assert (await finding("pyannote")).mark == "skipped"


def test_pyannote_of_another_kind() -> None:
    def found(pyannote: str | None, torch: str | None = "2.13.0", cuda: str | None = None, *, gpu: bool = False) -> str:
        versions = {"pyannote.audio": pyannote, "torch": torch, "transformers": None}
        return pyannote_finding(Python("python", versions, {}, cuda), gpu=gpu).mark

    assert found("3.3.2") == found(None) == found("4.0.7", None) == "problem"
    assert found("4.0.7", gpu=True) == "warning"
    assert found("4.0.7", cuda="13.0", gpu=True) == found("4.0.7") == "ok"


async def test_pipeline_on_this_machine(tmp_path: Path) -> None:
    for name, files in LEGACY_FILES.items():
        cache(tmp_path / "home" / "hub", files, name=name, commit=PINNED[name])
    assert (await finding("diarization")).mark == "ok"


async def test_aligners(bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (await finding("aligners")).mark == "skipped"
    monkeypatch.setenv("TRANSCRIPTION_PLAN", "windows")
    assert (await finding("aligners")).mark == "problem"
    cache(tmp_path / "home" / "hub", ALIGNER, name=KNOWN["fr"], commit=ALIGNERS[KNOWN["fr"]])
    assert (await finding("aligners")).mark == "warning"
    python(bare_machine, torch="2.13.0", transformers="5.1.0")
    assert (await finding("aligners")).found == "words are aligned in fr."
    monkeypatch.setenv("ALIGNMENT_LANGUAGES", "fr,en")
    assert KNOWN["en"] in (await finding("aligners")).found
    monkeypatch.setenv("ALIGNMENT_LANGUAGES", "xx")
    assert (await finding("aligners")).mark == "problem"
