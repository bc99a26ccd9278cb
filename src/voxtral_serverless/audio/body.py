"""The bytes of a recording on their way into a file: how many may come, how many have, and of which version.

Promises: no more than the limit is written, a full disk is told as one, and what came before a cut is only ever
continued by the same version of the recording, by a strong validator (RFC 9110, 13.1.5). Left out: whence they come.
"""

from __future__ import annotations

import re
import shutil
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from voxtral_serverless.audio.request import Interrupted
from voxtral_serverless.errors import AudioTooLarge, DiskFull, FetchFailed

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


class Body:
    """A recording in the making, in `file`, of at most `max_bytes`.

    Attributes:
        received: Bytes of it in the file.
        farthest: The most that were ever there, over all beginnings.
        total: Its whole length, where a server said so.
    """

    def __init__(self, file: Path, max_bytes: int) -> None:
        self.received = self.farthest = 0
        self.total: int | None = None
        self._file, self._max_bytes = file, max_bytes
        self._etag: str | None = None
        self._place: URL | None = None
        self._target: FileIO | None = None

    def range_headers(self) -> dict[str, str]:
        """What asks for the rest of the same version; nothing where that cannot be asked for."""
        if not self.received or self._etag is None:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self._etag}

    def begin(self, response: aiohttp.ClientResponse) -> None:
        """From the first byte on, whatever was there.

        Raises:
            AudioTooLarge, DiskFull: by the length that the server announces.
        """
        self.received, self.total = 0, response.content_length
        ranges = response.headers.get("Accept-Ranges", "").strip().lower() != "none"
        etag = response.headers.get("ETag", "").strip()
        self._etag = etag if ranges and _STRONG_ETAG.fullmatch(etag) else None
        self._place = _place(response)
        check_size(self.total or 0, self._file.parent, self._max_bytes)
        self.close()
        self._target = self._file.open("wb", buffering=0)

    def resume(self, response: aiohttp.ClientResponse) -> None:
        """From where it stopped.

        Raises:
            Interrupted: the server sends something else; it starts over.
        """
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        start, total = (int(found[1]), None if found[3] == "*" else int(found[3])) if found else (-1, None)
        # A validator holds for one resource; behind a redirect there may be another each time.
        same = response.headers.get("ETag", "").strip() == self._etag and _place(response) == self._place
        known = total if self.total is None else self.total
        agreed = known is not None and total in (None, known)  # where nobody says how much, a part may be the last
        if not (start == self.received and same and agreed):
            self.start_over()
        self.total = known
        check_size(self.total or 0, self._file.parent, self._max_bytes, there=self.received)

    def start_over(self) -> None:
        """Trust nothing of what is there.

        Raises:
            Interrupted: always.
        """
        self.received, self._etag = 0, None
        raise Interrupted(FetchFailed("the server of the recording sends other parts than it was asked for; retry."))

    def write(self, chunk: bytes) -> None:
        """The next bytes.

        Raises:
            AudioTooLarge, DiskFull: they are too many.
        """
        if self.received + len(chunk) > self._max_bytes:
            raise too_large(self._max_bytes)
        assert self._target is not None
        write_all(self._target, chunk)
        self.received += len(chunk)
        self.farthest = max(self.farthest, self.received)

    def check_whole(self) -> None:
        """Return where nothing is missing.

        Raises:
            Interrupted: the server ended early, or sent more than it announced.
        """
        if self.total is not None and self.received != self.total:
            if self.received > self.total:
                self.start_over()
            raise Interrupted(FetchFailed("the connection to the server of the recording ended early; retry."))

    def close(self) -> None:
        """Close the file."""
        if self._target is not None:
            self._target.close()


def _place(response: aiohttp.ClientResponse) -> URL:
    """What was asked, after redirects; a query may be another signature each time."""
    return response.url.with_query(None)


def too_large(max_bytes: int) -> AudioTooLarge:
    """That the recording has more than `max_bytes`."""
    return AudioTooLarge(f"the recording is larger than {max_bytes / 1e6:g} MB; compress it, or raise MAX_AUDIO_MB.")


def check_size(size: int, folder: Path, max_bytes: int, *, there: int = 0) -> None:
    """Return where `size` bytes, of which so many are `there`, may come into `folder`.

    Raises:
        AudioTooLarge: more than `max_bytes`.
        DiskFull: there is no room.
    """
    if size > max_bytes:
        raise too_large(max_bytes)
    if size - there > shutil.disk_usage(folder).free:
        raise DiskFull("the temporary folder has no room for the recording.")


def write_all(target: FileIO, data: bytes) -> None:
    """Write all of `data`; unbuffered, so that a full disk shows here and not when the file is closed.

    Raises:
        DiskFull: it does not fit.
    """
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[target.write(rest) :]
    except OSError as error:
        raise DiskFull("the temporary folder has no room for the recording.") from error
