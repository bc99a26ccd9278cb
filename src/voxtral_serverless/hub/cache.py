"""Copies of repositories on this machine: RunPod's cached model, and the Hugging Face cache.

Promises: a copy that is damaged is passed over, and the log says so. Leaves out: what makes a copy whole, which the
caller's `read` knows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, get_args

from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub.repository import Kind, Repository
from voxtral_serverless.volume import volume_folder

log = logging.getLogger(__name__)

Model = TypeVar("Model")
Read = Callable[[Path, str], Model]
"""Makes a model of a folder and the model's name; raises `ModelUnavailable` where it is not whole."""


def cache_folder() -> Path:
    """Where the library caches what is downloaded, read now and not when it was imported."""
    return next(_caches())


def _caches() -> Iterator[Path]:
    """Where its variables say; else on RunPod's network volume, where there is one, and in the user's cache folder, where
    an image has the models that were put into it.
    """
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            yield expanded(os.environ[variable])
            return
    if home := os.environ.get("HF_HOME"):
        yield expanded(home) / "hub"
        return
    if volume := volume_folder("huggingface", "hub"):
        yield volume
    yield expanded((os.environ.get("XDG_CACHE_HOME") or "~/.cache") + "/huggingface") / "hub"


def expanded(path: str) -> Path:
    """The path with its `~` and its variables filled in, as the library does it."""
    # Path.expanduser() raises where there is no home.
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111


def is_path(model: str) -> bool:
    """Whether a model's name can only be a path."""
    return model.startswith(("/", "./", "../", "~")) or model in {".", ".."}


def named_folder(model: str) -> Path | None:
    """The folder that a setting names, whether or not it is there; None where it names a repository."""
    return expanded(model).absolute() if is_path(model) or Path(model).is_dir() else None


def offline() -> bool:
    """Whether the library may not use the network."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def folder_name(name: str, kind: Kind = "model") -> str:
    """What the library calls the folder of a repository in its cache."""
    return f"{kind}s--" + name.replace("/", "--")


def commit_of(folder: Path) -> str | None:
    """The commit of a snapshot in a cache, RunPod's or Hugging Face's; None of a folder of somebody's own."""
    repository, snapshots = folder.parts[-3:-1] if len(folder.parts) > 2 else ("", "")
    kinds = tuple(folder_name("", kind) for kind in get_args(Kind))
    return folder.name if snapshots == "snapshots" and repository.startswith(kinds) else None


def find_copy(wanted: Repository, runpod: Path, read: Read[Model]) -> Model | None:
    """What `read` makes of the first whole copy: RunPod's in `runpod`, then that in the Hugging Face cache, wherever it is."""
    return _of_runpod(wanted, runpod, read) or _of_hugging_face(wanted, read)


def _of_runpod(wanted: Repository, root: Path, read: Read[Model]) -> Model | None:
    """RunPod's copy, at whichever commit it is, unless the operator chose one."""
    revision = wanted.revision if wanted.chosen else "main"
    return _whole(_snapshot(root, wanted, revision), wanted, "RunPod's cached model", read)


def _of_hugging_face(wanted: Repository, read: Read[Model]) -> Model | None:
    """The copy in a Hugging Face cache; at another commit than the pinned one only where nothing can be downloaded."""
    place = "the copy in the Hugging Face cache"
    ways = [(wanted.revision, place)]
    if offline() and not wanted.chosen:
        ways.append(("main", f"{place}, not at the pinned commit,"))
    for revision, told in ways:
        for cache in _caches():
            if found := _whole(_snapshot(cache, wanted, revision), wanted, told, read):
                return found
    return None


def _snapshot(cache: Path, wanted: Repository, revision: str) -> Path | None:
    """The folder of a repository's revision in a cache; a single snapshot is `main` without saying so."""
    repository = _repository(cache, wanted)
    try:
        commit = (repository / "refs" / revision).read_text().strip() or revision
    except (OSError, ValueError):
        commit = revision
    found = [folder for folder in (repository / "snapshots").glob("*") if folder.is_dir()]
    named = [folder for folder in found if folder.name == commit]
    if revision == "main" and not named and len(found) == 1:
        named = found
    return named[0] if named else None


def _repository(cache: Path, wanted: Repository) -> Path:
    """The folder of a repository in a cache. RunPod may write its name in lower case."""
    exact = cache / folder_name(wanted.name, wanted.kind)
    with suppress(OSError):
        alike = (folder for folder in cache.iterdir() if folder.name.lower() == exact.name.lower())
        return exact if exact.exists() else next(alike, exact)
    return exact


def _whole(snapshot: Path | None, wanted: Repository, place: str, read: Read[Model]) -> Model | None:
    """What is in a snapshot; None where it is not whole. The log says which it is."""
    if snapshot is None:
        return None
    try:
        model = read(snapshot, wanted.name)
    except ModelUnavailable as error:
        log.warning("%s: %s is passed over: %s", wanted.family.log_name, place, error.message)
        return None
    log.info("%s: %s is used, %s at %s", wanted.family.log_name, place, wanted.name, snapshot.name)
    return model
