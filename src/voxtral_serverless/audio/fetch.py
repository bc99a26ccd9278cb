"""From where a job's recording is to a file in the job's folder.

Promises: the file's name is ours, never the sender's, and it is within the limits, whichever way it came. Not here:
how a URL is fetched (`download`), who may be asked (`addresses`), and what is in the file (`decode`).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from voxtral_serverless.audio.body import check_size, too_large, write_all
from voxtral_serverless.audio.download import FetchLimits, download
from voxtral_serverless.errors import SourceNotFound, SourceUnreadable
from voxtral_serverless.reporting import Report

FILE_NAME = "recording"


@dataclass(frozen=True)
class RemoteAudio:
    """A recording at an http(s) URL, and the headers that its server, and no other, is to see."""

    url: str = field(repr=False)
    headers: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class InlineAudio:
    """A recording that came with the job."""

    data: bytes


@dataclass(frozen=True)
class LocalAudio:
    """A recording on this machine. The command line makes one, a job never does."""

    path: Path


Source = RemoteAudio | InlineAudio | LocalAudio


async def fetch(source: Source, folder: Path, limits: FetchLimits, report: Report) -> Path:
    """The file of `source`: a new one in `folder`, or the local file itself. `report` hears bytes of bytes.

    Raises:
        FetchError: by what went wrong on the way.
        SourceNotFound, SourceUnreadable: a local file is not there or not a readable file.
        AudioTooLarge: it has more bytes than `limits` allow.
        DiskFull: the folder has no room for it.
    """
    match source:
        case LocalAudio(path):
            return _local(path, limits.max_bytes)
        case InlineAudio(data):
            check_size(len(data), folder, limits.max_bytes)
            with (folder / FILE_NAME).open("wb", buffering=0) as target:
                write_all(target, data)
        case RemoteAudio(url, headers):
            plain = {name: value.get_secret_value() for name, value in headers.items()}
            await download(url, plain, folder / FILE_NAME, limits, report)
    return folder / FILE_NAME


def _local(path: Path, max_bytes: int) -> Path:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceUnreadable(f"{str(path)!r} is not a file.")
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceNotFound(f"there is no file {str(path)!r}.") from error
    except (OSError, ValueError) as error:
        raise SourceUnreadable(f"{str(path)[:200]!r} may not be read.") from error
    if status.st_size > max_bytes:
        raise too_large(max_bytes)
    return path
