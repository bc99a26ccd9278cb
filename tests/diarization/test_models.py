import asyncio
import io
import json
import logging
import os
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub import Hosted, Hub, cache, own_home, running_hub, write
from voxtral_serverless.diarization.models import PINNED, PipelineFiles, find_pipeline
from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub.repository import Origin
from voxtral_serverless.settings import Settings, load_settings

LEGACY, COMMUNITY = "pyannote/speaker-diarization-3.1", "pyannote/speaker-diarization-community-1"
SEGMENTATION, EMBEDDING = "pyannote/segmentation-3.0", "pyannote/wespeaker-voxceleb-resnet34-LM"
GATED = (LEGACY, COMMUNITY, SEGMENTATION)
OTHER = "1" * 40
TOKEN = "hf_secret"


def zipped(size: int = 20_000) -> bytes:
    """A zip archive, as PyTorch and numpy write them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(size))
    return content.getvalue()


def config(segmentation: object, embedding: object, *, clustering: str = "VBxClustering", **plda: object) -> bytes:
    """A config.yaml. JSON is YAML too."""
    models = {"segmentation": segmentation, "embedding": embedding, **plda}
    params = {"clustering": clustering, "embedding_batch_size": 32, **models}
    pipeline = {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params}
    return json.dumps({"pipeline": pipeline, "params": {"clustering": {"threshold": 0.6}}}).encode()


CONFIG_3_1 = b"""
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: pyannote/wespeaker-voxceleb-resnet34-LM
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    segmentation: pyannote/segmentation-3.0
    segmentation_batch_size: 32
params:
  clustering: {method: centroid, min_cluster_size: 12, threshold: 0.7045654963945799}
  segmentation: {min_duration_off: 0.0}
"""
INSIDE = config("$model/segmentation", "$model/embedding", plda="$model/plda")
LEGACY_FILES = {
    LEGACY: {"config.yaml": CONFIG_3_1, "README.md": b"#"},
    SEGMENTATION: {"pytorch_model.bin": zipped(12_000), "config.yaml": b"task: {}"},
    EMBEDDING: {"pytorch_model.bin": zipped(30_000), "config.yaml": b"model: {}"},
}
COMMUNITY_FILES = {
    "config.yaml": INSIDE,
    "segmentation/pytorch_model.bin": zipped(12_000),
    "embedding/pytorch_model.bin": zipped(30_000),
    "plda/plda.npz": zipped(400),
    "plda/xvec_transform.npz": zipped(500),
}


def community(**other: bytes | None) -> dict[str, bytes]:
    """The files of community-1; `other` replaces them, None leaves one out."""
    files = COMMUNITY_FILES | other
    return {name: content for name, content in files.items() if content is not None}


def cached(root: Path, name: str, files: Mapping[str, bytes] | None = None, /, **options: str) -> Path:
    """A copy of one of pyannote's repositories, at the pinned commit where the options say nothing else."""
    own = COMMUNITY_FILES if name == COMMUNITY else LEGACY_FILES.get(name, {})
    return cache(root, files or own, **{"name": name, "commit": PINNED[name], **options})


@pytest.fixture(autouse=True)
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A Hub with pyannote's repositories, whose conditions the account of TOKEN has accepted."""
    files = LEGACY_FILES | {COMMUNITY: COMMUNITY_FILES}
    models = {name: Hosted(files[name], PINNED[name], gated=name in GATED, accepted=True) for name in files}
    async with running_hub(Hub(models, token=TOKEN)) as hub:
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
    return load_settings(runpod_model_cache=runpod, hf_token=f"{TOKEN}\n")


def changed(settings: Settings, model: str | Path = LEGACY, **fields: Any) -> Settings:
    return load_settings(**(settings.model_dump() | {"diarization_model": str(model)} | fields))


async def found(settings: Settings) -> PipelineFiles:
    return await asyncio.to_thread(find_pipeline, settings)


