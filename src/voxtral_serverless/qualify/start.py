"""How long a start takes, and what is in memory after it: with caches that are new (cold), and with those that it left.

Each start is one of the whole machine room, as a worker's: until jobs could be done. Cold are the engine's own caches
alone; the weights are on the disk in both cases, and what the operating system keeps of files in memory is not touched.
The caches lie among the temporary files, whose peak is therefore nobody's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.qualify.watch import watching
from voxtral_serverless.services import running_services
from voxtral_serverless.settings import Settings
from voxtral_serverless.startup import StartUp, follow

CACHE = "engine-cache"


def units(settings: Settings, folder: Path) -> Iterator[Unit]:
    """The cold start and the warm one; their caches are in `folder`. No services may run meanwhile."""
    yield Unit("start/cold", partial(_cold, settings, folder / CACHE))
    yield Unit("start/warm", partial(_warm, settings, folder / CACHE))


async def _cold(settings: Settings, cache: Path) -> Reading:
    shutil.rmtree(cache, ignore_errors=True)
    return await _started(settings, cache)


async def _warm(settings: Settings, cache: Path) -> Reading:
    if not cache.exists():  # the cold start was measured by an earlier command, and its caches are gone
        await _started(settings, cache)
    return await _started(settings, cache)


async def _started(settings: Settings, cache: Path) -> Reading:
    startup = StartUp()
    follow(startup)
    cached = settings.model_copy(update={"engine_cache_dir": cache})
    async with watching() as watch:
        began = time.monotonic()
        async with running_services(cached) as services:
            await services.ready()
            ready_s = time.monotonic() - began
    return {
        "ready_s": round(ready_s, 3),
        "phases_s": dict(startup.phases()),
        "peaks": watch.peaks() | {"disk_mib": None},
    }
