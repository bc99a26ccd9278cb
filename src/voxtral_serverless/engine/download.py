"""A model from the Hugging Face Hub: only the files that vLLM needs, into the library's cache, at one commit.

Every refusal of the Hub comes within seconds and is told with what to do about it. Leaves out: where else a model may
be (`weights`), and whether what came is a Voxtral (`checkpoint`).
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxtral_serverless.engine.checkpoint import PARAMS, TENSORS, TOKENIZER, check_names
from voxtral_serverless.errors import ModelUnavailable

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

log = logging.getLogger(__name__)

METADATA_TIMEOUT_S = 10.0
"""Longest wait for the Hub's answer about a repository or a file."""
REPORT_S = 5.0
STALE_S = 3600.0
"""A partial download that grew no longer than so long ago is a killed worker's: the library never goes on with it."""
GB = 1e9
OFFLINE_WAYS = "VOXTRAL_MODEL may also name a folder, or let RunPod cache the model (the endpoint's setting 'Model')"


@dataclass(frozen=True)
class Repository:
    """A repository at a revision, which the operator `chose` or we did."""

    name: str
    revision: str
    chosen: bool
    token: str | None


def cache_folder() -> Path:
    """Where the library caches, by its rule, read now and not when it was imported."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return expanded(os.environ[variable])
    home = os.environ.get("HF_HOME") or (os.environ.get("XDG_CACHE_HOME") or "~/.cache") + "/huggingface"
    return expanded(home) / "hub"


def expanded(path: str) -> Path:
    """The path with its `~` and its variables filled in, as the library does it."""
    # Path.expanduser() raises where there is no home.
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111


def offline() -> bool:
    """Whether the library may not use the network."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def folder_name(name: str) -> str:
    """What the library calls the folder of a repository in its cache."""
    return "models--" + name.replace("/", "--")


def download(wanted: Repository) -> Path:
    """The folder of the model, downloaded into the Hugging Face cache. Blocks.

    Raises:
        ModelUnavailable: it cannot be had.
    """
    if offline():
        raise ModelUnavailable(
            f"HF_HUB_OFFLINE is set and no whole copy of {_at(wanted)} is in a cache; unset it, or give a folder "
            "in VOXTRAL_MODEL."
        )
    hub, cache = _hub(wanted.token), cache_folder()
    repository = cache / folder_name(wanted.name)
    with _explained(wanted, f"the Hugging Face Hub cannot be reached. {OFFLINE_WAYS}"):
        commit, sizes = _listed(hub, wanted)
    with _explained(wanted, "the download broke off; a retry may help"):
        _sweep(repository / "blobs")
        _fetch(hub, wanted, cache, repository / "snapshots" / commit, sizes)
        _note(repository / "refs" / wanted.revision, commit)
    return repository / "snapshots" / commit


def _at(wanted: Repository) -> str:
    return f"{wanted.name!r} at VOXTRAL_REVISION {wanted.revision!r}" if wanted.chosen else repr(wanted.name)


def _hub(token: str | None) -> HfApi:
    # Read at import. Without it, the library's first request asks who runs it (api/agent-harnesses).
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi

    # Its warnings about retries hold signed URLs.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token or False)


def _listed(hub: HfApi, wanted: Repository) -> tuple[str, dict[str, int]]:
    """The commit of the revision, and the files wanted of it with their sizes in bytes."""
    info = hub.model_info(wanted.name, revision=wanted.revision, files_metadata=True, timeout=METADATA_TIMEOUT_S)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    check_names(sizes, wanted.name)
    return info.sha or wanted.revision, {
        name: size for name, size in sizes.items() if name in {PARAMS, TOKENIZER} or fnmatch.fnmatch(name, TENSORS)
    }


def _fetch(hub: HfApi, wanted: Repository, cache: Path, snapshot: Path, sizes: Mapping[str, int]) -> None:
    """Bring a snapshot to completion, the small files first: what is refused is refused at once."""
    missing = {name: size for name, size in sizes.items() if _size(snapshot / name) != size}
    total = sum(missing.values())
    if total > _free(cache):
        raise _no_room(wanted, total, cache)
    log.info("weights: downloading %.1f GB of %s at %s", total / GB, wanted.name, snapshot.name)
    bar = _bar(_Progress(total))
    try:
        for name in sorted(missing, key=missing.__getitem__):
            hub.hf_hub_download(
                wanted.name, name, revision=snapshot.name, cache_dir=cache, etag_timeout=METADATA_TIMEOUT_S,
                force_download=(snapshot / name).exists(), tqdm_class=bar,
            )  # fmt: skip
    except (OSError, RuntimeError) as error:
        if _is_full(error):
            raise _no_room(wanted, total, cache) from error
        raise


