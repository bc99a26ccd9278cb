"""Repositories of the Hugging Face Hub: only the files that are wanted, into the library's cache, at one commit.

Nothing is downloaded before the Hub has let us in everywhere, and every refusal comes within seconds, told with what to
do about it. Leaves out: where else a model may be (`cache`), and whether what came is whole.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub.cache import cache_folder, folder_name, offline
from voxtral_serverless.hub.refusals import Refusals, explained
from voxtral_serverless.hub.repository import Repository, listed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

METADATA_TIMEOUT_S = 10.0
"""Longest wait for the Hub's answer about a repository or a file."""
REPORT_S = 5.0
STALE_S = 3600.0
"""A partial download that grew no longer than so long ago is a killed worker's: the library never goes on with it."""
GB, MB = 1e9, 1e6


@dataclass(frozen=True)
class _Plan:
    """What is to come: the files of a commit that its snapshot lacks, with their sizes in bytes."""

    wanted: Repository
    hub: HfApi
    snapshot: Path
    missing: Mapping[str, int]

    @property
    def files(self) -> list[str]:
        """The small files first: what is refused is refused at once."""
        return sorted(self.missing, key=self.missing.__getitem__)


def download(wanted: Sequence[Repository]) -> list[Path]:
    """The folders of repositories of one family, downloaded into the Hugging Face cache. Blocks.

    Raises:
        ModelUnavailable: they cannot be had; what the Hub refuses of any of them is told at once.
    """
    if wanted and offline():
        raise _not_here(wanted)
    plans = _planned(wanted)
    for plan in plans:
        with explained(plan.wanted, "the download broke off; a retry may help"):
            _carry_out(plan)
    return [plan.snapshot for plan in plans]


def missing_bytes(wanted: Sequence[Repository]) -> int:
    """What `download` would bring, in bytes, once the Hub has let us in everywhere. Blocks; downloads nothing.

    Raises:
        ModelUnavailable: they cannot be had; what the Hub refuses of any of them is told at once.
    """
    if wanted and offline():
        raise _not_here(wanted)
    return sum(sum(plan.missing.values()) for plan in _planned(wanted))


def _not_here(wanted: Sequence[Repository]) -> ModelUnavailable:
    family = wanted[0].family
    names = listed(
        [f"{each.name!r} at {family.revision_setting} {each.revision!r}" if each.chosen else repr(each.name) for each in wanted]
    )  # fmt: skip
    return ModelUnavailable(
        f"HF_HUB_OFFLINE is set and no whole copy of {names} is in a cache; unset it, or give a folder "
        f"in {family.setting}."
    )


def _planned(wanted: Iterable[Repository]) -> list[_Plan]:
    plans, refusals = [], Refusals()
    for each in wanted:
        with explained(each, f"the Hugging Face Hub cannot be reached. {each.family.ways}"), refusals.of(each):
            plans.append(_plan(_hub(each.token), each))
    refusals.tell()
    return plans


def _hub(token: str | None) -> HfApi:
    # Read at import. Without it, the library's first request asks who runs it (api/agent-harnesses).
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi

    # Its warnings about retries hold signed URLs.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token or False)


def _plan(hub: HfApi, wanted: Repository) -> _Plan:
    """What is to come of a repository, after a look whether the Hub gives it to us."""
    commit, sizes = _listed(hub, wanted)
    snapshot = cache_folder() / folder_name(wanted.name, wanted.kind) / "snapshots" / commit
    missing = {name: size for name, size in sizes.items() if _size(snapshot / name) != size}
    plan = _Plan(wanted, hub, snapshot, missing)
    if plan.files:
        _ask(hub, wanted, commit, plan.files[0])
    return plan


def _listed(hub: HfApi, wanted: Repository) -> tuple[str, dict[str, int]]:
    """The commit of the revision, and the files wanted of it with their sizes in bytes."""
    describe = hub.dataset_info if wanted.kind == "dataset" else hub.model_info
    info = describe(wanted.name, revision=wanted.revision, files_metadata=True, timeout=METADATA_TIMEOUT_S)
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    wanted.check(sizes, wanted.name)
    return info.sha or wanted.revision, {
        name: size for name, size in sizes.items() if any(fnmatch.fnmatchcase(name, file) for file in wanted.files)
    }


def _ask(hub: HfApi, wanted: Repository, commit: str, file: str) -> None:
    """Ask for a file without its content: a gated repository is described to everybody, and guards its files only."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(wanted.name, file, repo_type=wanted.kind, revision=commit, endpoint=hub.endpoint)
    hub.get_hf_file_metadata(url=url, timeout=METADATA_TIMEOUT_S)


def _carry_out(plan: _Plan) -> None:
    """Bring a snapshot to completion, and write down at which commit its revision is."""
    repository = plan.snapshot.parent.parent
    _sweep(repository / "blobs")
    if plan.missing:
        _fetch(plan, repository.parent)
    _note(repository / "refs" / plan.wanted.revision, plan.snapshot.name)


def _fetch(plan: _Plan, cache: Path) -> None:
    wanted, total = plan.wanted, sum(plan.missing.values())
    if total > free_bytes(cache):
        raise _no_room(wanted, total, cache)
    log.info("%s: downloading %s of %s at %s", wanted.family.log_name, _amount(total), wanted.name, plan.snapshot.name)
    bar = _bar(_Progress(wanted.family.log_name, total))
    try:
        for name in plan.files:
            plan.hub.hf_hub_download(
                wanted.name, name, repo_type=wanted.kind, revision=plan.snapshot.name, cache_dir=cache,
                etag_timeout=METADATA_TIMEOUT_S,
                force_download=_makes_way(plan.snapshot / name, plan.missing.get(name)), tqdm_class=bar,
            )  # fmt: skip
    except (OSError, RuntimeError) as error:
        if _is_full(error):
            raise _no_room(wanted, total, cache) from error
        raise


def _makes_way(file: Path, size: int | None) -> bool:
    """Whether a file is there that has to be fetched again; another worker may have brought it meanwhile. The library
    replaces what a link leads to, a file never.
    """
    damaged = _size(file) not in (None, size)
    if damaged and not file.is_symlink():
        file.unlink()
    return damaged


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


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_full(error: BaseException) -> bool:
    # hf_xet tells a full disk in words only.
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(error)


def _no_room(wanted: Repository, needed: int, cache: Path) -> ModelUnavailable:
    return ModelUnavailable(
        f"{wanted.name!r} needs {_amount(needed)} more in the Hugging Face cache, and its disk has "
        f"{_amount(free_bytes(cache))} free; enlarge that disk, or set HF_HOME to a folder on a larger one."
    )


def _amount(*sizes: float) -> str:
    """Bytes, some of all, as they are told: in GB, or in MB where all are few."""
    unit, name = (GB, "GB") if sizes[-1] >= GB / 10 else (MB, "MB")
    return f"{' of '.join(f'{size / unit:.1f}' for size in sizes)} {name}"


class _Progress:
    """Tells the log how far a download is: every few seconds, and every tenth of it."""

    def __init__(self, log_name: str, total: int) -> None:
        self._log_name = log_name
        self._total = total
        self._done = self._told = 0
        self._told_at = time.monotonic()

    def add(self, count: float) -> None:
        """Count bytes that came, or, below zero, that have to come again."""
        self._done += int(count)
        now = time.monotonic()
        if self._done - self._told >= self._total / 10 or now - self._told_at >= REPORT_S or self._done == self._total:
            self._told, self._told_at = self._done, now
            log.info("%s: %s", self._log_name, _amount(self._done, self._total))


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
