"""From where a job's recording is to a file in the job's folder.

Promises: limits on size and time hold while the bytes come in; a URL reaches public addresses only, judged on
the address really dialled, at every redirect. The file's name is ours, never the sender's. Not here: what is
in the file (`decode`).
"""

from __future__ import annotations

import asyncio
import shutil
import stat
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from voxtral_serverless.audio.addresses import AddressRefused, guarded_socket
from voxtral_serverless.errors import (
    AudioTooLarge,
    DiskFull,
    FetchFailed,
    FetchNotAudio,
    FetchRefused,
    FetchRejected,
    FetchTimeout,
    SourceNotFound,
    SourceUnreadable,
)
from voxtral_serverless.reporting import Report

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

    from voxtral_serverless.settings import Settings

FILE_NAME = "recording"
CHUNK_BYTES = 1 << 18
MAX_REDIRECTS = 5
PORTS = (80, 443)
STATUS_HINTS = {
    401: "it asks for a login",
    403: "a presigned URL may have expired",
    404: "there is nothing at that URL",
}


@dataclass(frozen=True)
class RemoteAudio:
    """A recording at an http(s) URL."""

    url: str


@dataclass(frozen=True)
class InlineAudio:
    """A recording that came with the job."""

    data: bytes


@dataclass(frozen=True)
class LocalAudio:
    """A recording on this machine. The command line makes one, a job never does."""

    path: Path


Source = RemoteAudio | InlineAudio | LocalAudio


@dataclass(frozen=True)
class FetchLimits:
    """What a recording may cost before it is decoded."""

    max_bytes: int
    total_s: float
    connect_s: float
    allow_private: bool = False

    @classmethod
    def of(cls, settings: Settings) -> FetchLimits:
        """The limits that the settings name."""
        return cls(
            settings.max_audio_bytes,
            settings.fetch_timeout_s,
            settings.fetch_connect_timeout_s,
            settings.fetch_allow_private,
        )


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
            _check_size(len(data), folder, limits.max_bytes)
            with (folder / FILE_NAME).open("wb", buffering=0) as target:
                _write(target, data)
            return folder / FILE_NAME
        case RemoteAudio(url):
            try:
                async with asyncio.timeout(limits.total_s):
                    return await _download(url, folder / FILE_NAME, limits, report)
            except TimeoutError as error:
                raise FetchTimeout(
                    f"the recording did not arrive within {limits.total_s:g} s; retry, or use a faster server."
                ) from error


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
        raise _too_large(max_bytes)
    return path


def _too_large(max_bytes: int) -> AudioTooLarge:
    return AudioTooLarge(f"the recording is larger than {max_bytes / 1e6:g} MB; compress it, or raise MAX_AUDIO_MB.")


def _check_size(size: int, folder: Path, max_bytes: int) -> None:
    if size > max_bytes:
        raise _too_large(max_bytes)
    if size > shutil.disk_usage(folder).free:
        raise DiskFull("the temporary folder has no room for the recording.")


async def _download(url: str, file: Path, limits: FetchLimits, report: Report) -> Path:
    async with _answer(url, limits) as response:
        _check_answer(response)
        announced = response.content_length or 0
        _check_size(announced, file.parent, limits.max_bytes)
        received = 0
        with file.open("wb", buffering=0) as target:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                received += len(chunk)
                if received > limits.max_bytes:
                    raise _too_large(limits.max_bytes)
                _write(target, chunk)
                report(received, max(announced, received))
    return file


def _write(target: FileIO, data: bytes) -> None:
    """Write all of `data`; unbuffered, so that a full disk shows here and not when the file is closed."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[target.write(rest) :]
    except OSError as error:
        raise DiskFull("the temporary folder has no room for the recording.") from error


def _check_answer(response: aiohttp.ClientResponse) -> None:
    """Raise unless this is a whole body of something that may be a recording."""
    if response.status in (408, 429) or response.status >= 500:
        raise FetchFailed(f"the server of the recording answered with status {response.status}; retry later.")
    if response.status != 200:
        hint = f" ({STATUS_HINTS[response.status]})" if response.status in STATUS_HINTS else ""
        raise FetchRejected(f"the server of the recording answered with status {response.status}{hint}.")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchRejected("the server compresses its answer although it was asked not to.")
    if response.content_type in ("text/html", "application/xhtml+xml"):
        raise FetchNotAudio("the URL answers with a web page, not with a recording; it may ask for a login.")


@asynccontextmanager
async def _answer(url: str, limits: FetchLimits) -> AsyncIterator[aiohttp.ClientResponse]:
    """The server's answer to `url`, after redirects, with the connection's faults as ours."""
    import aiohttp

    connector = aiohttp.TCPConnector(socket_factory=guarded_socket(limits.allow_private))
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.connect_s)
    headers = {"Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers=headers, auto_decompress=False, trust_env=False
            ) as session,
            _following_redirects(session, url, limits.allow_private) as response,
        ):
            yield response
    except aiohttp.ConnectionTimeoutError as error:
        raise FetchTimeout("the server of the recording could not be reached in time; retry.") from error
    except aiohttp.ServerTimeoutError as error:
        raise FetchTimeout("the server of the recording stopped sending; retry.") from error
    except aiohttp.InvalidURL as error:
        raise _no_url() from error
    except UnicodeError as error:  # a host that no name server can be asked for
        raise _no_url() from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, AddressRefused):
            raise _refused() from error
        raise FetchFailed("the connection to the server of the recording failed; check the URL and retry.") from error


@asynccontextmanager
async def _following_redirects(
    session: aiohttp.ClientSession, url: str, allow_private: bool
) -> AsyncIterator[aiohttp.ClientResponse]:
    for _ in range(MAX_REDIRECTS + 1):
        _check_url(url, allow_private)
        async with session.get(_as_written(url), allow_redirects=False) as response:
            if response.status not in (301, 302, 303, 307, 308) or "Location" not in response.headers:
                yield response
                return
            url = _next_url(response)
    raise FetchRejected(f"the URL redirects more than {MAX_REDIRECTS} times.")


def _as_written(url: str) -> URL:
    """The URL without a change to its escapes, which a signature may cover; what has to be escaped is."""
    from yarl import URL

    if not urlsplit(url).netloc.isascii():
        return URL(url)
    return URL(quote(url, safe=string.printable.replace(" ", "")), encoded=True)


def _next_url(response: aiohttp.ClientResponse) -> str:
    try:
        target = response.url.join(_as_written(response.headers["Location"]))
        url, scheme = str(target), target.scheme
    except ValueError as error:
        raise _no_url() from error
    if response.url.scheme == "https" and scheme != "https":
        raise _refused()
    return url


def _check_url(url: str, allow_private: bool) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise _no_url() from error
    if parts.scheme not in ("http", "https") or parts.username is not None or parts.password is not None:
        raise _refused()
    if not allow_private and port not in PORTS:
        raise _refused()


def _no_url() -> FetchRejected:
    return FetchRejected("the URL, or one that it redirects to, is not valid.")


def _refused() -> FetchRefused:
    return FetchRefused(
        "this worker does not connect there: it fetches from public http(s) servers on ports 80 and 443, without a "
        "user name in the URL, and does not follow https to http."
    )
