"""One request for a recording: asked, through redirects, until a server answers with something that may be one.

Promises: the policy is asked about the URL at every hop and about the address at every connection; a job's own headers
go to the origin that the job names and to no other; no proxy of the environment, no compressed answer; every fault is
either one of our errors, final, or `Interrupted`, which another attempt may mend. Left out: the body (`download`).
"""

from __future__ import annotations

import socket
import string
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from voxtral_serverless.audio.addresses import AddressPolicy, AddressRefused
from voxtral_serverless.errors import FetchError, FetchFailed, FetchNotAudio, FetchRefused, FetchRejected, FetchTimeout

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
EXPIRED = "a presigned URL may have expired"
STATUS_HINTS = {
    401: f"it asks for a login, see audio_headers; {EXPIRED}",
    403: EXPIRED,
    404: f"there is nothing at that URL; {EXPIRED}",
    410: f"it is gone; {EXPIRED}",
}


class Interrupted(Exception):
    """What another attempt may mend.

    Attributes:
        error: What the caller is told where none does.
        wait_s: The server asked to be left alone for so long.
    """

    def __init__(self, error: FetchError, wait_s: float = 0) -> None:
        super().__init__(str(error))
        self.error, self.wait_s = error, wait_s


@asynccontextmanager
async def web_session(policy: AddressPolicy, wait_s: float) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections that keep to `policy`; `wait_s` is the longest for a connection, and for the next bytes."""
    import aiohttp

    from voxtral_serverless.audio.resolver import SystemResolver

    # Without a cache: each connection has a lookup of its own, and what that says is what is dialled.
    connector = aiohttp.TCPConnector(
        socket_factory=policy.socket_factory(), use_dns_cache=False, resolver=SystemResolver()
    )
    timeout = aiohttp.ClientTimeout(total=None, connect=wait_s, sock_connect=wait_s, sock_read=wait_s)
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, auto_decompress=False, trust_env=False
    ) as session:
        yield session


@asynccontextmanager
async def answered(
    session: aiohttp.ClientSession, url: str, policy: AddressPolicy, own: Mapping[str, str], ours: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to `url`, after redirects. The headers `own` are the job's, `ours` go to every hop.

    Raises:
        FetchError: it is refused, or redirects too often.
    """
    for _ in range(MAX_REDIRECTS + 1):
        _check(url, policy)
        asked = as_written(url)
        async with session.get(asked, headers={**own, **ours}, allow_redirects=False) as response:
            if response.status not in REDIRECTS or "Location" not in response.headers:
                yield response
                return
            target = next_url(asked, response.headers["Location"])
        own, url = own if target.origin() == asked.origin() else {}, str(target)
    raise FetchRejected(f"the URL redirects more than {MAX_REDIRECTS} times.")


def next_url(asked: URL, location: str) -> URL:
    """Where a redirect leads.

    Raises:
        FetchRejected: nowhere.
        FetchRefused: from https to http.
    """
    try:
        target = asked.join(as_written(location))
        str(target.origin())  # raises where its host or port cannot be
    except ValueError as error:
        raise _refused() if _is_foreign(location) else _no_url() from error
    if asked.scheme == "https" and target.scheme != "https":
        raise _refused()
    return target


def _is_foreign(location: str) -> bool:
    """Whether it leads away from the web, as `file:///…`, which has no origin."""
    return location.partition(":")[0].lower() not in ("http", "https") and "://" in location


def check_answer(response: aiohttp.ClientResponse, *, resuming: bool) -> None:
    """Return where this is a body, or the asked part of one, that may be a recording.

    Raises:
        Interrupted: another attempt may help.
        FetchError: none will.
    """
    status = response.status
    if status in (408, 429) or status >= 500:
        error = FetchFailed(f"the server of the recording answered with status {status}; retry later.")
        raise Interrupted(error, _retry_after_s(response.headers.get("Retry-After", "")))
    if status != 200 and not (resuming and status == 206):
        hint = f" ({STATUS_HINTS[status]})" if status in STATUS_HINTS else ""
        raise FetchRejected(f"the server of the recording answered with status {status}{hint}.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise FetchRejected("the server compresses its answer although it was asked not to.")
    if response.content_type in ("text/html", "application/xhtml+xml"):
        raise FetchNotAudio("the URL answers with a web page, not with a recording; it may ask for a login.")


def _retry_after_s(value: str) -> float:
    """The header `Retry-After`, seconds or a date, in seconds from now; 0 where it is absent or says nothing."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return 0
    return max((when - datetime.now(UTC)).total_seconds(), 0)


@contextmanager
def faults_told() -> Iterator[None]:
    """The faults of a connection as ours.

    Raises:
        Interrupted: another attempt may help.
        FetchError: none will.
    """
    import aiohttp

    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise Interrupted(FetchTimeout("the server of the recording could not be reached in time; retry.")) from error
    except aiohttp.ServerTimeoutError as error:
        raise Interrupted(FetchTimeout("the server of the recording stopped sending; retry.")) from error
    except (aiohttp.InvalidURL, UnicodeError) as error:  # a host that no name server can be asked for
        raise _no_url() from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise FetchRejected("the certificate of the recording's server is not valid.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise _connection_fault(error) from error


def _connection_fault(error: Exception) -> Exception:
    if isinstance(error.__cause__, AddressRefused):
        return _refused()
    if isinstance(error.__cause__, socket.gaierror) and error.__cause__.errno in _no_such_name():
        return FetchFailed("there is no server of the name in the URL; check it.")
    failed = "the connection to the server of the recording failed; check the URL and retry."
    return Interrupted(FetchFailed(failed))


def _no_such_name() -> tuple[int, ...]:
    return (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def _check(url: str, policy: AddressPolicy) -> None:
    try:
        policy.check(url)
    except AddressRefused as error:
        raise _refused() from error
    except ValueError as error:
        raise _no_url() from error


def as_written(url: str) -> URL:
    """The URL without a change to its escapes, which a signature may cover; what has to be escaped is."""
    from yarl import URL

    if not urlsplit(url).netloc.isascii():
        return URL(url)
    return URL(quote(url, safe=string.printable.replace(" ", "")), encoded=True)


def _no_url() -> FetchRejected:
    return FetchRejected("the URL, or one that it redirects to, is not valid.")


def _refused() -> FetchRefused:
    return FetchRefused(
        "this worker does not connect there: it fetches from public http(s) servers on ports 80 and 443 (or as its "
        "FETCH_PORTS and FETCH_HOSTS say), without a user name in the URL, and does not follow https to http."
    )
