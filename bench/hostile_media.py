"""Lines 4 and 5 of the scoreboard: hostile media files at the jailed decoder, and at PyAV as it is."""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.hostile.attempts import memory_mb, reset_peak
from voxtral_serverless.qualify.hostile.attempts import QUIET, attempt
from voxtral_serverless.qualify.hostile.files import HOSTILE, REFERRING, WORDS, Ground
from voxtral_serverless.qualify.media import day_of_silence, without_length

Figures = dict[str, Any]
IN_TIME_S = 2.0
PUBLISHED = {"PyAV 18.1.0, of 7 files": {"by path": 2, "from memory": 1}}


async def hostile_media() -> Figures:
    """Line 4. What is loud in files of silence is somebody else's: two bytes a sample."""
    with tempfile.TemporaryDirectory() as name:
        files = {kind: make(_ground(Path(name), kind)) for kind, make in HOSTILE.items()}
        await attempt(files["30% of wav"], Path(name) / "first")  # what is loaded once is loaded
        before_mb = memory_mb("VmRSS")
        reset_peak()
        tried = {kind: await attempt(file, file.parent / "decoded") for kind, file in files.items()}
        grown_mb = memory_mb("VmHWM") - before_mb
        leaked = sum(_loud_bytes(np.fromfile(path, np.int16)) for one in tried.values() for path in one.files)
        told = sum(WORDS in one.told or name in one.told for one in tried.values())
        slowest = max(tried, key=lambda kind: tried[kind].took_s)
        return {
            "what": f"hostile media files ({len(files)}): local bytes leaked; growth of the parent's memory",
            "target": {"leaked_bytes": 0, "grown_mb": 0},
            "measured": {
                "ours": {
                    "leaked_bytes": leaked, "messages_that_name_it": told, "grown_mb": round(grown_mb, 2),
                    "refused": sum(one.code is not None for one in tried.values()),
                    "within_2_s": sum(one.took_s <= IN_TIME_S for one in tried.values()),
                    "slowest": slowest, "slowest_s": round(tried[slowest].took_s, 2),
                },
                f"PyAV {av.__version__}, of {len(REFERRING)} files that refer to others": await _unguarded(files),
            },
            "published": PUBLISHED,
        }  # fmt: skip


def _ground(folder: Path, kind: str) -> Ground:
    own = folder / str(list(HOSTILE).index(kind))
    own.mkdir()
    return Ground(own).prepared()


def _loud_bytes(samples: np.ndarray[Any, Any]) -> int:
    return 2 * int((np.abs(samples.astype(int)) > QUIET).sum())


async def _unguarded(files: dict[str, Path]) -> Figures:
    """How many of the files that refer to others give FFmpeg something to be heard."""
    # A relative name is looked for where the process is.
    ways: dict[str, Callable[[Path], Any]] = {"by path": str, "from memory": lambda file: io.BytesIO(file.read_bytes())}
    found: Figures = {}
    for way, source in ways.items():
        leaked = {}
        for kind in REFERRING:
            with chdir(files[kind].parent):
                leaked[kind] = await asyncio.to_thread(_stolen, source(files[kind]))
        found[way] = {"files": sum(map(bool, leaked.values())), "leaked_bytes": sum(leaked.values())}
    return found


def _stolen(source: Any) -> int:
    pieces, resampler = 0, av.AudioResampler("s16", "mono", 16_000)
    with suppress(av.error.FFmpegError, IndexError), av.open(source, timeout=(1.0, 1.0)) as container:
        for frame in container.decode(audio=0):
            pieces += sum(_loud_bytes(piece.to_ndarray()) for piece in resampler.resample(frame))
    return pieces


async def decode_bomb() -> Figures:
    """Line 5."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        announced = day_of_silence(folder / "day.flac")
        silent = folder / "unannounced.flac"
        silent.write_bytes(announced.read_bytes())
        bombs = {"announced": announced, "unannounced": without_length(silent)}
        ours: Figures = {}
        for kind, file in bombs.items():
            tried = await attempt(file, folder / kind)
            ours[kind] = {"s": round(tried.took_s, 2), "outcome": tried.code}
        return {
            "what": f"24 hours of silence in {announced.stat().st_size} bytes of FLAC: seconds to a refusal",
            "target": IN_TIME_S,
            "measured": {"ours": ours, "PyAV, to the end": await asyncio.to_thread(_decoded_whole, silent)},
        }


def _decoded_whole(file: Path) -> Figures:
    began, samples = time.monotonic(), 0
    with av.open(str(file)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    return {"s": round(time.monotonic() - began, 2), "decoded_mb": round(samples * 2 / 1e6)}
