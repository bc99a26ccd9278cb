"""Each variable of the contract, as it stands in the environment: its default, and what it does."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.diarization.test_models import community
from tests.engine.test_weights import MINI, model
from tests.fakes.hub import Hosted, Hub, own_home, running_hub, write
from tests.fakes.torch_process import command
from tests.fakes.vllm_server import Manners, vllm_command
from tests.media import ROOT
from tests.user_readme.contract import cells, shows
from tests.user_readme.stand import ask, example
from voxtral_serverless.diarization.models import PINNED as PIPELINES
from voxtral_serverless.engine.weights import PINNED, find_weights
from voxtral_serverless.errors import AudioTooLarge, AudioTooLong, EngineUnavailable, FetchRefused, ModelUnavailable
from voxtral_serverless.services import Services, running_services
from voxtral_serverless.settings import load_settings

SMALL = "mistralai/Voxtral-Small-24B-2507"


def shown_default(cell: str) -> Any:
    """A default as the table writes it."""
    text = cell.strip("`")
    return {"\u2013": None, "found": None, "platform's data folder": None, "false": False, "{}": {}}.get(text, text)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    for name, (default, _) in cells("Environment").items():
        expected, value = shown_default(default), getattr(settings, name.lower())
        assert value == (expected if expected is None or not isinstance(expected, str) else type(value)(expected)), name


@pytest.fixture
def hub_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


async def weights(monkeypatch: pytest.MonkeyPatch, hub: Hub, **environment: str) -> str:
    """The name of the model that is had from the Hub."""
    async with running_hub(hub):
        for name, value in ({"HF_ENDPOINT": hub.url} | environment).items():
            monkeypatch.setenv(name, value)
        return (await asyncio.to_thread(find_weights, load_settings())).name


@shows("Environment: HF_TOKEN")
@pytest.mark.usefixtures("hub_home")
async def test_hf_token(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub({MINI: Hosted(model(), private=True, commit=PINNED[MINI])}, token="hf_right")
    with pytest.raises(ModelUnavailable, match="HF_TOKEN"):
        await weights(monkeypatch, hub)
    assert await weights(monkeypatch, hub, HF_TOKEN="hf_right") == MINI


@shows("Environment: VOXTRAL_MODEL")
@pytest.mark.usefixtures("hub_home")
async def test_voxtral_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = Hub({name: Hosted(model(), commit=PINNED[name]) for name in (MINI, SMALL)})
    assert await weights(monkeypatch, hub) == MINI
    assert await weights(monkeypatch, hub, VOXTRAL_MODEL=SMALL) == SMALL
    asked, folder = len(hub.requests), write(tmp_path / "my-voxtral", model())
    assert await weights(monkeypatch, hub, VOXTRAL_MODEL=str(folder)) == "my-voxtral"
    assert len(hub.requests) == asked


@asynccontextmanager
async def holding(port: int) -> AsyncIterator[None]:
    """The port is taken: by us, or by somebody else already."""
    with socket.socket() as other:
        other.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else it counts as taken a while after its last use
        with suppress(OSError):
            other.bind(("127.0.0.1", port))
            other.listen()
        yield


@asynccontextmanager
async def own_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    """An engine and a diarizer of our own, by the variables that name them."""
    vllm_command(folder, Manners())
    environment = {
        "ENGINE": "vllm",
        "VLLM_EXECUTABLE": str(folder / "vllm"),
        "VOXTRAL_MODEL": str(write(folder / "tiny", model())),
        "DIARIZATION_PYTHON": command(folder),
        "DIARIZATION_MODEL": str(write(folder / "who", community())),
        "VLLM_PORT": "8000",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with running_services(load_settings()) as services:
        await asyncio.wait_for(services.ready(), 60)
        yield services


@shows(
    "Environment: VLLM_PORT",
    "Environment: VLLM_EXECUTABLE",
    "Environment: DIARIZATION_PYTHON",
    "Environment: DIARIZATION_MODEL",
    "Environment: ENGINE",
    "Environment: DIARIZER",
)
async def test_engine_of_our_own_moves_from_a_port_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with holding(8000), own_engine(tmp_path, monkeypatch) as services:
        assert services.engine == "vllm"
        assert services.models["transcription"] == "tiny"
        assert services.models["diarization"] == "who", "DIARIZER=auto follows the engine"
    assert "port 8000 (VLLM_PORT) is taken: the engine listens on port 80" in caplog.text


@shows("Environment: DIARIZATION_MODEL")
def test_diarization_models_are_known() -> None:
    default, meaning = cells("Environment")["DIARIZATION_MODEL"]
    for name in (default.strip("`"), meaning.split("`")[1]):
        assert name in PIPELINES


def silence(seconds: int) -> bytes:
    """A WAV file of the fewest bytes that can be: 4 kHz, 8 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 1, 4_000, 0, "NONE", ""))
        writer.writeframes(b"\x80" * 4_000 * seconds)
    return file.getvalue()


