import asyncio
import logging
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.conftest import no_report
from tests.fakes.wire import (
    Asked,
    Manners,
    Recording,
    always,
    cut_at,
    first,
    head,
    running_toxic,
    running_wire,
)
from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.audio.download import FetchLimits, download
from voxtral_serverless.errors import (
    FetchError,
    FetchFailed,
    FetchRejected,
    FetchTimeout,
    VoxtralError,
)

DATA = random.Random(9).randbytes(256_000)
ANYWHERE = AddressPolicy(allow_private=True)
LIMITS = FetchLimits(max_bytes=1_000_000, total_s=10, connect_s=0.2, policy=ANYWHERE, first_pause_s=0.01)
PATIENT = replace(LIMITS, connect_s=10)
Writer = asyncio.StreamWriter


async def got(url: str, folder: Path, limits: FetchLimits = PATIENT, headers: dict[str, str] | None = None) -> bytes:
    file = folder / "recording"
    began = time.monotonic()
    try:
        await download(url, headers or {}, file, limits, no_report)
    finally:
        assert time.monotonic() - began < limits.total_s + 1
    return file.read_bytes()


async def told(manners: Manners, folder: Path, limits: FetchLimits = PATIENT) -> VoxtralError:
    async with running_wire(manners) as wire:
        with pytest.raises(VoxtralError) as caught:
            await got(f"{wire.url}/cAnArY?cAnArY", folder, limits)
    assert "cAnArY" not in str(caught.value)
    assert wire.url.removeprefix("http://") not in str(caught.value)
    return caught.value


