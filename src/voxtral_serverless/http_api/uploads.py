"""Bodies of requests: forms with a file, streamed to the disk, and JSON, both bounded.

Promises: no more than the limit is written or kept in memory, and of an upload that is cut off,
stalls, or is not taken nothing stays. Leaves out: what is in the file (`audio.decode`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from voxtral_serverless.errors import BodyTooLarge, DiskFull, InvalidJob
from voxtral_serverless.http_api.forms import MAX_FIELDS_BYTES, Form, FormReader

if TYPE_CHECKING:
    from starlette.requests import Request

NEW = "new-"
"""Begins the name of the folder of an upload that is still coming."""
EXAMPLE = '{"input": {"audio_url": "https://…"}}'
MAX_JSON_DEPTH = 100
MAX_JSON_BYTES = 32_000_000
"""More than RunPod carries; a larger recording comes as a file, or by URL."""
STALL_S = 60.0
"""Longest wait for the next bytes."""
MIN_RATE = 16 * 1024
"""Bytes a second that have to come, on the whole, after `STALL_S`."""
MAX_JSON_VALUES = 1_000_000
BATCH_BYTES = 1 << 20
"""So much is handed to a thread at a time."""


@asynccontextmanager
async def received_form(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Form]:
    """The form of a request. Its file is in `folder`, and is deleted when the block is left, unless it was moved.

    Raises:
        InvalidJob: it is no multipart form, or has more than one file.
        BodyTooLarge: it has more than `max_bytes`.
        DiskFull: there is no room for it.
    """
    own = folder / f"{NEW}{uuid4().hex}"
    try:
        yield await _read(request, own, max_bytes + MAX_FIELDS_BYTES)
    finally:
        await asyncio.to_thread(shutil.rmtree, own, ignore_errors=True)


async def _read(request: Request, folder: Path, max_bytes: int) -> Form:
    boundary = _boundary_of(request)
    try:
        folder.mkdir(mode=0o700)
        with closing(FormReader(boundary, folder)) as reader:
            async for batch in _batches(request, max_bytes):
                await asyncio.to_thread(reader.write, batch)
            return reader.finish()
    except OSError as error:
        raise DiskFull("there is no room for the upload.") from error


def _boundary_of(request: Request) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidJob("the body is not multipart/form-data.")
    return options[b"boundary"]


async def received_json(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        InvalidJob: it is none.
        BodyTooLarge: it is too long.
    """
    body = await body_of(request, MAX_JSON_BYTES)
    try:
        found = await asyncio.to_thread(parsed_json, body)
    except ValueError as error:
        raise InvalidJob(f"the body is {error}; a job looks like {EXAMPLE}.") from error
    if not isinstance(found, dict):
        raise InvalidJob(f'a job is an object with an object "input", e.g. {EXAMPLE}.')
    return found


def parsed_json(text: str | bytes) -> Any:
    """What it says in JSON, which can be written again; a ValueError, that says what is wrong, where it is none."""
    commas = text.count(b",") if isinstance(text, bytes) else text.count(",")
    if commas > MAX_JSON_VALUES:  # each of them costs far more memory than its byte
        raise ValueError(f"JSON with more than {MAX_JSON_VALUES} values")
    try:
        layer = [found := json.loads(text)]
    except (ValueError, RecursionError) as error:
        raise ValueError("not valid JSON") from error
    for _ in range(MAX_JSON_DEPTH):
        layer = [below for one in layer if isinstance(one, dict | list) for below in _items(one)]
    if layer:
        raise ValueError(f"JSON nested more than {MAX_JSON_DEPTH} deep")
    return found


def _items(one: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return one.values() if isinstance(one, dict) else one


async def body_of(request: Request, max_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        BodyTooLarge: it is longer than that.
        InvalidJob: it stops coming.
    """
    return b"".join([batch async for batch in _batches(request, max_bytes)])


async def _batches(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body, in pieces worth a thread's while.

    Raises:
        BodyTooLarge: by what it announces, or by what comes.
        InvalidJob: nothing comes any more.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    received, batch, began = 0, bytearray(), time.monotonic()
    async for chunk in _in_time(request.stream()):
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        if received < MIN_RATE * (time.monotonic() - began - STALL_S):
            raise InvalidJob(f"the body comes with less than {MIN_RATE / 1024:g} KiB/s.")
        batch += chunk
        if len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)


async def _in_time(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise InvalidJob(f"nothing more of the body came for {STALL_S:.0f} s.") from error
        yield chunk


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than {max_bytes / 1e6:g} MB; send a file (MAX_AUDIO_MB), or a URL.")
