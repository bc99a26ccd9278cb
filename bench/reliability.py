"""The scoreboard of reliability: one line for each number, ours beside others'.

    python bench/reliability.py [--lines 4,5]

Prints one JSON object a line. What is under `measured` was measured in this run; what is under `published` was measured
on another day and is only quoted (2026-11-22, CPython 3.11.7, the versions that are named). Targets:

1. dangerous addresses that a classifier lets through, of the 59 in tests/data/addresses.txt: 0;
2. lookups for a connection to a name whose server changes its answer: 1, and no connection to the second address;
3. the eight troubles of Toxiproxy: each ends in the whole recording or in a typed error, within the deadline and 1 s;
4. local bytes that hostile media files get out of the decoder, and how much the worker's memory grows: 0 and 0;
5. seconds until 24 hours of silence in a small FLAC file are refused: 2;
9. canaries of jobs in the output of a worker: 0.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from canaries import canaries  # noqa: E402
from hostile_media import decode_bomb, hostile_media  # noqa: E402

from tests.fakes.nameserver import Internet, running_internet  # noqa: E402
from tests.fakes.wire import Recording, running_toxic, running_wire, toxics  # noqa: E402
from voxtral_serverless.audio.addresses import AddressPolicy, is_public  # noqa: E402
from voxtral_serverless.audio.download import FetchLimits, download  # noqa: E402
from voxtral_serverless.errors import VoxtralError  # noqa: E402
from voxtral_serverless.reporting import unheard  # noqa: E402

Figures = dict[str, Any]
DEADLINE_S = 5.0
PUBLIC, LOOPBACK = "8.8.8.8", "127.0.0.1"
ANYWHERE = AddressPolicy(allow_private=True)
PUBLISHED_PASSES = {
    "ssrfguard 0.4.1": 4, "safehttpx (Gradio, 2025-10)": 12, "langchain-core 1.7.2": 15,
}  # fmt: skip


async def dangerous_addresses() -> Figures:
    """Line 1."""
    rows = [line.split("\t") for line in (ROOT / "tests/data/addresses.txt").read_text("utf-8").splitlines()]
    dangerous = [row[0] for row in rows if row[1:] == ["deny"] and "/" not in row[0]]
    harmless = [row[0] for row in rows if row[1:] == ["allow"] and "/" not in row[0]]
    classifiers: dict[str, Callable[[str], bool]] = {"ours": is_public, "is_global": _is_global, **_runpods()}
    passes = {name: sum(map(passes, dangerous)) for name, passes in classifiers.items()}
    refused = {name: sum(not passes(row) for row in harmless) for name, passes in classifiers.items()}
    return {
        "what": f"dangerous addresses passed, of {len(dangerous)} among 59",
        "target": 0,
        "measured": passes,
        "measured_harmless_refused": refused,
        "published": PUBLISHED_PASSES,
    }


def _is_global(address: str) -> bool:
    return ipaddress.ip_address(address).is_global


def _runpods() -> dict[str, Callable[[str], bool]]:
    logging.disable(logging.CRITICAL)
    from runpod.serverless.utils.rp_ssrf import is_safe_address

    return {"runpod is_safe_address": is_safe_address}


async def rebinding() -> Figures:
    """Line 2."""
    kinds = {"ours": _download_from_public, "looked up, checked, then asked by name": _checked_then_asked}
    measured = {name: await _rebound(asking) for name, asking in kinds.items()}
    return {"what": "lookups per connection under rebinding", "target": 1, "measured": measured}


async def _rebound(ask: Callable[[str], Awaitable[None]]) -> Figures:
    """What `ask` does to a name that first is a public address and then this machine."""
    recording = Recording(b"sound" * 1000)
    async with running_wire(recording.serve) as public, running_wire(recording.serve) as private:
        roads = {(PUBLIC, 80): public.place, (LOOPBACK, 80): private.place}
        async with running_internet(Internet({"rebinds.example": [PUBLIC, LOOPBACK]}, roads)) as internet:
            await ask("http://rebinds.example/")
    second = sum(address == LOOPBACK for address, _ in internet.dialled)
    lookups = len(internet.lookups) / len(internet.dialled)
    return {"lookups_per_connection": lookups, "connections_to_the_second_address": second}


async def _download_from_public(url: str) -> None:
    await _downloaded(url, AddressPolicy())


async def _checked_then_asked(url: str) -> None:
    """The usual mistake: what is looked up and checked is not what is dialled."""
    import aiohttp

    entries = await asyncio.get_running_loop().getaddrinfo("rebinds.example", 80)
    if not is_public(str(entries[0][4][0])):
        return
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        await response.read()


async def troubles() -> Figures:
    """Line 3."""
    recording = Recording(Random(3).randbytes(256_000))
    clients = {"ours": _downloaded, "aiohttp, one request": _asked_once}
    measured: Figures = {}
    for client, ask in clients.items():
        outcomes = {name: await _outcome(name, recording, ask) for name in toxics(recording)}
        in_time = sum(outcome["s"] <= DEADLINE_S + 1 for outcome in outcomes.values())
        whole = sum(outcome["outcome"] in ("whole", "resumed") for outcome in outcomes.values())
        measured[client] = {"in_time": in_time, "whole": whole, "outcomes": outcomes}
    what = f"troubles of {len(toxics(recording))} that end within {DEADLINE_S:g} s and 1 s"
    return {"what": what, "target": 8, "measured": measured}


async def _outcome(name: str, recording: Recording, ask: Callable[[str], Awaitable[bytes]]) -> Figures:
    async with running_toxic(name, recording) as wire:
        began = time.monotonic()
        try:
            data = await ask(wire.url)
            resumed = any(asked.start for asked in wire.asked)
            outcome = "wrong" if data != recording.data else "resumed" if resumed else "whole"
        except VoxtralError as error:
            outcome = error.code
        except (OSError, _client_error()) as error:
            outcome = f"raises {type(error).__name__}"
        return {"outcome": outcome, "s": round(time.monotonic() - began, 2)}


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


async def _downloaded(url: str, policy: AddressPolicy = ANYWHERE) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording"
        limits = FetchLimits(10_000_000, DEADLINE_S, 1.0, policy)
        await download(url, {}, file, limits, unheard)
        return file.read_bytes()


async def _asked_once(url: str) -> bytes:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        return await response.read()


LINES: dict[int, Callable[[], Awaitable[Figures]]] = {
    1: dangerous_addresses, 2: rebinding, 3: troubles, 4: hostile_media, 5: decode_bomb, 9: canaries,
}  # fmt: skip
"""The numbers, by their place on the scoreboard; a new one is a function that measures, here or in a file beside this."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", default=",".join(map(str, LINES)))
    for number in map(int, parser.parse_args().lines.split(",")):
        print(json.dumps({"line": number, **asyncio.run(_measured(number))}, ensure_ascii=False), flush=True)


async def _measured(number: int) -> Figures:
    return await LINES[number]()


if __name__ == "__main__":
    main()
