"""From a URL to a file, over a network that stalls, cuts and lies.

Promises: a file that is whole as far as the server says how long it is, or one typed error, within the deadline. What
another attempt may mend is attempted again: after a cut the rest alone is asked for, where the server names its version
by a strong ETag, else all of it. The number of attempts that bring nothing is bounded, a server that is too slow is
left, and the memory used does not grow with the recording. Left out: a body that is cut where neither its length nor
an end was announced (HTTP/1.0) passes for whole.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.audio.body import Body
from voxtral_serverless.audio.request import Interrupted, answered, check_answer, faults_told, web_session
from voxtral_serverless.errors import FetchTimeout
from voxtral_serverless.reporting import Report

if TYPE_CHECKING:
    import aiohttp

    from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
MAX_RETRIES = 4
"""So many attempts in a row may bring nothing, after the first that did not."""
PROGRESS_BYTES = 1 << 16
"""An attempt that comes so much farther than all before it has brought something."""
MAX_PAUSE_S = 60.0
"""A server that asks to be left alone for longer is not waited for."""


@dataclass(frozen=True)
class FetchLimits:
    """What a recording may cost before it is decoded.

    Attributes:
        max_bytes: Its size.
        total_s: The time for all attempts together.
        connect_s: The longest wait for a connection, and for the next bytes.
        policy: Who may be asked for it.
        min_rate: Bytes a second that have to come, over each `rate_window_s` of waiting for them.
        first_pause_s: Before the second attempt; it doubles with each that brings nothing.
    """

    max_bytes: int
    total_s: float
    connect_s: float
    policy: AddressPolicy
    min_rate: float = 16 * 1024
    rate_window_s: float = 30
    first_pause_s: float = 0.5

    @classmethod
    def of(cls, settings: Settings) -> FetchLimits:
        """The limits that the settings name."""
        return cls(
            settings.max_audio_bytes,
            settings.fetch_timeout_s,
            settings.fetch_connect_timeout_s,
            AddressPolicy.of(settings),
            settings.fetch_min_rate_kib_s * 1024,
        )


async def download(url: str, headers: Mapping[str, str], file: Path, limits: FetchLimits, report: Report) -> None:
    """Write what is at `url` to `file`. `headers` are for the URL's own origin; `report` hears bytes of bytes.

    Raises:
        FetchError: by what went wrong on the way.
        AudioTooLarge: it has more bytes than `limits` allow.
        DiskFull: the folder has no room for it.
    """
    body = Body(file, limits.max_bytes)
    try:
        async with asyncio.timeout(limits.total_s) as clock, web_session(limits.policy, limits.connect_s) as session:
            patience = _Patience(limits.first_pause_s, clock.when() or 0)
            rate = _RateWatch(limits.min_rate, limits.rate_window_s)
            attempt = _Attempt(session, url, headers, limits, body, rate, report)
            while not await attempt.done(patience):
                pass
    except TimeoutError as error:
        late = f"the recording did not arrive within {limits.total_s:g} s; retry, or use a faster server."
        raise FetchTimeout(late) from error
    finally:
        body.close()


@dataclass(frozen=True)
class _Attempt:
    """To get what is missing of `body`; as often as `done` is awaited."""

    session: aiohttp.ClientSession
    url: str
    headers: Mapping[str, str]
    limits: FetchLimits
    body: Body
    rate: _RateWatch
    report: Report

    async def done(self, patience: _Patience) -> bool:
        """Whether the body is whole; where it is not, the pause before the next attempt is over."""
        before = self.body.farthest
        try:
            with faults_told():
                await self._receive()
        except Interrupted as fault:
            await patience.wait(fault, self.body.farthest - before)
            return False
        return True

    async def _receive(self) -> None:
        wanted = self.body.range_headers()
        async with answered(self.session, self.url, self.limits.policy, self.headers, wanted) as response:
            self._begin(response, resuming=bool(wanted))
            async for chunk in self._chunks(response):
                self.body.write(chunk)
                self.report(self.body.farthest, max(self.body.total or 0, self.body.farthest))
        self.body.check_whole()

    def _begin(self, response: aiohttp.ClientResponse, *, resuming: bool) -> None:
        if resuming and response.status == 416:
            self.body.start_over()
        check_answer(response, resuming=resuming)
        if response.status == 206:
            self.body.resume(response)
        else:
            self.body.begin(response)

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes, and as fast as it has to."""
        clock = asyncio.get_running_loop()
        while True:
            began = clock.time()
            chunk = await response.content.read(CHUNK_BYTES)
            if not chunk:
                return
            self.rate.check(clock.time() - began, len(chunk))
            yield chunk


class _RateWatch:
    """Counts bytes over the time that was spent waiting for them, and not that of our own work."""

    def __init__(self, min_rate: float, window_s: float) -> None:
        self._min_rate, self._window_s = min_rate, window_s
        self._waited_s, self._bytes = 0.0, 0

    def check(self, waited_s: float, count: int) -> None:
        """`count` bytes came after `waited_s`.

        Raises:
            FetchTimeout: over a whole window too few came.
        """
        self._waited_s, self._bytes = self._waited_s + waited_s, self._bytes + count
        if self._waited_s < self._window_s:
            return
        if self._bytes < self._min_rate * self._waited_s:
            least = f"{self._min_rate / 1024:g} KiB/s"
            raise FetchTimeout(f"the server of the recording sends less than {least}; use a faster one, or retry.")
        self._waited_s, self._bytes = 0.0, 0


class _Patience:
    """How often, and after which pauses, until `deadline` on the clock of the loop."""

    def __init__(self, first_pause_s: float, deadline: float) -> None:
        self._first_pause_s, self._deadline = first_pause_s, deadline
        self._failures = 0

    async def wait(self, fault: Interrupted, gained: int) -> None:
        """Wait until the next attempt, after one that came `gained` bytes farther than all before.

        Raises:
            FetchError: there is to be none, since it would not help, or not in time.
        """
        self._failures = 1 if gained >= PROGRESS_BYTES else self._failures + 1
        pause_s = self._first_pause_s * 2 ** (self._failures - 1) * random.uniform(0.75, 1)  # noqa: S311
        pause_s = max(pause_s, fault.wait_s)
        late = asyncio.get_running_loop().time() + pause_s >= self._deadline
        if self._failures > MAX_RETRIES or pause_s > MAX_PAUSE_S or late:
            raise fault.error from fault
        log.info("the recording is asked for again in %.1f s: %s", pause_s, fault.error)
        await asyncio.sleep(pause_s)