def _note(reference: Path, commit: str) -> None:
    """Write down which commit a branch was at, so that the next start needs no network."""
    if reference.name != commit:
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)


def _sweep(blobs: Path) -> None:
    """Delete what killed workers left of their downloads, as large as the model, and of use to nobody."""
    for partial in blobs.glob("*.*.incomplete"):
        with suppress(OSError):
            if time.time() - partial.lstat().st_mtime > STALE_S:
                partial.unlink()


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_full(error: BaseException) -> bool:
    # hf_xet tells a full disk in words only.
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)


def _no_room(wanted: Repository, needed: int, cache: Path) -> ModelUnavailable:
    return ModelUnavailable(
        f"{wanted.name!r} needs {needed / GB:.1f} GB more in the Hugging Face cache, and its disk has "
        f"{_free(cache) / GB:.1f} GB free; enlarge the container disk, or attach a volume and set HF_HOME to a folder on it."
    )


class _Progress:
    """Tells the log how far a download is: every few seconds, and every tenth of it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._told = 0
        self._told_at = time.monotonic()

    def add(self, count: float) -> None:
        """Count bytes that came, or, below zero, that have to come again."""
        self._done += int(count)
        now = time.monotonic()
        if self._done - self._told >= self._total / 10 or now - self._told_at >= REPORT_S or self._done == self._total:
            self._told, self._told_at = self._done, now
            log.info("weights: %.1f of %.1f GB", self._done / GB, self._total / GB)


def _bar(progress: _Progress) -> type[Any]:
    """The library's progress bar, which draws nothing and tells `progress`."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            progress.add(n or 0)

        # Having these two, the bar is told bytes on the disk and bytes on the wire apart.
        def update_transfer(self, n: float | None = 1) -> None:
            pass

        def set_transfer_postfix_str(self, *args: Any, **options: Any) -> None:
            pass

    return Bar


@contextmanager
def _explained(wanted: Repository, otherwise: str) -> Iterator[None]:
    """Raise what the library raises as `ModelUnavailable`; `otherwise` is told where nothing more is known."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and what its HTTP client raises: httpx or httpx2, by its version.
    failures: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, RuntimeError, ValueError)
    try:
        yield
    except failures as error:
        raise ModelUnavailable(_reason(error, wanted) or f"{wanted.name!r}: {otherwise}.") from error


def _reason(error: Exception, wanted: Repository) -> str | None:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, wanted)
    if isinstance(error, HFValidationError):
        return f"VOXTRAL_MODEL {wanted.name!r} is neither a folder nor the name of a repository (owner/name)."
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
        return "the Hugging Face cache cannot be written; set HF_HOME to a folder that can."
    return None


def _refusal(error: HfHubHTTPError, wanted: Repository) -> str:
    """What the Hub's answer means: the first that holds."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name, status = repr(wanted.name), error.response.status_code
    account = "the account of HF_TOKEN" if wanted.token else "an account, and set its token as HF_TOKEN"
    meanings = {
        f"{name} is gated: accept its conditions on https://huggingface.co/{wanted.name} with {account}.": isinstance(
            error, GatedRepoError
        ),
        f"{name} has no revision {wanted.revision!r}; see VOXTRAL_REVISION.": isinstance(error, RevisionNotFoundError),
        "the Hugging Face Hub does not accept HF_TOKEN; make a new token, or unset it.": status == 401 and wanted.token,
        f"{name} asks for a token, or is not there; set HF_TOKEN, and see VOXTRAL_MODEL.": status == 401,
        f"there is no {name} on the Hugging Face Hub, or HF_TOKEN may not see it; see VOXTRAL_MODEL.": isinstance(
            error, RepositoryNotFoundError
        ),
        f"HF_TOKEN may not read {name} (403); give it the right to.": status == 403,
        f"the Hugging Face Hub answered {status} for {name}; a retry may help. {OFFLINE_WAYS}.": True,
    }
    return next(meaning for meaning, holds in meanings.items() if holds)
