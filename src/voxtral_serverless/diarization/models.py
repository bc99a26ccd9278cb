"""Where a pyannote pipeline and its networks are: a folder, RunPod's cached model, the Hugging Face cache, or downloaded
into that.

Promises: the config that comes out names whole files on this machine, so that the process with pyannote needs neither
the network nor a token; a copy in a cache that is damaged is passed over, and the log says so. No file is unpickled
here. Leaves out: whether pyannote can load them, and the PLDA that 3.1 does not use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub.cache import commit_of, expanded, find_copy, is_path, named_folder
from voxtral_serverless.hub.download import download
from voxtral_serverless.hub.repository import Family, Origin, Repository, hub_token
from voxtral_serverless.settings import Settings

SEGMENTATION, EMBEDDING = "pyannote/segmentation-3.0", "pyannote/wespeaker-voxceleb-resnet34-LM"
PINNED = {
    "pyannote/speaker-diarization-3.1": "84fd25912480287da0247647c3d2b4853cb3ee5d",
    "pyannote/speaker-diarization-community-1": "3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
    SEGMENTATION: "e66f3d3b9eb0873085418a7b813d3b369bf160bb",
    EMBEDDING: "837717ddb9ff5507820346191109dc79c958d614",
}
"""Commits that are known to work."""
PARTS = {"pyannote/speaker-diarization-3.1": (SEGMENTATION, EMBEDDING)}
"""The repositories that a pipeline's config names, known before the Hub lets us read it."""
WAYS = "DIARIZATION_MODEL may also name a folder, and DIARIZER=none does without speakers"
PYANNOTE = Family(
    log_name="diarization",
    setting="DIARIZATION_MODEL",
    revision_setting="DIARIZATION_REVISION",
    ways=WAYS,
    refused_ways=f"{WAYS}.",
)

CONFIG, NETWORK, PLDA = "config.yaml", "pytorch_model.bin", ("xvec_transform.npz", "plda.npz")
INSIDE = "$model/"
"""Begins the place of a model in the pipeline's own folder."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
ZIP, PICKLE, LFS = b"PK\x03\x04", b"\x80", b"version "
"""How files begin: of PyTorch since 1.6 and of numpy, of PyTorch before, and those that Git LFS left out."""
VBX = "VBxClustering"
"""The clustering that needs a PLDA, and pyannote's choice where a config makes none."""


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline that is whole on this machine.

    Attributes:
        name: Of the repository; of a folder, its last path component.
        config: The content of config.yaml, plain JSON, in which every model is `{"checkpoint": absolute path, …}`.
        revision: The commit of its own repository; None of a folder of somebody's own.
        parts: Where its models are from, by their keys in the config.
    """

    name: str
    config: dict[str, Any]
    revision: str | None
    parts: Mapping[str, Origin]


@dataclass(frozen=True)
class _Part:
    """A model of a pipeline, as its config names it.

    Attributes:
        role: Its key in the config.
        repository: Whose it is; None where it comes with the pipeline.
        files: Their paths in that repository, or from the pipeline's folder.
        options: What else pyannote is told when it loads the model.
    """

    role: str
    repository: str | None
    files: tuple[Path, ...]
    options: Mapping[str, Any]

    def entry(self, folder: Path) -> dict[str, Any]:
        """What pyannote loads it by: the file of a network, the folder of a PLDA."""
        first = folder / self.files[0]
        return {"checkpoint": str(first.parent if self.role == "plda" else first), **self.options}


@dataclass(frozen=True)
class _Pipeline:
    """A pipeline whose own files are whole; its other repositories may be nowhere yet."""

    name: str
    folder: Path
    config: dict[str, Any]
    parts: tuple[_Part, ...]


def find_pipeline(settings: Settings) -> PipelineFiles:
    """The pipeline that the settings name, downloaded where it is nowhere on this machine. Blocks.

    Raises:
        ModelUnavailable: it cannot be had, is damaged, or is no pipeline.
    """
    pipeline = _found(settings)
    folders = _folders(settings, pipeline)
    entries = {part.role: part.entry(folders[part.repository]) for part in pipeline.parts}
    inside = pipeline.config["pipeline"]
    params = {key: value for key, value in inside["params"].items() if key not in {"segmentation", "embedding", "plda"}}
    return PipelineFiles(
        pipeline.name,
        pipeline.config | {"pipeline": inside | {"params": params | entries}},
        commit_of(pipeline.folder),
        {
            part.role: Origin(part.repository or pipeline.name, commit_of(folders[part.repository]))
            for part in pipeline.parts
        },
    )


def missing_repositories(settings: Settings) -> list[Repository]:
    """What has to be downloaded for the pipeline, as far as that is known before its config is; none where all is here.

    Raises:
        ModelUnavailable: the pipeline is a folder, and is damaged, or is no pipeline.
    """
    pipeline = _here(settings)
    if pipeline is None:
        return _nowhere(settings)
    return [each for each in _others(settings, pipeline) if not _copy(settings, each)]


def _found(settings: Settings) -> _Pipeline:
    if here := _here(settings):
        return here
    folder, *_ = download(_nowhere(settings))
    return _read_pipeline(folder, settings.diarization_model)


def _here(settings: Settings) -> _Pipeline | None:
    """The pipeline as it is on this machine."""
    if folder := named_folder(settings.diarization_model):
        return _read_pipeline(folder, folder.name)
    return find_copy(_own(settings), settings.runpod_model_cache, _read_pipeline)


def _nowhere(settings: Settings) -> list[Repository]:
    """What is to be downloaded of a pipeline that is not here: together, so that the conditions of all are told at once."""
    parts = [_repository(settings, part, (NETWORK,)) for part in PARTS.get(settings.diarization_model, ())]
    return [_own(settings), *(part for part in parts if not _copy(settings, part))]


def _own(settings: Settings) -> Repository:
    """The pipeline's own repository."""
    return _repository(settings, settings.diarization_model, (CONFIG, f"*{NETWORK}", "*.npz"), needed=(CONFIG,))


