import asyncio
import contextlib
import gzip
import hashlib
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.audio.test_download import DATA, LIMITS, PATIENT, got, told
from tests.fakes.wire import Asked, Recording, always, cut, cut_at, first, head, running_wire
from voxtral_serverless.errors import AudioTooLarge, FetchFailed, FetchRejected

Writer = asyncio.StreamWriter


class TestLength:
    async def test_more_announced_than_there_is(self, tmp_path: Path) -> None:
        long = always(head(200, **{"Content-Length": "5000"}) + b"x" * 4000)
        assert isinstance(await told(long, tmp_path), FetchFailed)

    async def test_less_announced_than_there_is(self, tmp_path: Path) -> None:
        """Whether aiohttp sees the rest depends on the network's packets; what is too much is never in the file."""
        async with running_wire(always(head(200, **{"Content-Length": "3000"}) + DATA[:4000])) as wire:
            with contextlib.suppress(FetchFailed):
                assert await got(wire.url, tmp_path) == DATA[:3000]
        assert not (tmp_path / "recording").exists() or (tmp_path / "recording").stat().st_size <= 3000

    async def test_nothing_announced(self, tmp_path: Path) -> None:
        async with running_wire(always(head(200) + DATA)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        chunked = head(200, **{"Transfer-Encoding": "chunked"}) + b"4\r\nsome\r\n0\r\n\r\n"
        async with running_wire(always(chunked)) as wire:
            assert await got(wire.url, tmp_path) == b"some"

    async def test_chunks_without_an_end_are_a_cut(self, tmp_path: Path) -> None:
        chunked = head(200, **{"Transfer-Encoding": "chunked"}) + b"4\r\nsome\r\n"
        assert isinstance(await told(always(chunked), tmp_path), FetchFailed)

    @pytest.mark.parametrize("length", ["2000000", "x", "-1", "1, 2"])
    async def test_too_much_or_nonsense_announced(self, length: str, tmp_path: Path) -> None:
        error = await told(always(head(200, **{"Content-Length": length}) + b"x"), tmp_path)
        assert isinstance(error, AudioTooLarge if length == "2000000" else FetchFailed)
        assert not (tmp_path / "recording").exists()

    async def test_too_much_not_announced(self, tmp_path: Path) -> None:
        assert isinstance(await told(always(head(200) + DATA * 4), tmp_path), AudioTooLarge)
        assert (tmp_path / "recording").stat().st_size <= LIMITS.max_bytes

    async def test_too_much_in_parts(self, tmp_path: Path) -> None:
        """What grows between a cut and its continuation is still counted as one."""
        part = head(206, **{"Content-Range": "bytes 100000-99999999/*", "ETag": '"v1"'}) + DATA * 4
        manners = first(cut_at(Recording(DATA), 100_000), always(part))
        assert isinstance(await told(manners, tmp_path), AudioTooLarge)

    async def test_gzip_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        bomb = gzip.compress(bytes(50_000_000))
        top = {"Content-Encoding": "gzip", "Content-Length": str(len(bomb))}
        error = await told(always(head(200, **top) + bomb), tmp_path)
        assert isinstance(error, FetchRejected)
        assert "compress" in error.message


class TestResume:
    async def test_two_hundred_cuts_give_the_same_bytes(self, tmp_path: Path) -> None:
        chance, expected = random.Random(7), hashlib.sha256(DATA).hexdigest()
        busy = asyncio.Semaphore(20)
        starts: list[int] = []

        async def one(number: int) -> str:
            recording, at = Recording(DATA), chance.randrange(1, len(DATA))
            folder = tmp_path / str(number)
            folder.mkdir()
            broken = cut_at(recording, at, reset=number % 2 == 1)
            async with busy, running_wire(first(broken, recording.serve)) as wire:
                data = await got(wire.url, folder, replace(PATIENT, total_s=60))
            starts.append(wire.asked[-1].start)
            assert len(wire.asked) == 2
            assert wire.asked[-1].start in (0, at)
            return hashlib.sha256(data).hexdigest()

        assert [await cut for cut in [asyncio.ensure_future(one(n)) for n in range(200)]] == [expected] * 200
        assert sum(start > 0 for start in starts) > 150  # a reset may overtake what was sent before it

    async def test_changed_version_starts_over(self, tmp_path: Path) -> None:
        new = Recording(DATA[::-1], '"v2"')
        async with running_wire(first(cut_at(Recording(DATA), 1000), new.serve)) as wire:
            assert await got(wire.url, tmp_path) == DATA[::-1]
        assert wire.asked[1].headers["if-range"] == '"v1"'

    @pytest.mark.parametrize("etag", ['W/"v1"', None, "v1", '"a"b"'])
    async def test_without_a_strong_validator_it_starts_over(self, etag: str | None, tmp_path: Path) -> None:
        recording = Recording(DATA, etag)
        async with running_wire(first(cut_at(recording, 1000), recording.serve)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert len(wire.asked) == 2
        assert "range" not in wire.asked[1].headers
        assert "if-range" not in wire.asked[1].headers

    @pytest.mark.parametrize(
        "lie",
        [
            {"Content-Range": "bytes 999-255999/256000"},
            {"Content-Range": "bytes 1001-255999/256000"},
            {"Content-Range": "bytes 1000-255999/256001"},
            {"Content-Range": "1000-255999/256000"},
            {"Content-Range": "bytes */256000"},
            {"Content-Range": "bytes 1000-255999/256000", "ETag": '"v2"'},
            {"Content-Range": "bytes 1000-255999/256000"},
            {"Content-Type": "multipart/byteranges; boundary=x"},
            {},
        ],
    )
    async def test_part_that_is_another_one_is_not_used(self, lie: dict[str, str], tmp_path: Path) -> None:
        recording = Recording(DATA)
        lying = always(head(206, **{"Content-Length": str(len(DATA) - 1000), **lie}) + b"?" * (len(DATA) - 1000))

        async def manners(asked: Asked, writer: Writer) -> None:
            await (cut_at(recording, 1000), lying, recording.serve)[asked.before](asked, writer)

        async with running_wire(manners) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert [asked.start for asked in wire.asked] == [0, 1000, 0]

    async def test_range_that_is_ignored(self, tmp_path: Path) -> None:
        whole = always(Recording(DATA).answer(Asked("/", {}, 0))[0] + DATA)
        async with running_wire(first(cut_at(Recording(DATA), 1000), whole)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert wire.asked[1].start == 1000

    async def test_range_that_is_refused(self, tmp_path: Path) -> None:
        recording = Recording(DATA)

        async def manners(asked: Asked, writer: Writer) -> None:
            refusal = always(head(416, **{"Content-Length": "0"}))
            await (cut_at(recording, 1000), refusal, recording.serve)[asked.before](asked, writer)

        async with running_wire(manners) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert [asked.start for asked in wire.asked] == [0, 1000, 0]

    async def test_part_of_nobody_knows_how_much_is_not_used(self, tmp_path: Path) -> None:
        """It may be the last, and may not."""
        chunked = head(200, **{"Transfer-Encoding": "chunked", "ETag": '"v1"'})
        part = head(206, **{"Content-Range": "bytes 1000-1001/*", "Content-Length": "2", "ETag": '"v1"'}) + b"??"

        async def begin(asked: Asked, writer: Writer) -> None:
            await cut(writer, chunked, b"3e8\r\n" + DATA[:1000] + b"\r\n")

        async def manners(asked: Asked, writer: Writer) -> None:
            await (begin, always(part), Recording(DATA).serve)[asked.before](asked, writer)

        async with running_wire(manners) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert [asked.start for asked in wire.asked] == [0, 1000, 0]

    async def test_shorter_part_is_continued(self, tmp_path: Path) -> None:
        """RFC 9110 lets a server send less of the range than was asked for."""

        async def manners(asked: Asked, writer: Writer) -> None:
            end = min(asked.start + 70_000, len(DATA))
            place = f"bytes {asked.start}-{end - 1}/{len(DATA)}"
            length = str(end - asked.start)
            part = head(206, **{"Content-Range": place, "Content-Length": length, "ETag": '"v1"'})
            await cut(writer, part, DATA[asked.start : end])

        async with running_wire(first(cut_at(Recording(DATA), 1000), manners)) as wire:
            assert await got(wire.url, tmp_path) == DATA
        assert [asked.start for asked in wire.asked] == [0, 1000, 71_000, 141_000, 211_000]

    async def test_server_that_cuts_every_time_is_left(self, tmp_path: Path) -> None:
        """Without a validator each attempt comes as far as the last: that is no progress."""
        manners = cut_at(Recording(DATA, None), 100_000)
        async with running_wire(manners) as wire:
            with pytest.raises(FetchFailed):
                await got(wire.url, tmp_path)
        assert 5 <= len(wire.asked) <= 9

    async def test_server_that_brings_little_each_time_is_left(self, tmp_path: Path) -> None:
        async with running_wire(cut_at(Recording(DATA), 1000)) as wire:
            with pytest.raises(FetchFailed):
                await got(wire.url, tmp_path)
        assert [asked.start for asked in wire.asked] == [0, 1000, 2000, 3000, 4000]

    async def test_presigned_url_that_expires_on_the_way(self, tmp_path: Path) -> None:
        manners = first(cut_at(Recording(DATA), 1000), always(head(403)))
        assert "expired" in (await told(manners, tmp_path)).message


MEASURE = """
import asyncio, pathlib, sys
from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.audio.download import FetchLimits, download
url, file = sys.argv[1], pathlib.Path(sys.argv[2])
limits = FetchLimits(2_000_000_000, 600, 60, AddressPolicy(allow_private=True))

def memory(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def get(path):
    asyncio.run(download(url + path, {}, file, limits, lambda done, total: None))

get("/small")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
get("/large")
print(memory("VmHWM") - before, file.stat().st_size)
"""


async def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    size, part = 1_000_000_000, bytes(1_000_000)

    async def manners(asked: Asked, writer: Writer) -> None:
        count = size // len(part) if asked.target == "/large" else 1
        writer.write(head(200, **{"Content-Length": str(count * len(part))}))
        for _ in range(count):
            writer.write(part)
            await writer.drain()

    file = tmp_path / "recording"
    async with running_wire(manners) as wire:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEASURE, wire.url, str(file), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await child.communicate()
    file.unlink(missing_ok=True)
    growth, received = map(int, printed.split())
    assert received == size
    assert growth < 20_000_000
