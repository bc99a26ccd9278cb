"""Real recordings with flipped bits, and what the decoder makes of them; all of it from a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import numpy as np
from numpy.typing import NDArray

from tests.media import CALL
from voxtral_serverless.qualify.hostile.attempts import attempt
from voxtral_serverless.qualify.media import encode

SECONDS = 1.5
AT_ONCE = 3
LIMIT_S = 60.0
HANG_S = 30.0
BIT_RATES = {"wmav2": 96_000, "libopencore_amrnb": 12_200}
KINDS: tuple[tuple[str, str, int], ...] = (
    ("wav", "pcm_s16le", 16_000), ("wav", "adpcm_ms", 8_000), ("w64", "pcm_s16le", 16_000), ("mp3", "libmp3lame", 44_100),
    ("ogg", "vorbis", 44_100), ("ogg", "libopus", 48_000), ("flac", "flac", 16_000), ("ipod", "aac", 44_100),
    ("mp4", "alac", 44_100), ("adts", "aac", 44_100), ("webm", "libopus", 48_000), ("amr", "libopencore_amrnb", 8_000),
    ("au", "pcm_mulaw", 8_000), ("caf", "pcm_s16be", 44_100), ("aiff", "pcm_s16be", 44_100), ("asf", "wmav2", 44_100),
)  # fmt: skip
"""Container, codec and rate of the files."""
STEREO = ("vorbis", "aac", "alac")
HEAD_BYTES = 400
RATES = (1e-5, 1e-4, 1e-3, 1e-2)
"""How likely each bit of a file is to be flipped."""


@dataclass
class Tally:
    """What became of the files.

    Attributes:
        outcomes: How many ended in which error, or in a `recording`.
        slowest_s: The longest that one took.
        left: Files that should not be there.
    """

    outcomes: Counter[str]
    slowest_s: float = 0.0
    left: int = 0


def recordings(folder: Path) -> list[bytes]:
    """The beginning of the bundled call in every kind of file."""
    made = []
    for container, codec, rate in KINDS:
        file = folder / f"{container}-{codec}"
        samples = np.repeat(_call(rate), 2 if codec in STEREO else 1, axis=0)
        encode(file, samples, container=container, codec=codec, rate=rate, bit_rate=BIT_RATES.get(codec))
        made.append(file.read_bytes())
    return made


def _call(rate: int) -> NDArray[np.int16]:
    resampler, pieces = av.AudioResampler("s16", "mono", rate), []
    with av.open(str(CALL)) as container:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
            if frame.time is not None and frame.time > SECONDS:
                break
    return np.ascontiguousarray(np.concatenate(pieces, axis=1)[:, : round(SECONDS * rate)])


def flipped(files: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` files, in turn, with bits flipped all over or, every third, in the head alone."""
    random = Random(seed)
    for number in range(count):
        data = bytearray(files[number % len(files)])
        bits = 8 * (min(HEAD_BYTES, len(data)) if number % 3 == 0 else len(data))
        flips = random.randint(1, 8) if number % 3 == 0 else max(1, round(bits * random.choice(RATES)))
        for bit in (random.randrange(bits) for _ in range(flips)):
            data[bit // 8] ^= 1 << bit % 8
        yield bytes(data)


async def decode_flipped(folder: Path, count: int, seed: int) -> Tally:
    """Decode `count` flipped files in `folder`, a few at once. An error that is none of ours is raised."""
    tally, files = Tally(Counter()), enumerate(flipped(recordings(folder), count, seed))

    async def work() -> None:
        for number, data in files:
            file = folder / str(number)
            file.write_bytes(data)
            async with asyncio.timeout(HANG_S):
                tried = await attempt(file, folder / f"decoded{number}", LIMIT_S)
            tally.outcomes[tried.code or "recording"] += 1
            tally.slowest_s = max(tally.slowest_s, tried.took_s)
            tally.left += set(tried.left) != {path.name for path in tried.files}
            for path in (*tried.files, file):
                path.unlink()
            (folder / f"decoded{number}").rmdir()

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(work())
    return tally
