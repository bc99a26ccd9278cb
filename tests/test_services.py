import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.diarization.test_models import community
from tests.engine.test_weights import model
from tests.fakes.hub import Hub, own_home, running_hub, write
from tests.fakes.torch_process import command
from tests.fakes.vllm_server import Manners, Vllm, running_vllm, vllm_command
from tests.test_child import alive, eventually
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.pyannote import PyannoteDiarizer
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration, ModelUnavailable
from voxtral_serverless.services import embedded_services, running_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import find_python
from voxtral_serverless.transcription.plan import Utterance


@pytest.fixture(autouse=True)
def no_engine_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No vLLM and no GPU of the machine is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "ours"))


async def refused(**settings: Any) -> str:
    """Why `settings` get no services."""
    with pytest.raises((EngineUnavailable, ModelUnavailable, InvalidConfiguration)) as refusal:
        async with running_services(load_settings(**settings)) as services:
            await services.ready()
    return str(refusal.value)


async def test_embedded_engine_names_itself() -> None:
    async with running_services(load_settings(engine="embedded")) as services:
        await services.ready()
    assert services.engine == "embedded"
    assert set(services.models) == {"transcription", "diarization", "analysis"}
    assert [notice.code for notice in services.notices] == ["embedded_engine"]


async def test_embedded_engine_is_taken_where_it_is_asked_for() -> None:
    settings = load_settings(engine="embedded", vllm_base_url="http://127.0.0.1:1")
    async with running_services(settings) as services:
        assert services.engine == "embedded"


async def test_auto_falls_back_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with running_services(load_settings(engine="auto")) as services:
            assert services.engine == "embedded"
    assert "self-test engine" in caplog.text


async def test_worker_does_not_fall_back() -> None:
    with pytest.raises(EngineUnavailable, match="ENGINE=embedded"):
        async with running_services(load_settings(engine="auto"), may_fall_back=False):
            pass


async def test_auto_takes_a_vllm_with_a_gpu(tmp_path: Path) -> None:
    vllm_command(tmp_path, Manners())
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!{sys.executable}\nprint('0, GPU-1, NVIDIA L4, 23034, 12000')\n")
    smi.chmod(0o755)
    message = await refused(engine="auto", diarizer="none", voxtral_model="mistralai/Voxtral-Small-24B-2507")
    assert "this machine has 22 GB, of which 12 are free" in message


@pytest.mark.parametrize("settings", [{"engine": "vllm"}, {"engine": "embedded", "diarizer": "pyannote"}])
async def test_pyannote_that_is_not_there_is_never_replaced_in_silence(settings: dict[str, Any]) -> None:
    assert "DIARIZER=embedded" in await refused(**settings)
    assert "'no/python' (DIARIZATION_PYTHON)" in await refused(diarization_python="no/python", **settings)


async def test_pyannote_starts_beside_the_engine(tmp_path: Path) -> None:
    vllm_command(tmp_path, Manners())
    settings = load_settings(
        engine="vllm",
        voxtral_model=str(write(tmp_path / "tiny", model())),
        diarization_python=command(tmp_path),
        diarization_model=str(write(tmp_path / "who", community())),
    )
    async with running_services(settings) as services:
        await asyncio.wait_for(services.ready(), 30)
        assert isinstance(services.diarizer, PyannoteDiarizer)
        assert services.models["diarization"] == "who"
        pid = services.diarizer.process.pid
    assert not alive(pid or 0)


async def test_pyannotes_models_are_looked_at_at_the_start(tmp_path: Path) -> None:
    places = {"diarization_python": command(tmp_path), "diarization_model": str(tmp_path / "nothing")}
    message = await refused(engine="embedded", diarizer="pyannote", **places)
    assert message.startswith("model_unavailable: ")


def test_python_with_pyannote_is_found(tmp_path: Path) -> None:
    assert find_python(None) is None
    beside = tmp_path / ".venv-diarization" / "bin"
    beside.mkdir(parents=True)
    (beside / "python").symlink_to(sys.executable)
    assert find_python(None) == str(beside / "python")
    assert find_python(str(beside / "python")) == str(beside / "python")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "engine_unavailable: the command `vllm` is not found: install vLLM, or set VLLM_EXECUTABLE to it."),
        ({"vllm_executable": "no/vllm"}, "the command 'no/vllm' (VLLM_EXECUTABLE) is not found"),
        ({"vllm_base_url": "10.0.0.1:8000"}, "VLLM_BASE_URL is not an http(s) URL"),
    ],
)
async def test_engine_that_cannot_be_had(settings: dict[str, Any], words: str) -> None:
    assert words in await refused(engine="vllm", diarizer="none", **settings)


async def test_weights_are_looked_at_before_the_start(tmp_path: Path) -> None:
    vllm_command(tmp_path, Manners())
    message = await refused(engine="vllm", diarizer="none", voxtral_model=str(tmp_path / "nothing"))
    assert message.startswith("model_unavailable: ")


async def test_own_engine_lives_as_long_as_the_block(tmp_path: Path) -> None:
    vllm_command(tmp_path, Manners())
    folder = write(tmp_path / "tiny", model())
    settings = load_settings(engine="vllm", diarizer="embedded", voxtral_model=str(folder))
    async with running_services(settings) as services:
        await asyncio.wait_for(services.ready(), 30)
        assert services.models["transcription"] == "tiny"
        assert not services.notices
    with pytest.raises(EngineUnavailable):
        await services.analyst.read([Utterance(Span(0, 1), "A", "Hello.")], "en")


async def test_engine_starts_while_pyannote_is_still_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes a minute; what is refused in the meantime ends it."""
    vllm_command(tmp_path, Manners())
    settings = {
        "engine": "vllm", "voxtral_model": str(write(tmp_path / "tiny", model())), "diarizer": "pyannote",
        "diarization_python": sys.executable, "diarization_model": "acme/pyannote",
    }  # fmt: skip
    with own_home(monkeypatch, tmp_path), caplog.at_level(logging.INFO, logger="voxtral_serverless.engine.vllm"):
        async with running_hub(Hub({}, silent=True)) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            refusal = asyncio.create_task(refused(**settings))
            assert await eventually(lambda: "INFO: serving" in caplog.messages, within_s=20)
            assert not refusal.done()
        message = await asyncio.wait_for(refusal, 30)  # the Hub is gone
    assert message.startswith("model_unavailable: 'acme/pyannote'")


async def test_external_engine_is_asked_at_once() -> None:
    async with running_vllm(Vllm(model="voxtral", key="right")) as vllm:
        settings = {"engine": "auto", "diarizer": "none", "vllm_base_url": f"{vllm.url}/v1/"}
        assert "VLLM_API_KEY" in await refused(vllm_api_key="wrong", **settings)
        async with running_services(load_settings(vllm_api_key="right", **settings)) as services:
            assert services.engine == "vllm"
            assert services.models["analysis"] == "voxtral"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(EngineUnavailable, match=r"voxtral-serverless\[embedded\]"):
        embedded_services(load_settings(engine="embedded"))
