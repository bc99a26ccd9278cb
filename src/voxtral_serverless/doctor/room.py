"""Checks of the room for jobs and models: disks, memory, open files.

Promises: rules in the settings' own limits, so that what is said to fit is the worst that is accepted. Leaves out: what
a job of usual length needs, which is far less.
"""

from __future__ import annotations

import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE
from voxtral_serverless.doctor.findings import Finding, amount, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.engine.machine import available_memory_mib
from voxtral_serverless.engine.placement import KNOWN
from voxtral_serverless.hub.cache import cache_folder
from voxtral_serverless.hub.download import free_bytes
from voxtral_serverless.settings import Settings
from voxtral_serverless.workspace import own_folder

PLANES = 3
"""Of a stereo recording: the mix, and both channels."""
PYANNOTE_BYTES_PER_S = 2.8e9 / 9000
"""Measured on a processor: 2.8 GB for 2 h 30 (docs/diarization.md). It has one recording at a time."""
DECODING_BYTES = 40e6
"""Measured: 37 MB of worker and decoder for 2 h 30 (bench/RESULTS.md)."""
FILES_PER_JOB, OTHER_FILES = 16, 200
"""Open files: an estimate, from above."""
MEMORY_DISKS = {"tmpfs", "ramfs"}


@dataclass(frozen=True)
class JobRoom:
    """What the longest jobs that are accepted need of the temporary folder, in bytes."""

    one: int
    all: int
    told: str


def job_room(settings: Settings) -> JobRoom:
    """For each job its download, and its recording decoded. Pure."""
    decoded = int(settings.max_duration_s * SAMPLE_RATE * SAMPLE_BYTES * PLANES)
    one = settings.max_audio_bytes + decoded
    told = (
        f"{settings.max_concurrency} jobs of ({amount(settings.max_audio_bytes)} of MAX_AUDIO_MB + {amount(decoded)} of "
        "MAX_DURATION_S, decoded, three planes)"
    )
    return JobRoom(one, one * settings.max_concurrency, told)


def disk_finding(need: JobRoom, free: int) -> Finding:
    """What `free` bytes of the temporary folder mean for jobs. Pure."""
    remedy = (
        "Enlarge the disk, set TMPDIR to a folder with room, or lower MAX_CONCURRENCY, MAX_AUDIO_MB or MAX_DURATION_S."
    )
    details = f"{need.told} = {amount(need.all)}"
    if free < need.one:
        found = f"{amount(free)} free for temporary files; one job of the longest kind may need {amount(need.one)}."
        return problem(found, remedy).with_details(details)
    if free < need.all:
        found = f"{amount(free)} free for temporary files; jobs of the longest kind may need {amount(need.all)}."
        return warning(found, remedy).with_details(details)
    return ok(f"{amount(free)} free for temporary files; jobs may need {amount(need.all)}.").with_details(details)


def disk_check(situation: Situation) -> Finding:
    """Whether the longest jobs fit on the disk, beside what is to be downloaded there."""
    own_folder()
    folder = Path(tempfile.gettempdir())
    coming = _coming(situation) if _same_disk(folder, cache_folder()) else 0
    finding = disk_finding(job_room(situation.settings), max(0, free_bytes(folder) - (coming or 0)))
    return finding.with_details(f"{folder}; {amount(coming)} of its disk are for downloads" if coming else str(folder))


def downloads_check(situation: Situation) -> Finding:
    """Whether what is to be downloaded fits on the disk of the cache."""
    if not situation.downloads().repositories:
        return skipped("nothing has to be downloaded.")
    folder, coming = cache_folder(), _coming(situation)
    if coming is None:
        return skipped(
            f"{amount(free_bytes(folder))} free in the Hugging Face cache; how much has to come is not known."
        )
    return downloads_finding(coming, free_bytes(folder)).with_details(str(folder))


def downloads_finding(coming: int, free: int) -> Finding:
    """What `free` bytes in the cache mean for as many that are `coming`. Pure."""
    found = f"{amount(coming)} to download, {amount(free)} free in the Hugging Face cache."
    if coming > free:
        return problem(found, "Enlarge the disk, or set HF_HOME to a folder on a volume with room.")
    return ok(found)


def _coming(situation: Situation) -> int | None:
    """Bytes to download; where the Hub did not say, those of the known weights; None where nothing is known."""
    downloads = situation.downloads()
    if downloads.bytes is not None:
        return downloads.bytes
    known = [KNOWN[each.name].bytes for each in downloads.repositories if each.name in KNOWN]
    return sum(known) or None


def _same_disk(one: Path, other: Path) -> bool:
    return _device(one) == _device(other)


def _device(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return folder.stat().st_dev


def memory_check(situation: Situation) -> Finding:
    """Whether the longest jobs fit into memory, beside an engine on the processor (the line `model`)."""
    in_memory = _kind_of_disk(Path(tempfile.gettempdir())) in MEMORY_DISKS
    needed = memory_needed(situation.settings, diarizes=situation.diarizes, in_memory=in_memory)
    return memory_finding(needed, available_memory_mib() << 20, in_memory=in_memory)


def memory_needed(settings: Settings, *, diarizes: bool, in_memory: bool) -> int:
    """Bytes that the longest jobs take; `in_memory` is the temporary folder, where it is. Pure."""
    jobs = settings.max_concurrency * DECODING_BYTES + (job_room(settings).all if in_memory else 0)
    return int(jobs + (settings.max_duration_s * PYANNOTE_BYTES_PER_S if diarizes else 0))


def memory_finding(needed: int, free: int, *, in_memory: bool) -> Finding:
    """What `free` bytes of memory mean. Pure."""
    found = f"{amount(free)} of memory free; the longest jobs may need {amount(needed)} of it"
    if in_memory:
        found += ", for the temporary folder lies in memory"
    if needed > free:
        more = "set TMPDIR to a folder on a disk" if in_memory else "take more memory"
        return warning(f"{found}.", f"Lower MAX_CONCURRENCY or MAX_DURATION_S, or {more}.")
    return ok(f"{found}.")


def _kind_of_disk(folder: Path) -> str:
    """The file system of a folder, as /proc/mounts has it."""
    best = ("", "")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def files_check(situation: Situation) -> Finding:
    """Whether this process, and what it starts, may open enough files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files_finding(
        situation.settings,
        soft if soft != resource.RLIM_INFINITY else None,
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
    )


def files_finding(settings: Settings, limit: int | None, opened: int = 0) -> Finding:
    """What a `limit` of open files means, None for no limit, where `opened` are. Pure."""
    needed = opened + OTHER_FILES + settings.max_requests + FILES_PER_JOB * settings.max_concurrency
    found = f"{'any number of' if limit is None else limit} open files allowed, about {needed} are needed."
    if limit is not None and limit < needed:
        return warning(found, "Raise the limit (ulimit -n), or lower MAX_REQUESTS or MAX_CONCURRENCY.")
    return ok(found)
