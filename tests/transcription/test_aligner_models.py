"""Aligners found in folders and caches, and downloaded from a Hub on loopback where a setting names them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import Hosted, Hub, cache, own_home, running_hub, write
from voxtral_serverless.errors import InvalidConfiguration, ModelUnavailable
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.aligner_models import KNOWN, PINNED, AlignerFiles, find_aligners

VOCABULARY = {"<pad>": 0, "</s>": 1, "|": 2, "a": 3, "é": 4, "'": 5}
FILES = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "vocab.json": json.dumps(VOCABULARY).encode(),
    "pytorch_model.bin": bytes(20_000),
}
FRENCH = KNOWN["fr"]


@pytest.fixture(autouse=True)
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    async with running_hub(
        Hub({FRENCH: Hosted(FILES | {"flax_model.msgpack": bytes(9)}, PINNED[FRENCH]), "own/hindi": Hosted(FILES)})
    ) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


async def found(tmp_path: Path, **settings: Any) -> dict[str, AlignerFiles]:
    chosen = load_settings(runpod_model_cache=tmp_path / "runpod", **settings)
    return await asyncio.to_thread(find_aligners, chosen)


async def test_nothing_is_downloaded_unasked(hub: Hub, tmp_path: Path) -> None:
    assert await found(tmp_path) == {}
    assert hub.requests == []


@pytest.mark.parametrize("place", ["home/hub", "runpod"])
async def test_copy_on_this_machine_is_used(place: str, tmp_path: Path) -> None:
    cache(tmp_path / place, FILES, name=FRENCH, commit=PINNED[FRENCH])
    aligners = await found(tmp_path)
    assert aligners.keys() == {"fr"}
    assert aligners["fr"].name == FRENCH
    assert aligners["fr"].alphabet == {"a", "é", "'"}
    assert aligners["fr"].revision == PINNED[FRENCH]
    assert (aligners["fr"].folder / "vocab.json").is_file()


async def test_copy_of_what_has_no_pinned_commit_is_used(tmp_path: Path) -> None:
    cache(tmp_path / "home" / "hub", FILES, name=KNOWN["it"])
    assert (await found(tmp_path)).keys() == {"it"}


async def test_languages_that_are_asked_for_are_downloaded(hub: Hub, tmp_path: Path) -> None:
    aligners = await found(tmp_path, alignment_languages="fr, hi", alignment_models={"hi": "own/hindi"})
    assert aligners.keys() == {"fr", "hi"}
    assert sorted(file.name for file in aligners["fr"].folder.iterdir()) == sorted(FILES)


async def test_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {**FILES, "model.safetensors": bytes(20_000)})
    assert (await found(tmp_path, alignment_models={"fr": str(folder)}))["fr"] == AlignerFiles(
        "mine", folder, frozenset("aé'"), None
    )


async def test_repository_without_the_weights_that_are_downloaded(hub: Hub, tmp_path: Path) -> None:
    hub.models["own/other"] = Hosted({name: FILES[name] for name in FILES if name != "pytorch_model.bin"})
    with pytest.raises(ModelUnavailable, match=r"'own/other' has no pytorch_model\.bin"):
        await found(tmp_path, alignment_models={"hi": "own/other"})


async def test_languages_may_be_written_otherwise(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", FILES)
    assert (await found(tmp_path, alignment_models={"FR-fr": str(folder)})).keys() == {"fr"}


async def test_language_for_which_none_is_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="no aligner is known for xx; known are en, fr"):
        await found(tmp_path, alignment_languages="fr,xx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocab.json": None}, "has no vocab.json"),
        ({"vocab.json": b"[1]"}, "vocab.json of 'mine' is damaged"),
        ({"vocab.json": b"{"}, "vocab.json of 'mine' is damaged"),
        ({"vocab.json": b'{"eng": {"a": 1}}'}, "vocab.json of 'mine' has no letters"),
        ({"vocab.json": b'{"a": {"b": 1}}'}, "vocab.json of 'mine' is damaged"),
        ({"pytorch_model.bin": None}, "has no weights"),
        ({"pytorch_model.bin": b"version https://git-lfs"}, "pointer of Git LFS"),
    ],
)
async def test_folder_that_is_not_whole(change: Mapping[str, bytes | None], words: str, tmp_path: Path) -> None:
    files = {name: content for name, content in {**FILES, **change}.items() if content is not None}
    folder = write(tmp_path / "mine", files)
    with pytest.raises(ModelUnavailable, match=words) as refusal:
        await found(tmp_path, alignment_models={"fr": str(folder)})
    assert str(tmp_path) not in str(refusal.value)


async def test_damaged_copy_is_passed_over(tmp_path: Path) -> None:
    cache(tmp_path / "home" / "hub", FILES | {"vocab.json": b"{"}, name=FRENCH)
    assert await found(tmp_path) == {}


async def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        await found(tmp_path, alignment_models={"fr": str(tmp_path / "nothing")})