def _others(settings: Settings, pipeline: _Pipeline) -> list[Repository]:
    """The other repositories that a pipeline takes its models from."""
    files: dict[str, tuple[str, ...]] = {}
    for part in pipeline.parts:
        if part.repository:
            files[part.repository] = (*files.get(part.repository, ()), *map(str, part.files))
    return [_repository(settings, name, names) for name, names in files.items()]


def _folders(settings: Settings, pipeline: _Pipeline) -> dict[str | None, Path]:
    """The folders of a pipeline's parts, by repository."""
    wanted = _others(settings, pipeline)
    folders = {None: pipeline.folder} | {each.name: folder for each in wanted if (folder := _copy(settings, each))}
    missing = [each for each in wanted if each.name not in folders]
    for each, folder in zip(missing, download(missing), strict=True):
        folders[each.name] = _whole(folder, each.name, each.files)
    return folders


def _copy(settings: Settings, wanted: Repository) -> Path | None:
    return find_copy(wanted, settings.runpod_model_cache, partial(_whole, files=wanted.files))


def _repository(
    settings: Settings, name: str, files: tuple[str, ...], *, needed: tuple[str, ...] | None = None
) -> Repository:
    """A repository at its pinned commit, or, the pipeline's own, where the operator chose. All `files` are `needed`."""
    chosen = settings.diarization_revision if name == settings.diarization_model else None
    revision, check = chosen or PINNED.get(name, "main"), partial(_check_names, needed=needed or files)
    return Repository(name, revision, chosen is not None, hub_token(settings), PYANNOTE, files, check)


def _check_names(names: Collection[str], model: str, needed: Iterable[str]) -> None:
    for file in needed:
        if file not in names:
            raise ModelUnavailable(f"{model!r} has no {file}.")


