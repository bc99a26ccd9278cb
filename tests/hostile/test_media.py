"""Files that are after a secret, after a connection, or after the worker's time and memory."""

import asyncio
import io
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio

from tests.hostile.attempts import children, descriptors, memory_mb, reset_peak
from tests.test_child import eventually
from voxtral_serverless.qualify.hostile.attempts import QUIET, Attempt, attempt
from voxtral_serverless.qualify.hostile.files import HOSTILE, REFERRING, WORDS, Ground

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 3
DECENT_S = 10.0
"""On a busy machine; `bench/reliability.py` holds them to 2 s."""
GROWTH_MB = 16
TAKEN = {
    "blocks of nothing", "4 GB of data", "a picture of 32 MB", "10,000 tags", "tags in tags", "attachments",
    "stco of 2**31", "4 GB of holes behind wav", "4 GB of holes behind mp3", "4 GB of holes behind ogg", "4 GB of holes behind flac",
    "4 GB of holes behind webm", "2% of wav", "30% of wav", "90% of wav", "30% of mp3", "90% of mp3", "90% of ogg",
    "90% of webm", "2% of amr", "30% of amr", "90% of amr", "2% of caf", "30% of caf", "90% of caf", "30% of wma",
    "90% of wma",
}  # fmt: skip
"""Do no harm: the silence in them is a recording. The others are refused, most of them as unreadable."""
CODES = {
    "nothing": "audio_empty", "an external track": "audio_empty", "90% of m4a": "audio_empty",
    "30% of m4a": "audio_missing",
    "1 Hz": "audio_parameters", "no channels": "audio_parameters", "65535 channels": "audio_parameters",
    "RF64 of 2**62": "audio_too_long", "a day of silence": "audio_too_long", "a day, unannounced": "audio_too_long",
    "4 GB of holes, WAV": "audio_too_long", "4 GB of holes behind caf": "audio_too_long",
}  # fmt: skip


@dataclass
class Watch:
    """What came in from outside of the files.

    Attributes:
        connections: First bytes that were sent to the listener.
        bound: Whether anybody took the port of the ground.
        log: The worker's log.
    """

    connections: list[bytes] = field(default_factory=list)
    bound: bool = False
    log: list[str] = field(default_factory=list)


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Ground, Watch]]:
    """A secret in a new folder, a port that listens, and one that is looked at all the time."""
    watch = Watch()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watch.connections.append(await reader.read(100))
        writer.close()

    folder.mkdir()
    with socket.socket(type=socket.SOCK_DGRAM) as finder:
        finder.bind(("127.0.0.1", 0))
        free = finder.getsockname()[1] & ~1  # RTP takes even ports
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        ground = Ground(folder, server.sockets[0].getsockname()[1], free).prepared()
        looking = asyncio.create_task(look_at(free, watch))
        yield ground, watch
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def look_at(port: int, watch: Watch) -> None:
    """See whether a UDP port is taken: what takes it holds it for seconds."""
    while True:
        watch.bound |= any(f":{port:04X} " in line for line in Path("/proc/net/udp").read_text().splitlines())
        await asyncio.sleep(0.02)


class Told(logging.Handler):
    """Keeps all that is logged."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self.watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self.watch.log.append(self.format(record))


@dataclass(frozen=True)
class Siege:
    """All files at the decoder, a few at once."""

    attempts: dict[str, Attempt]
    watch: Watch
    folder: Path
    growth_mb: float
    more_descriptors: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> Siege:
    folder = tmp_path_factory.mktemp("siege")
    async with watched(folder / "ground") as (ground, watch):
        files = {name: make(Ground(folder_of(ground, name), ground.tcp_port, ground.udp_port).prepared())
                 for name, make in HOSTILE.items()}  # fmt: skip
        handler, places = Told(watch), asyncio.Semaphore(AT_ONCE)
        logging.getLogger().addHandler(handler)

        async def one(name: str) -> Attempt:
            async with places:
                return await attempt(files[name], files[name].parent / "decoded")

        await attempt(ground.sound, folder / "first")  # what is loaded once is loaded
        before, files_before = memory_mb("VmRSS"), descriptors()
        reset_peak()
        attempts = dict(zip(files, await asyncio.gather(*map(one, files)), strict=True))
        growth_mb = memory_mb("VmHWM") - before
        logging.getLogger().removeHandler(handler)
    return Siege(attempts, watch, folder, growth_mb, descriptors() - files_before)


def folder_of(ground: Ground, name: str) -> Path:
    """A folder for one file, with a name that tells what is to be found in it."""
    folder = ground.folder / f"{WORDS}-{list(HOSTILE).index(name)}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", HOSTILE)
async def test_file_is_refused_or_does_no_harm(name: str, siege: Siege) -> None:
    tried = siege.attempts[name]
    assert (tried.code is None) == (name in TAKEN), tried.outcome
    assert tried.code in {
        None,
        "audio_empty",
        "audio_unreadable",
        "audio_missing",
        "audio_parameters",
        "audio_too_long",
    }
    assert tried.loudest <= QUIET, "the secret can be heard"
    assert WORDS not in tried.told
    assert str(siege.folder) not in tried.told
    assert tried.took_s < DECENT_S
    assert tried.left == sorted(path.name for path in tried.files)


async def test_nobody_was_called(siege: Siege) -> None:
    assert siege.watch.connections == []
    assert not siege.watch.bound


async def test_log_has_nothing_of_the_secret(siege: Siege) -> None:
    assert [line for line in siege.watch.log if WORDS in line] == []


async def test_no_decoder_died(siege: Siege) -> None:
    """All of it was seen through, by our own code."""
    assert siege.watch.log == []


async def test_worker_is_as_it_was(siege: Siege) -> None:
    assert await eventually(lambda: children() == [])
    assert siege.more_descriptors <= 0
    assert siege.growth_mb < GROWTH_MB


def heard(source: str | io.BytesIO, **options: str) -> float:
    """The loudest sample that FFmpeg gets out of a file, as it is when nobody holds it back."""
    with av.open(source, "r", options=options, timeout=(1.0, 1.0)) as container:
        return max(float(np.abs(frame.to_ndarray().astype(float)).max()) for frame in container.decode(audio=0))


async def by_name(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(str(REFERRING["ffconcat"](ground))) > 10_000


async def without_a_name(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ground.folder)
    assert heard(io.BytesIO(REFERRING["ffconcat"](ground).read_bytes())) > 10_000


async def by_playlist(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard(str(REFERRING["HLS"](ground))) > 0.3  # of 1.0


async def by_reference(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    file = HOSTILE["an external track"](ground)
    assert heard(str(file), enable_drefs="1", use_absolute_path="1") > 10_000


@pytest.mark.parametrize("attack", [by_name, without_a_name, by_playlist, by_reference])
async def test_files_do_steal_where_nothing_is_done(
    attack: Callable[[Ground, pytest.MonkeyPatch], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await attack(Ground(tmp_path).prepared(), monkeypatch)


@pytest.mark.parametrize(("name", "seen"), [("HLS, a URL", "connections"), ("SDP", "bound")])
async def test_files_do_call_where_nothing_is_done(name: str, seen: str, tmp_path: Path) -> None:
    async with watched(tmp_path / "ground") as (ground, watch):
        file = REFERRING[name](ground)
        source = io.BytesIO(file.read_bytes()) if name == "SDP" else str(file)
        options = {} if name == "SDP" else {"protocol_whitelist": "file,http,tcp"}
        with suppress(av.error.FFmpegError):
            await asyncio.to_thread(heard, source, **options)
        assert getattr(watch, seen)
