import asyncio
import json
import logging
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import COMMIT, Hosted, Hub, own_home, running_hub, write
from tests.fakes.hub import cache as cache_of
from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.weights import find_weights
from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.settings import Settings, load_settings

MINI = "mistralai/Voxtral-Mini-3B-2507"
OTHER = "1" * 40
TOKEN = "hf_secret"
PARAMS = {
    "dim": 3072,
    "n_layers": 30,
    "n_heads": 32,
    "n_kv_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32768,
    "multimodal": {"whisper_model_args": {"encoder_args": {"dim": 1280}}},
}
TOKENIZER = {"config": {"version": "v7"}, "vocab": [], "audio": {"sampling_rate": 16000}}


def tensors(size: int = 20_000, fill: bytes = b"\0") -> bytes:
    """A safetensors file with one tensor of `size` bytes."""
    header = {"__metadata__": {"format": "pt"}, "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + fill * size


def model(**other: bytes | None) -> dict[str, bytes]:
    """The files of a whole model; `other` replaces them, None leaves one out."""
    files: dict[str, bytes | None] = {
        "params.json": json.dumps(PARAMS).encode(),
        "tekken.json": json.dumps(TOKENIZER).encode(),
        "consolidated.safetensors": tensors(),
    }
    return {name: content for name, content in (files | other).items() if content is not None}


def repository() -> dict[str, bytes]:
    """What else Mistral's repositories hold."""
    return model() | {
        "README.md": b"# Voxtral",
        "config.json": b"{}",
        "model-00001-of-00002.safetensors": tensors(fill=b"1"),
    }


cache = partial(cache_of, name=MINI)


@pytest.fixture(autouse=True)
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    async with running_hub(Hub({MINI: Hosted(repository())})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The Hugging Face cache."""
    return tmp_path / "home" / "hub"


@pytest.fixture
def runpod(tmp_path: Path) -> Path:
    """RunPod's cache."""
    return tmp_path / "runpod"


@pytest.fixture
def settings(runpod: Path) -> Settings:
    return load_settings(runpod_model_cache=runpod)


def changed(settings: Settings, **fields: Any) -> Settings:
    return load_settings(**(settings.model_dump() | fields))


async def found(settings: Settings) -> Weights:
    return await asyncio.to_thread(find_weights, settings)


async def refused(settings: Settings, tmp_path: Path) -> str:
    """The refusal of a model, which comes soon and tells nothing of the machine."""
    start = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        await found(settings)
    assert time.monotonic() - start < 8
    for secret in (str(tmp_path), TOKEN, "Signature", "127.0.0.1"):
        assert secret not in caught.value.message
    return caught.value.message


# A folder.


async def test_folder_and_what_is_read_of_it(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "my-voxtral", model())
    weights = await found(changed(settings, voxtral_model=str(folder)))
    assert weights == Weights(folder, "my-voxtral", len(tensors()), 30, 8, 32, 128, 32768)
    assert weights.kv_bytes_per_token == 120 * 1024


@pytest.mark.parametrize("name", ["voxtral", "./voxtral", "~/voxtral"])
async def test_ways_to_write_a_folder(
    name: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "voxtral", model())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    weights = await found(changed(settings, voxtral_model=name))
    assert weights.folder == tmp_path / "voxtral"
    assert weights.name == "voxtral"


async def test_model_without_a_length(tmp_path: Path, settings: Settings) -> None:
    params = {key: value for key, value in PARAMS.items() if key != "max_position_embeddings"}
    folder = write(tmp_path / "m", model(**{"params.json": json.dumps(params).encode()}))
    assert (await found(changed(settings, voxtral_model=str(folder)))).max_positions is None


async def test_shards(tmp_path: Path, settings: Settings) -> None:
    names = [f"consolidated-0000{i}-of-00002.safetensors" for i in (1, 2)]
    files = model(**{"consolidated.safetensors": None}, **dict.fromkeys(names, tensors(100)))
    folder = write(tmp_path / "m", files)
    settings = changed(settings, voxtral_model=str(folder))
    assert (await found(settings)).bytes == 2 * len(tensors(100))
    (folder / names[0]).unlink()
    assert f"has no {names[0]}" in await refused(settings, tmp_path)


@pytest.mark.parametrize(
    ("other", "hint"),
    [
        ({"params.json": None}, "'m' has no params.json"),
        ({"tekken.json": None}, "'m' has no tekken.json"),
        ({"consolidated.safetensors": None}, "'m' has no consolidated.safetensors"),
        ({"consolidated.safetensors": None, "model-00001-of-00002.safetensors": b""}, "Mistral's is needed"),
        ({"params.json": b"{"}, "params.json of 'm' is damaged: it is not JSON"),
        ({"params.json": b"[" * 100_000}, "not JSON"),
        ({"params.json": b"[]"}, "not a JSON object"),
        ({"tekken.json": b"\xff"}, "tekken.json of 'm' is damaged"),
        ({"params.json": b'{"n_layers": 30}'}, "not a Voxtral: its params.json"),
        ({"params.json": b'{"multimodal": {"vision_encoder": {}}}'}, "not a Voxtral: its params.json"),
        ({"tekken.json": b'{"config": {}}'}, "not a Voxtral: its tekken.json"),
        ({"params.json": json.dumps(PARAMS | {"n_layers": None}).encode()}, "no usable n_layers"),
        ({"params.json": json.dumps(PARAMS | {"head_dim": True}).encode()}, "no usable head_dim"),
        ({"params.json": json.dumps(PARAMS | {"n_kv_heads": 0}).encode()}, "no usable n_kv_heads"),
        ({"params.json": json.dumps(PARAMS | {"max_position_embeddings": "x"}).encode()}, "max_position_embeddings"),
        ({"consolidated.safetensors": tensors()[:-1]}, "is damaged: it has 20,1.. bytes of 20,1.."),
        ({"consolidated.safetensors": tensors() + b"\0"}, "is damaged: it has 20,1.. bytes of 20,1.."),
        ({"consolidated.safetensors": tensors()[:50]}, "header is cut off"),
        ({"consolidated.safetensors": b""}, "header is cut off"),
        ({"consolidated.safetensors": b"\0" * 20_000}, "is damaged"),
        ({"consolidated.safetensors": struct.pack("<Q", 2) + b"{}"}, "is damaged"),
        ({"consolidated.safetensors": struct.pack("<Q", 7) + b'{"w":1}'}, "is damaged"),
        ({"consolidated.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9"}, "git lfs"),
    ],
)
async def test_folder_that_is_not_whole(
    other: dict[str, bytes | None], hint: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "m", model(**other))
    with pytest.raises(ModelUnavailable, match=hint):
        await found(changed(settings, voxtral_model=str(folder)))
    await refused(changed(settings, voxtral_model=str(folder)), tmp_path)


async def test_folder_that_is_none(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        message = await refused(changed(settings, voxtral_model=str(tmp_path / name)), tmp_path)
        assert f"there is no folder {name!r}" in message


async def test_folder_that_cannot_be_read(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "m", model(**{"params.json": None}))
    (folder / "params.json").symlink_to("/proc/self/mem")
    assert "cannot be read" in await refused(changed(settings, voxtral_model=str(folder)), tmp_path)


# The caches. Nobody listens at the Hub.


@pytest.mark.parametrize("folder", [MINI, MINI.lower()])
async def test_model_cached_by_runpod(folder: str, runpod: Path, home: Path, settings: Settings) -> None:
    cache(home, model())
    cache(runpod, model(), name=folder, commit="2" * 40)
    snapshot = cache(runpod, model(), name=folder, commit=OTHER, main=OTHER)
    assert await found(settings) == Weights(snapshot, MINI, len(tensors()), 30, 8, 32, 128, 32768)


async def test_single_snapshot_of_runpod_needs_no_reference(runpod: Path, settings: Settings) -> None:
    snapshot = cache(runpod, model(), commit=OTHER)
    assert (await found(settings)).folder == snapshot
    cache(runpod, model(), commit="2" * 40)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        await found(settings)


async def test_chosen_revision_is_not_traded_for_runpods(runpod: Path, home: Path, settings: Settings) -> None:
    cache(runpod, model(), commit=COMMIT, main=COMMIT)
    snapshot = cache(home, model(), commit=OTHER)
    assert (await found(changed(settings, voxtral_revision=OTHER))).folder == snapshot
    snapshot = cache(runpod, model(), commit=OTHER)
    assert (await found(changed(settings, voxtral_revision=OTHER))).folder == snapshot


async def test_damaged_copy_of_runpod_is_passed_over(
    runpod: Path, home: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cache(runpod, model(**{"consolidated.safetensors": tensors()[:-1]}), main=COMMIT)
    snapshot = cache(home, model())
    assert (await found(settings)).folder == snapshot
    assert "RunPod's cached model is passed over: consolidated.safetensors" in caplog.text


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, "home/hub"),
        ({"HF_HUB_CACHE": "$HF_HOME/../a"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "{tmp}/b"}, "b"),
        ({"HF_HOME": "~/c"}, "c/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "{tmp}/d"}, "d/huggingface/hub"),
        ({"HF_HOME": ""}, ".cache/huggingface/hub"),
    ],
)
async def test_hugging_face_cache_is_where_the_library_has_it(
    environment: dict[str, str], place: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("{tmp}", str(tmp_path)))
    (tmp_path / "home").mkdir()
    snapshot = cache(tmp_path / place, model())
    assert (await found(settings)).folder.resolve() == snapshot


async def test_cache_that_the_library_filled(hub: Hub, home: Path, settings: Settings) -> None:
    from huggingface_hub import snapshot_download

    snapshot = await asyncio.to_thread(snapshot_download, MINI, cache_dir=home, endpoint=hub.url, token=False)
    asked = len(hub.requests)
    assert (await found(changed(settings, voxtral_revision="main"))).folder == Path(snapshot)
    assert len(hub.requests) == asked


async def test_another_commit_will_do_only_offline(
    home: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = cache(home, model(), commit=OTHER, main=OTHER)
    assert "cannot be reached" in await refused(settings, tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with caplog.at_level(logging.INFO):
        assert (await found(settings)).folder == snapshot
    assert f"not at the pinned commit, is used, {MINI} at {OTHER}" in caplog.text
    message = await refused(changed(settings, voxtral_revision="2" * 40), tmp_path)
    assert "HF_HUB_OFFLINE is set" in message
    assert "2" * 40 in message


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
async def test_offline_and_nowhere(
    variable: str, hub: Hub, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    assert "HF_HUB_OFFLINE is set" in await refused(settings, tmp_path)
    assert hub.requests == []


# The download.


async def test_only_what_is_needed_is_downloaded(
    hub: Hub, home: Path, settings: Settings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.token = TOKEN
    with caplog.at_level(logging.INFO):
        weights = await found(changed(settings, hf_token=f"{TOKEN}\n"))
    assert weights.name == MINI
    assert weights.folder.is_relative_to(home)
    assert {file.name for file in weights.folder.iterdir()} == set(model())
    assert hub.downloaded() == [f"{MINI}/{file}" for file in ("tekken.json", "params.json", "consolidated.safetensors")]
    assert all(COMMIT in path for _, path, _ in hub.requests if "/cdn/" not in path)
    assert not any("Authorization" in headers for _, path, headers in hub.requests if path.startswith("/cdn/"))
    assert "weights: 0.0 of 0.0 MB" in caplog.text
    assert capfd.readouterr().err == ""

    asked = len(hub.requests)
    assert await found(settings) == weights
    assert len(hub.requests) == asked


@pytest.mark.parametrize(("revision", "asked_for"), [(None, "main"), ("v1", "v1")])
async def test_revision_with_a_name(
    revision: str | None, asked_for: str, hub: Hub, home: Path, settings: Settings
) -> None:
    name = "someone/Voxtral-FP8"
    hub.models[name] = hub.models[MINI]
    cache(home, model(), name=name, commit=OTHER)
    cache(home, model(), name=name, commit="2" * 40)
    settings = changed(settings, voxtral_model=name, voxtral_revision=revision)
    weights = await found(settings)
    asked = len(hub.requests)
    assert hub.requests[0][1].partition("?")[0].endswith(f"/revision/{asked_for}")
    assert weights.folder.name == COMMIT
    assert await found(settings) == weights
    assert len(hub.requests) == asked


async def test_killed_download_is_not_taken_for_whole(
    hub: Hub, home: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.held = asyncio.Event()
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from voxtral_serverless.engine.weights import *; find_weights(Settings())",
    )
    await asyncio.wait_for(hub.waiting.wait(), 60)
    worker.kill()
    await worker.wait()
    hub.held.set()
    hub.held = None
    assert not any("agent" in path for _, path, _ in hub.requests)  # the library asked nobody who runs it
    (partial,) = home.rglob("*.incomplete")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "no whole copy" in await refused(settings, tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    os.utime(partial, (time.time() - 7200,) * 2)
    assert (await found(settings)).bytes == len(tensors())
    assert not partial.exists()


# Its refusals.


async def test_no_network(settings: Settings, tmp_path: Path) -> None:
    message = await refused(settings, tmp_path)
    assert "cannot be reached" in message
    assert "folder" in message
    assert "RunPod" in message


@pytest.mark.parametrize(
    ("refusal", "fields", "hint"),
    [
        ({"token": "hf_right", "private": True}, {}, "set HF_TOKEN"),
        ({"token": "hf_right"}, {"hf_token": TOKEN}, "does not accept HF_TOKEN"),
        ({}, {"hf_token": TOKEN}, "does not accept HF_TOKEN"),
        ({"gated": True}, {}, f"conditions on https://huggingface.co/{MINI} with an account, and set"),
        (
            {"gated": True, "token": TOKEN},
            {"hf_token": TOKEN},
            f"conditions on https://huggingface.co/{MINI} with the account of HF_TOKEN",
        ),
        ({"token": TOKEN}, {"hf_token": TOKEN, "voxtral_model": "no/where"}, "there is no 'no/where'"),
        ({}, {"voxtral_model": "no/where"}, "'no/where' asks for a token, or is not there"),
        ({}, {"voxtral_model": "a/b/c"}, "neither a folder nor the name of a repository"),
        ({}, {"voxtral_revision": "v9"}, "no revision 'v9'; see VOXTRAL_REVISION"),
        ({"status": 403}, {}, "HF_TOKEN may not read"),
        ({"file_status": 403}, {}, "HF_TOKEN may not read"),
        ({"status": 500}, {}, "answered 500 .* a retry may help"),
        ({"status": 429}, {}, "answered 429 .* a retry may help"),
        ({"files": {"model-00001-of-00001.safetensors": b""}}, {}, "Mistral's is needed"),
        ({"files": {"README.md": b""}}, {}, "has no consolidated.safetensors"),
    ],
)
async def test_hub_that_refuses(
    refusal: dict[str, Any],
    fields: dict[str, str],
    hint: str,
    *,
    hub: Hub,
    settings: Settings,
    tmp_path: Path,
) -> None:
    for name, value in refusal.items():
        setattr(hub if hasattr(hub, name) else hub.models[MINI], name, value)
    with pytest.raises(ModelUnavailable, match=hint):
        await found(changed(settings, **fields))
    await refused(changed(settings, **fields), tmp_path)
    assert not any(path.startswith("/cdn/") for _, path, _ in hub.requests)