class TestTroubles:
    @pytest.mark.parametrize("name", ["latency", "bandwidth", "slow_close", "slicer"])
    async def test_slow_servers_deliver(self, name: str, tmp_path: Path) -> None:
        async with running_toxic(name, Recording(DATA)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert len(wire.asked) == 1

    @pytest.mark.parametrize(("name", "requests"), [("reset_peer", 2), ("limit_data", 4)])
    async def test_cut_connections_are_resumed(self, name: str, requests: int, tmp_path: Path) -> None:
        async with running_toxic(name, Recording(DATA)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert len(wire.asked) >= requests
        if name == "limit_data":  # a reset may overtake what was sent before it
            assert all(asked.start and asked.headers["if-range"] == '"v1"' for asked in wire.asked[1:])

    @pytest.mark.parametrize(("name", "error"), [("down", FetchFailed), ("timeout", FetchTimeout)])
    async def test_servers_that_are_none(self, name: str, error: type[FetchError], tmp_path: Path) -> None:
        async with running_toxic(name, Recording(DATA)) as wire:
            with pytest.raises(error):
                await got(wire.url, tmp_path, LIMITS)
        assert len(wire.asked) <= (5 if name == "timeout" else 0)

    async def test_drip_ends_with_the_time(self, tmp_path: Path) -> None:
        async def drip(asked: Asked, writer: Writer) -> None:
            writer.write(head(200, **{"Content-Length": "1000"}))
            for _ in range(1000):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        error = await told(drip, tmp_path, replace(PATIENT, total_s=1))
        assert isinstance(error, FetchTimeout)
        assert "within 1 s" in error.message
        slow = replace(PATIENT, total_s=30, rate_window_s=0.5)
        assert "less than 16 KiB/s" in (await told(drip, tmp_path, slow)).message

    async def test_our_own_slowness_is_not_the_servers(self, tmp_path: Path) -> None:
        """The rate counts while bytes are waited for: a disk or a machine that is slow ends no download."""
        calls: list[float] = []

        def busy(done: float, total: float) -> None:
            calls.append(done)
            time.sleep(0.4)

        async with running_wire(Recording(DATA * 3).serve) as wire:
            limits = replace(PATIENT, rate_window_s=1, min_rate=1e12)
            await download(wire.url, {}, tmp_path / "recording", limits, busy)
        assert (tmp_path / "recording").read_bytes() == DATA * 3
        assert len(calls) * 0.4 > limits.rate_window_s


class TestStatuses:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    async def test_one_that_passes_is_outlived(self, status: int, tmp_path: Path) -> None:
        async with running_wire(first(always(head(status)), Recording(DATA).serve)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert len(wire.asked) == 2

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    async def test_final_one_is_told_at_once(self, status: int, tmp_path: Path) -> None:
        async with running_wire(always(head(status))) as wire:
            with pytest.raises(FetchRejected, match=f"status {status} .*presigned URL may have expired"):
                await got(wire.url, tmp_path)
        assert len(wire.asked) == 1

    async def test_one_that_stays_is_told_after_five_attempts(self, tmp_path: Path) -> None:
        async with running_wire(always(head(503))) as wire:
            with pytest.raises(FetchFailed, match="503"):
                await got(wire.url, tmp_path)
        assert len(wire.asked) == 5

    @pytest.mark.parametrize("form", ["seconds", "date"])
    async def test_server_is_left_alone_for_as_long_as_it_asks(self, form: str, tmp_path: Path) -> None:
        soon = datetime.now(UTC) + timedelta(seconds=4)
        after = "1" if form == "seconds" else format_datetime(soon, usegmt=True)
        manners = first(always(head(503, **{"Retry-After": after})), Recording(DATA).serve)
        async with running_wire(manners) as wire:
            began = time.monotonic()
            assert await got(wire.url, tmp_path) == DATA
        assert time.monotonic() - began >= 1
        assert len(wire.asked) == 2

    @pytest.mark.parametrize(("after", "total_s"), [("61", 100), ("9" * 400, 100), ("11", 10)])
    async def test_server_that_asks_for_too_long_is_not_waited_for(
        self, after: str, total_s: float, tmp_path: Path
    ) -> None:
        """Longer than a minute, or than the download may take."""
        async with running_wire(always(head(429, **{"Retry-After": after}))) as wire:
            began = time.monotonic()
            with pytest.raises(FetchFailed, match="429"):
                await got(wire.url, tmp_path, replace(PATIENT, total_s=total_s))
        assert time.monotonic() - began < 5
        assert len(wire.asked) == 1

    @pytest.mark.parametrize(
        "after",
        [
            "soon", "-1", "Fri, 99 Nov 2026", "Sun, 06 Nov 1994 08:49:37 GMT", "²", "Fri, 31 Dec 9999 23:59:59 -0100",
            "Mon, 1 Jan 99999999999999999999 00:00:00 GMT", "Mon, 1 Jan 2030 00:00:00 +99999999999999",
        ],
    )  # fmt: skip
    async def test_nonsense_is_as_nothing(self, after: str, tmp_path: Path) -> None:
        manners = first(always(head(503, **{"Retry-After": after})), Recording(DATA).serve)
        async with running_wire(manners) as wire:
            assert await got(wire.url, tmp_path) == DATA


KEY = {"Authorization": "Bearer cAnArY", "X-Key": "cAnArY"}


class TestHeaders:
    async def test_own_origin_sees_them_every_time(self, tmp_path: Path) -> None:
        recording = Recording(DATA)

        async def manners(asked: Asked, writer: Writer) -> None:
            if asked.target == "/start":
                writer.write(head(302, Location="/there"))
            else:
                await (cut_at(recording, 1000) if asked.before < 2 else recording.serve)(asked, writer)

        async with running_wire(manners) as wire:
            assert await got(f"{wire.url}/start", tmp_path, headers=KEY) == DATA
        assert [asked.target for asked in wire.asked] == ["/start", "/there", "/start", "/there"]
        assert all(asked.headers["authorization"] == "Bearer cAnArY" for asked in wire.asked)
        assert wire.asked[-1].headers["if-range"] == '"v1"'

    async def test_another_origin_does_not(self, tmp_path: Path) -> None:
        """Another port is another origin, and what has left does not come back."""
        to: dict[str, str] = {}

        def manners(name: str) -> Manners:
            async def redirect(asked: Asked, writer: Writer) -> None:
                target = to.get(name + asked.target)
                whole = Recording(DATA).serve
                await (always(head(302, Location=target)) if target else whole)(asked, writer)

            return redirect

        async with running_wire(manners("own")) as own, running_wire(manners("other")) as other:
            to |= {"own/start": f"{other.url}/there", "other/there": f"{own.url}/back"}
            assert await got(f"{own.url}/start", tmp_path, headers=KEY) == DATA
        assert [(asked.target, "x-key" in asked.headers) for asked in own.asked] == [("/start", True), ("/back", False)]
        assert [asked.target for asked in other.asked] == ["/there"]
        assert not {"authorization", "x-key"} & other.asked[0].headers.keys()

    async def test_they_are_in_no_log_and_no_error(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        manners = first(cut_at(Recording(DATA), 1000), always(head(403)))
        async with running_wire(manners) as wire:
            with pytest.raises(FetchRejected) as caught:
                await got(f"{wire.url}/cAnArY?cAnArY", tmp_path, headers=KEY)
        assert "asked for again" in caplog.text
        assert "cAnArY" not in caplog.text + repr(caught.value) + repr(caught.value.__cause__)