@shows("Environment: MAX_DURATION_S", "Limits: 2 h 30")
def test_longest_recording() -> None:
    with pytest.raises(AudioTooLong, match="150 minutes"):
        ask(sent=silence(9001))
    with pytest.raises(AudioTooLong):
        ask({"language": "fr"}, {"MAX_DURATION_S": "11"})
    assert ask({"language": "fr"}, {"MAX_DURATION_S": "12"}).answer["duration"] == 12.0


@shows("Environment: MAX_AUDIO_MB", "Limits: 4096 MB")
def test_largest_download() -> None:
    with pytest.raises(AudioTooLarge):
        ask(environment={"MAX_AUDIO_MB": "0.3"})
    assert load_settings().max_audio_bytes == 4_096_000_000


@shows("Limits: 4096 MB")
async def test_download_that_is_announced_as_larger_is_refused(tmp_path: Path) -> None:
    from tests.conftest import no_report
    from voxtral_serverless.audio.download import FetchLimits
    from voxtral_serverless.audio.fetch import RemoteAudio, fetch

    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 4096000001\r\n\r\nRIFF")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(announce, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        limits = FetchLimits.of(load_settings(fetch_allow_private=True))
        with pytest.raises(AudioTooLarge, match="4096"):
            await fetch(RemoteAudio(f"http://127.0.0.1:{port}/audio.wav"), tmp_path, limits, no_report)


@shows("Environment: FETCH_ALLOW_PRIVATE")
def test_private_addresses() -> None:
    with pytest.raises(FetchRefused):
        ask(environment={"FETCH_ALLOW_PRIVATE": "false"})
    assert example().origin.requests, "with true it is fetched from loopback"


@shows("Environment: ENGINE")
def test_embedded_engine_is_used_where_it_is_asked_for() -> None:
    done = ask({"language": "fr"}, {"ENGINE": "embedded"})
    assert done.answer["meta"]["engine"] == "embedded"
    assert {"embedded_engine", "language_not_supported"} <= done.codes
    assert done.vllm.requests == []


@shows(
    "Environment: ENGINE", "Environment: HOST", "Environment: ALLOW_ANONYMOUS", "Commands: docker run … -p 8000:8000"
)
def test_what_the_image_sets() -> None:
    told = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    variables = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", told, re.MULTILINE))))
    wanted = {"ENGINE": "vllm", "HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}
    assert {name: variables.get(name) for name in wanted} == wanted
    assert "PORT" not in variables, "8000, as it is"
    assert re.findall(r"^EXPOSE (.+)$", told, re.MULTILINE) == ["8000"]
    assert json.loads(re.findall(r"^CMD (.+)$", told, re.MULTILINE)[-1])[-1] == "start"


@shows("Environment: JOB_DEFAULTS")
def test_job_defaults() -> None:
    environment = {"JOB_DEFAULTS": '{"language": "fr", "num_speakers": 2}'}
    assert set(ask({}, environment).languages) == {"fr"}
    assert set(ask({"language": "en"}, environment).languages) == {"en"}


@shows("Environment: VLLM_BASE_URL", "Environment: VLLM_API_KEY")
def test_server_that_is_already_there() -> None:
    done = ask({"language": "fr"}, {"VLLM_API_KEY": "right"}, key="right")
    assert done.answer["meta"]["engine"] == "vllm"
    assert len(done.languages) == 2
    with pytest.raises(EngineUnavailable, match="VLLM_API_KEY"):
        ask({"language": "fr"}, {"VLLM_API_KEY": "wrong"}, key="right")


@shows("Environment: DIARIZER")
def test_diarizer_that_cannot_be_had_is_not_replaced() -> None:
    with pytest.raises(EngineUnavailable, match="DIARIZER"):
        ask(environment={"DIARIZER": "pyannote", "DIARIZATION_PYTHON": "no/python"})