def _read_pipeline(folder: Path, model: str) -> _Pipeline:
    """The pipeline in `folder`, after a look at its config and at each of its own files."""
    with _readable(model):
        if not folder.is_dir():
            raise ModelUnavailable(f"there is no folder {model!r} where DIARIZATION_MODEL says.")
        config = _read_config(folder, model)
        parts = tuple(_parts(config["pipeline"]["params"], folder, model))
    own = [file for part in parts if part.repository is None for file in part.files]
    return _Pipeline(model, _whole(folder, model, own), config, parts)


def _read_config(folder: Path, model: str) -> dict[str, Any]:
    import yaml

    if not (folder / CONFIG).is_file():
        raise ModelUnavailable(f"{model!r} has no {CONFIG}.")
    try:
        config: dict[str, Any] = yaml.safe_load((folder / CONFIG).read_bytes())
        json.dumps(config)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(CONFIG, model, "it is not YAML of plain values") from error
    match config:
        case {"pipeline": {"params": {}}}:
            return config
    raise _damaged(CONFIG, model, "it has no pipeline.params")


def _parts(params: Mapping[str, Any], folder: Path, model: str) -> Iterator[_Part]:
    """The models that a pipeline needs."""
    yield _part("segmentation", params.get("segmentation"), folder, model)
    yield _part("embedding", params.get("embedding"), folder, model)
    if params.get("clustering", VBX) == VBX:
        yield _part("plda", params.get("plda"), folder, model)


def _part(role: str, entry: Any, folder: Path, model: str) -> _Part:
    checkpoint, subfolder = _checkpoint(entry, role, model)
    inside, repository = checkpoint.startswith(INSIDE), None
    if inside or is_path(checkpoint) or (folder / checkpoint).exists():
        place = expanded(checkpoint.removeprefix(INSIDE)) / subfolder
    elif REPOSITORY.fullmatch(checkpoint):
        place, repository = Path(subfolder), checkpoint
    else:
        raise ModelUnavailable(
            f"{CONFIG} of {model!r} names a {role} that is neither here nor the name of a repository (owner/name)."
        )
    if role == "plda":
        return _Part(role, repository, tuple(place / file for file in PLDA), {})
    file = place if repository is None and (folder / place).is_file() else place / NETWORK
    # As pyannote does it: of a plain name it asks for no exact fit of the tensors.
    return _Part(role, repository, (file,), {"strict": False} if isinstance(entry, str) and not inside else {})


def _checkpoint(entry: Any, role: str, model: str) -> tuple[str, str]:
    """What an entry of a config names, and the subfolder in it."""
    match entry:
        case str():
            return entry, ""
        case {"checkpoint": str(checkpoint), **other} if other.keys() <= {"subfolder"}:
            return checkpoint, str(other.get("subfolder") or "")
    raise ModelUnavailable(
        f"{CONFIG} of {model!r} names no {role}: needed is a repository, a path, or a checkpoint with its subfolder."
    )


def _whole(folder: Path, model: str, files: Iterable[str | Path]) -> Path:
    """The folder, where each of `files` in it looks whole."""
    with _readable(model):
        for file in files:
            _check_file(folder, Path(file), model)
    return folder.absolute()


def _check_file(folder: Path, place: Path, model: str) -> None:
    file, shown = folder / place, place.name if place.is_absolute() else str(place)
    if not file.is_file():
        raise ModelUnavailable(f"{model!r} has no {shown}.")
    with file.open("rb") as source:
        start = source.read(8)
    if start == LFS:
        raise _damaged(shown, model, "it is a pointer of Git LFS, not the file itself (git lfs pull)")
    if not (start.startswith(PICKLE) and file.suffix != ".npz") and not (start.startswith(ZIP) and is_zipfile(file)):
        raise _damaged(shown, model, "it is cut off, or something else")


@contextmanager
def _readable(model: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelUnavailable(f"the files of {model!r} cannot be read ({error.strerror}).") from error


def _damaged(file: str, model: str, how: str) -> ModelUnavailable:
    return ModelUnavailable(f"{file} of {model!r} is damaged: {how}. Delete the copy and have it made again.")