async def models(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the config that was found says of the pipeline's models, every one of which is there."""
    pipeline = await found(settings)
    params = json.loads(json.dumps(pipeline.config))["pipeline"]["params"]
    named = {role: params[role] for role in ("segmentation", "embedding", "plda") if role in params}
    assert all(Path(entry["checkpoint"]).is_absolute() for entry in named.values())
    assert all(Path(entry["checkpoint"]).exists() for entry in named.values())
    return named


async def refused(settings: Settings, tmp_path: Path) -> str:
    """The refusal of a pipeline, which comes soon and tells nothing of the machine."""
    start = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        await found(settings)
    assert time.monotonic() - start < 8
    for secret in (str(tmp_path), TOKEN, "Signature", "127.0.0.1"):
        assert secret not in caught.value.message
    return caught.value.message


def inside(folder: Path) -> dict[str, dict[str, str]]:
    """The models of a folder in the style of community-1."""
    return {
        "segmentation": {"checkpoint": str(folder / "segmentation" / "pytorch_model.bin")},
        "embedding": {"checkpoint": str(folder / "embedding" / "pytorch_model.bin")},
        "plda": {"checkpoint": str(folder / "plda")},
    }


def beside(segmentation: Path, embedding: Path) -> dict[str, dict[str, object]]:
    """The models of 3.1, given their folders."""
    folders = {"segmentation": segmentation, "embedding": embedding}
    return {
        role: {"checkpoint": str(folder / "pytorch_model.bin"), "strict": False} for role, folder in folders.items()
    }


# A folder. Nobody listens at the Hub.


async def test_folder_with_its_models_inside(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "my-pipeline", COMMUNITY_FILES)
    settings = changed(settings, folder)
    assert await models(settings) == inside(folder)
    pipeline = await found(settings)
    assert pipeline.name == "my-pipeline"
    expected = json.loads(INSIDE)
    expected["pipeline"]["params"] |= inside(folder)
    assert pipeline.config == expected


@pytest.mark.parametrize("name", ["pipeline", "./pipeline", "~/pipeline"])
async def test_ways_to_write_a_folder(
    name: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "pipeline", COMMUNITY_FILES)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert await models(changed(settings, name)) == inside(folder)


async def test_folder_that_names_paths(tmp_path: Path, settings: Settings) -> None:
    elsewhere = write(tmp_path / "wespeaker", {"embedding.bin": b"\x80\x02", "pytorch_model.bin": zipped()})
    own = config("networks/segmentation", str(elsewhere / "embedding.bin"), clustering="AgglomerativeClustering")
    files = {"config.yaml": own, "networks/segmentation/pytorch_model.bin": zipped()}
    folder = write(tmp_path / "m", files)
    named = await models(changed(settings, folder))
    assert named["segmentation"]["checkpoint"] == str(folder / "networks" / "segmentation" / "pytorch_model.bin")
    assert named["embedding"]["checkpoint"] == str(elsewhere / "embedding.bin")
    (folder / "config.yaml").write_bytes(
        config("./networks/segmentation", "../wespeaker", clustering="KMeansClustering")
    )
    assert (await models(changed(settings, folder)))["embedding"][
        "checkpoint"
    ] == f"{folder}/../wespeaker/pytorch_model.bin"


async def test_path_from_the_home_folder(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    network = write(tmp_path / "networks", {"pytorch_model.bin": zipped()})
    own = config("~/networks", "~/networks", clustering="KMeansClustering")
    folder = write(tmp_path / "m", {"config.yaml": own})
    assert await models(changed(settings, folder)) == beside(network, network)


async def test_folder_that_names_repositories(home: Path, runpod: Path, tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "m", {"config.yaml": CONFIG_3_1})
    segmentation, embedding = cached(runpod, SEGMENTATION), cached(home, EMBEDDING)
    assert await models(changed(settings, folder)) == beside(segmentation, embedding)


async def test_folder_that_names_parts_of_a_repository(
    hub: Hub, tmp_path: Path, home: Path, settings: Settings
) -> None:
    def part(subfolder: str) -> dict[str, str]:
        return {"checkpoint": COMMUNITY, "subfolder": subfolder}

    own = config("$model/segmentation", part("embedding"), plda=part("plda"))
    folder = write(tmp_path / "m", {"config.yaml": own, "segmentation/pytorch_model.bin": zipped()})
    named = await models(changed(settings, folder, diarization_revision="v9"))
    snapshot = home / "models--pyannote--speaker-diarization-community-1" / "snapshots" / PINNED[COMMUNITY]
    assert named == inside(snapshot) | {"segmentation": inside(folder)["segmentation"]}
    wanted = ("plda/plda.npz", "plda/xvec_transform.npz", "embedding/pytorch_model.bin")
    assert hub.downloaded() == [f"{COMMUNITY}/{file}" for file in wanted]


@pytest.mark.parametrize(
    ("other", "hint"),
    [
        ({"config.yaml": None}, "'m' has no config.yaml"),
        ({"config.yaml": b""}, "config.yaml of 'm' is damaged: it has no pipeline.params"),
        ({"config.yaml": b"- a list"}, "no pipeline.params"),
        ({"config.yaml": b"pipeline: {params: 3}"}, "no pipeline.params"),
        ({"config.yaml": b"pipeline: {params: {"}, "not YAML of plain values"),
        ({"config.yaml": b"\xff\xfe\x00"}, "not YAML"),
        ({"config.yaml": b"[" * 10_000}, "not YAML"),
        ({"config.yaml": b"pipeline: {params: {}, since: 2026-11-22}"}, "not YAML of plain values"),
        ({"config.yaml": b"pipeline: &a {params: *a}"}, "not YAML of plain values"),
        ({"config.yaml": b"pipeline: !!python/object/apply:os.abort {}"}, "not YAML of plain values"),
        ({"config.yaml": config("$model/segmentation", None)}, "names no embedding"),
        ({"config.yaml": config("$model/segmentation", "$model/embedding")}, "names no plda"),
        ({"config.yaml": INSIDE.replace(b"clustering", b"").replace(b"plda", b"")}, "names no plda"),
        ({"config.yaml": config("$model/segmentation", {"checkpoint": "a/b", "revision": "x"})}, "names no embedding"),
        ({"config.yaml": config("segment", "$model/embedding")}, "names a segmentation that is neither here nor"),
        (
            {"config.yaml": config("/secret/net.bin", "$model/embedding", plda="$model/plda")},
            "has no pytorch_model.bin",
        ),
        ({"segmentation/pytorch_model.bin": None}, "'m' has no segmentation/pytorch_model.bin"),
        ({"segmentation/pytorch_model.bin": b""}, "segmentation/pytorch_model.bin of 'm' is damaged: it is cut off"),
        ({"embedding/pytorch_model.bin": zipped()[:-30]}, "embedding/pytorch_model.bin of 'm' is damaged: it is cut"),
        ({"embedding/pytorch_model.bin": b"<html>"}, "something else"),
        ({"embedding/pytorch_model.bin": b"version https://git-lfs.github.com/spec/v1\n"}, "git lfs pull"),
        ({"plda/plda.npz": None}, "'m' has no plda/plda.npz"),
        ({"plda/xvec_transform.npz": b"\x80\x02"}, "plda/xvec_transform.npz of 'm' is damaged"),
    ],
)
async def test_folder_that_is_not_whole(
    other: dict[str, bytes | None], hint: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "m", community(**other))
    message = await refused(changed(settings, folder), tmp_path)
    assert hint in message
    assert "secret" not in message


async def test_folder_that_is_none(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        message = await refused(changed(settings, tmp_path / name), tmp_path)
        assert f"there is no folder {name!r} where DIARIZATION_MODEL says" in message


async def test_folder_that_cannot_be_read(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "m", community(**{"config.yaml": None}))
    (folder / "config.yaml").symlink_to("/proc/self/mem")
    assert "cannot be read" in await refused(changed(settings, folder), tmp_path)


# The caches. Nobody listens at the Hub.


async def test_pipeline_in_the_hugging_face_cache(home: Path, settings: Settings) -> None:
    snapshot = cached(home, COMMUNITY)
    assert await models(changed(settings, COMMUNITY)) == inside(snapshot)
    assert (await found(changed(settings, COMMUNITY))).name == COMMUNITY


async def test_pipeline_cached_by_runpod_goes_first(runpod: Path, home: Path, settings: Settings) -> None:
    cached(home, COMMUNITY)
    snapshot = cached(runpod, COMMUNITY, commit=OTHER, main=OTHER)
    assert await models(changed(settings, COMMUNITY)) == inside(snapshot)


async def test_runpod_writes_names_in_lower_case(runpod: Path, settings: Settings) -> None:
    for name in LEGACY_FILES:
        cached(runpod, name, name=name.lower())
    named = await models(settings)
    assert EMBEDDING.lower().rpartition("/")[2] in named["embedding"]["checkpoint"]


async def test_three_repositories_in_the_caches(runpod: Path, home: Path, settings: Settings) -> None:
    cached(home, LEGACY)
    segmentation, embedding = cached(home, SEGMENTATION), cached(runpod, EMBEDDING)
    pipeline = await found(settings)
    assert await models(settings) == beside(segmentation, embedding)
    assert pipeline.name == LEGACY
    assert pipeline.config["version"] == "3.1.0"
    assert pipeline.config["params"]["clustering"]["threshold"] == 0.7045654963945799
    assert "plda" not in pipeline.config["pipeline"]["params"]


async def test_each_model_tells_where_it_is_from(home: Path, runpod: Path, settings: Settings, tmp_path: Path) -> None:
    cached(home, LEGACY)
    cached(home, SEGMENTATION)
    cached(runpod, EMBEDDING, commit=OTHER, main=OTHER)
    legacy = await found(settings)
    assert legacy.revision == PINNED[LEGACY]
    networks = {"segmentation": Origin(SEGMENTATION, PINNED[SEGMENTATION]), "embedding": Origin(EMBEDDING, OTHER)}
    assert legacy.parts == networks
    cached(home, COMMUNITY)
    whole = await found(changed(settings, COMMUNITY))
    own = Origin(COMMUNITY, PINNED[COMMUNITY])
    assert (whole.revision, whole.parts) == (own.revision, dict.fromkeys(("segmentation", "embedding", "plda"), own))
    folder = write(tmp_path / "snapshots" / "mine", {"config.yaml": CONFIG_3_1})
    mine = await found(changed(settings, folder))
    assert (mine.name, mine.revision, mine.parts) == ("mine", None, networks)


async def test_relative_cache(tmp_path: Path, home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", "home")
    snapshot = cached(home, COMMUNITY)
    assert await models(changed(settings, COMMUNITY)) == inside(snapshot)


async def test_chosen_revision_is_the_pipelines_alone(runpod: Path, home: Path, settings: Settings) -> None:
    cached(runpod, LEGACY)
    files = {"config.yaml": CONFIG_3_1.replace(b"min_cluster_size: 12", b"min_cluster_size: 5")}
    cached(home, LEGACY, files, commit=OTHER)
    folders = cached(home, SEGMENTATION), cached(home, EMBEDDING)
    settings = changed(settings, diarization_revision=OTHER)
    assert (await found(settings)).config["params"]["clustering"]["min_cluster_size"] == 5
    assert await models(settings) == beside(*folders)


@pytest.mark.parametrize(
    "other",
    [
        {"config.yaml": b"<html>"},
        {"segmentation/pytorch_model.bin": b""},
        {"embedding/pytorch_model.bin": zipped()[:-1]},
        {"plda/plda.npz": None},
    ],
)
async def test_damaged_copy_is_passed_over(
    other: dict[str, bytes | None], runpod: Path, home: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cached(runpod, COMMUNITY, community(**other))
    snapshot = cached(home, COMMUNITY)
    assert await models(changed(settings, COMMUNITY)) == inside(snapshot)
    assert f"diarization: RunPod's cached model is passed over: {next(iter(other))} of" in caplog.text or (
        f"'{COMMUNITY}' has no {next(iter(other))}" in caplog.text
    )


async def test_offline_with_and_without_copies(
    hub: Hub, home: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    segmentation = cached(home, SEGMENTATION)
    message = await refused(settings, tmp_path)
    assert f"no whole copy of '{LEGACY}' and '{EMBEDDING}' is in a cache" in message
    assert "DIARIZATION_MODEL" in message
    cached(home, LEGACY, commit=OTHER, main=OTHER)
    assert f"no whole copy of '{EMBEDDING}' is in a cache" in await refused(settings, tmp_path)
    embedding = cached(home, EMBEDDING)
    assert await models(settings) == beside(segmentation, embedding)
    chosen = changed(settings, diarization_revision="v9")
    assert f"'{LEGACY}' at DIARIZATION_REVISION 'v9'" in await refused(chosen, tmp_path)
    assert hub.requests == []


# The download.


async def test_three_repositories_are_downloaded_at_their_pins(
    hub: Hub, home: Path, settings: Settings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        named = await models(settings)
    assert all(Path(entry["checkpoint"]).is_relative_to(home) for entry in named.values())
    assert hub.downloaded() == [
        f"{LEGACY}/config.yaml",
        f"{SEGMENTATION}/pytorch_model.bin",
        f"{EMBEDDING}/pytorch_model.bin",
    ]
    for name in LEGACY_FILES:
        asked = [path for _, path, _ in hub.requests if f"{name}/re" in path]
        assert asked
        assert all(PINNED[name] in path for path in asked)
    assert not any("Authorization" in headers for _, path, headers in hub.requests if path.startswith("/cdn/"))
    assert f"diarization: downloading 0.0 MB of {EMBEDDING} at" in caplog.text
    assert capfd.readouterr().err == ""

    requests = len(hub.requests)
    assert await models(settings) == named
    assert len(hub.requests) == requests


async def test_one_repository_is_downloaded_at_its_pin(hub: Hub, home: Path, settings: Settings) -> None:
    hub.models[COMMUNITY].files = COMMUNITY_FILES | {"README.md": b"#", "picture.png": bytes(20_000)}
    named = await models(changed(settings, COMMUNITY))
    snapshot = home / "models--pyannote--speaker-diarization-community-1" / "snapshots" / PINNED[COMMUNITY]
    assert named == inside(snapshot)
    assert sorted(hub.downloaded()) == sorted(f"{COMMUNITY}/{file}" for file in COMMUNITY_FILES)


@pytest.mark.parametrize(("model", "revision", "asked_for"), [(LEGACY, "v1", "v1"), ("me/mine", None, "main")])
async def test_revision_with_a_name(
    model: str, revision: str | None, asked_for: str, hub: Hub, settings: Settings
) -> None:
    hub.models[model] = hub.models[LEGACY]
    settings = changed(settings, model, diarization_revision=revision)
    named = await models(settings)
    paths = [path.partition("?")[0] for _, path, _ in hub.requests]
    assert paths[0] == f"/api/models/{model}/revision/{asked_for}"
    assert f"/api/models/{SEGMENTATION}/revision/{PINNED[SEGMENTATION]}" in paths
    assert await models(settings) == named
    assert len(hub.requests) == len(paths)


async def test_only_what_is_missing_is_downloaded(hub: Hub, home: Path, settings: Settings) -> None:
    cached(home, SEGMENTATION)
    cached(home, EMBEDDING, {"pytorch_model.bin": zipped(30_000)[:-1]})
    await models(settings)
    assert hub.downloaded() == [f"{LEGACY}/config.yaml", f"{EMBEDDING}/pytorch_model.bin"]


async def test_broken_download_goes_on(hub: Hub, home: Path, settings: Settings, tmp_path: Path) -> None:
    hub.cuts, hub.cdn_status = [1000], 503
    message = await refused(settings, tmp_path)
    assert "answered 503" in message
    assert "a retry may help" in message
    hub.cdn_status = None
    hub.requests.clear()
    await models(settings)
    assert hub.downloaded() == [f"{SEGMENTATION}/pytorch_model.bin", f"{EMBEDDING}/pytorch_model.bin"]


async def test_killed_download_is_not_taken_for_whole(hub: Hub, home: Path, settings: Settings) -> None:
    hub.held = asyncio.Event()
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from voxtral_serverless.diarization.models import *; find_pipeline(Settings())",
        env=os.environ | {"HF_TOKEN": TOKEN},
    )
    await asyncio.wait_for(hub.waiting.wait(), 60)
    worker.kill()
    await worker.wait()
    hub.held.set()
    hub.held = None
    assert list(home.rglob("*.incomplete"))
    await models(settings)


async def test_damaged_repository(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    hub.models[EMBEDDING].files = {"pytorch_model.bin": b"<html>"}
    message = await refused(settings, tmp_path)
    assert f"pytorch_model.bin of '{EMBEDDING}' is damaged" in message
    hub.models[EMBEDDING].files = {"speaker-embedding.onnx": b""}
    hub.models[LEGACY].files = {"README.md": b""}
    assert f"'{EMBEDDING}' has no pytorch_model.bin" in await refused(settings, tmp_path)


# Its refusals.


WAYS = "DIARIZATION_MODEL may also name a folder, and DIARIZER=none does without speakers."


def page(name: str) -> str:
    return f"https://huggingface.co/{name}"


async def test_every_gate_is_told_at_once(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    for name in GATED:
        hub.models[name].accepted = False
    assert await refused(settings, tmp_path) == (
        f"'{LEGACY}' and '{SEGMENTATION}' are gated: accept their conditions on {page(LEGACY)} and "
        f"{page(SEGMENTATION)} with the account of HF_TOKEN. {WAYS}"
    )
    assert await refused(changed(settings, hf_token=None), tmp_path) == (
        f"'{LEGACY}' and '{SEGMENTATION}' are gated: accept their conditions on {page(LEGACY)} and "
        f"{page(SEGMENTATION)} with an account, and set its token as HF_TOKEN. {WAYS}"
    )
    assert await refused(changed(settings, COMMUNITY), tmp_path) == (
        f"'{COMMUNITY}' is gated: accept its conditions on {page(COMMUNITY)} with the account of HF_TOKEN. {WAYS}"
    )
    assert hub.downloaded() == []


@pytest.mark.parametrize("here", [(), (LEGACY,)])
async def test_one_gate_is_left(
    here: tuple[str, ...], hub: Hub, settings: Settings, home: Path, tmp_path: Path
) -> None:
    for name in here:
        cached(home, name)
    hub.models[SEGMENTATION].accepted = False
    message = await refused(settings, tmp_path)
    assert message.startswith(f"'{SEGMENTATION}' is gated: accept its conditions on {page(SEGMENTATION)} with")
    assert LEGACY not in message
    assert hub.downloaded() == []


async def test_gates_of_what_is_here_are_no_matter(hub: Hub, settings: Settings, home: Path) -> None:
    for name in GATED:
        hub.models[name].accepted = False
    cached(home, LEGACY)
    cached(home, SEGMENTATION)
    await models(changed(settings, hf_token=None))
    assert hub.downloaded() == [f"{EMBEDDING}/pytorch_model.bin"]


async def test_token_without_the_right_to_gated_repositories(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    hub.fine_grained = True
    assert await refused(settings, tmp_path) == (
        "HF_TOKEN is a fine-grained token without the right to read gated repositories; give it that right on "
        f"{page('settings/tokens')}, and accept the conditions on {page(LEGACY)} and {page(SEGMENTATION)} with its "
        f"account. {WAYS}"
    )


async def test_wrong_token_is_told_once(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    hub.token = "hf_right"
    assert await refused(settings, tmp_path) == (
        f"the Hugging Face Hub does not accept HF_TOKEN; make a new token, or unset it. {WAYS}"
    )


@pytest.mark.parametrize(
    ("refusal", "fields", "hint"),
    [
        ({}, {"model": "no/where"}, "there is no 'no/where' on the Hugging Face Hub.*see DIARIZATION_MODEL"),
        ({}, {"model": "no/where", "hf_token": None}, "'no/where' asks for a token, or is not there"),
        ({}, {"model": "a/b/c"}, "DIARIZATION_MODEL 'a/b/c' is neither a folder nor the name of a repository"),
        ({}, {"diarization_revision": "v9"}, f"'{LEGACY}' has no revision 'v9'; see DIARIZATION_REVISION"),
        ({"file_status": 403}, {}, f"HF_TOKEN may not read '{LEGACY}'.* may not read '{EMBEDDING}'.*{WAYS}"),
        ({"status": 500}, {}, f"answered 500 for '{LEGACY}'; a retry may help. {WAYS}"),
    ],
)
async def test_hub_that_refuses(
    refusal: dict[str, Any], fields: dict[str, Any], hint: str, *, hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    for name, value in refusal.items():
        setattr(hub, name, value)
    with pytest.raises(ModelUnavailable, match=hint):
        await found(changed(settings, **fields))
    await refused(changed(settings, **fields), tmp_path)
    assert hub.downloaded() == []


async def test_gate_and_missing_revision_are_told_together(hub: Hub, settings: Settings, tmp_path: Path) -> None:
    hub.models[SEGMENTATION].accepted = False
    message = await refused(changed(settings, diarization_revision="v9"), tmp_path)
    assert f"'{SEGMENTATION}' is gated" in message
    assert f"'{LEGACY}' has no revision 'v9'" in message
    assert message.count(WAYS) == 1


async def test_no_network(settings: Settings, tmp_path: Path) -> None:
    message = await refused(settings, tmp_path)
    assert message == f"'{LEGACY}': the Hugging Face Hub cannot be reached. {WAYS}"
