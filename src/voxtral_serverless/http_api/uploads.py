"""Bodies of requests: forms with a file, streamed to the disk, and JSON, both bounded.

Promises: no more than the limit is written or kept in memory, the file's name is ours, and of an upload that is cut off,
stalls, or is not taken nothing stays. Leaves out: what is in the file (`audio.decode`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from voxtral_serverless.errors import BodyTooLarge, DiskFull, InvalidJob

if TYPE_CHECKING:
    from python_multipart.multipart import Field, File, FormParser
    from starlette.requests import Request

NEW = "new-"
"""Begins the name of the folder of an upload that is still coming."""
MAX_FIELDS, MAX_FIELD_BYTES = 100, 1_000_000
MAX_JSON_BYTES = 32_000_000
"""More than RunPod carries; a larger recording comes as a file, or by URL."""
STALL_S = 60.0
"""Longest wait for the next bytes."""
BATCH_BYTES = 1 << 20
"""So much is handed to a thread at a time."""


@dataclass
class Form:
    """What came in a form: its fields, each with all its values, and its file, if there is one."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: Path | None = None

    def text(self, name: str) -> str | None:
        """The one value of a field; None where it is not there.

        Raises:
            InvalidJob: there are several.
        """
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise InvalidJob(f"the form has the field {name[:60]!r} more than once.")
        return values[0] if values else None


@asynccontextmanager
async def received_form(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Form]:
    """The form of a request. Its file is in `folder`, and is deleted when the block is left, unless it was moved.

    Raises:
        InvalidJob: it is no multipart form, or has more than one file.
        BodyTooLarge: it has more than `max_bytes`.
        DiskFull: there is no room for it.
    """
    own = folder / f"{NEW}{uuid4().hex}"
    own.mkdir(mode=0o700)
    try:
        form = Form()
        await _read(request, form, own, max_bytes + MAX_FIELD_BYTES)
        yield form
    finally:
        await asyncio.to_thread(shutil.rmtree, own, ignore_errors=True)


async def _read(request: Request, form: Form, folder: Path, max_bytes: int) -> None:
    from python_multipart.exceptions import FormParserError

    try:
        parser = _parser(request, form, folder)
        async for batch in _batches(request, max_bytes):
            await asyncio.to_thread(parser.write, batch)
        await asyncio.to_thread(parser.finalize)
    except FormParserError as error:
        raise InvalidJob("the body is not a whole multipart/form-data form.") from error
    except OSError as error:
        raise DiskFull("there is no room for the upload.") from error


def _parser(request: Request, form: Form, folder: Path) -> FormParser:
    from python_multipart.multipart import FormParser, parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidJob("the body is not multipart/form-data.")

    def on_field(one: Field) -> None:
        name = (one.field_name or b"").decode("utf-8", "replace").removesuffix("[]")
        form.fields.setdefault(name, []).append((one.value or b"").decode("utf-8", "replace"))

    def on_file(one: File) -> None:
        if form.file is not None:
            raise InvalidJob("the form has more than one file.")
        if one.in_memory:
            one.flush_to_disk()
        assert one.actual_file_name is not None
        one.close()
        form.file = Path(one.actual_file_name.decode())

    config = {
        "MAX_FIELDS": MAX_FIELDS, "MAX_FIELD_SIZE": MAX_FIELD_BYTES,
        "MAX_MEMORY_FILE_SIZE": 0, "UPLOAD_DIR": str(folder), "UPLOAD_DELETE_TMP": False,
    }  # fmt: skip
    return FormParser("multipart/form-data", on_field, on_file, boundary=options[b"boundary"], config=config)


async def received_json(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        InvalidJob: it is none.
        BodyTooLarge: it is too long.
    """
    body = await body_of(request, MAX_JSON_BYTES)
    try:
        found = await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(
            'the body is not valid JSON; a job looks like {"input": {"audio_url": "https://…"}}.'
        ) from error
    if not isinstance(found, dict):
        raise InvalidJob('a job is an object with an object "input", e.g. {"input": {"audio_url": "https://…"}}.')
    return found


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
    received, batch = 0, bytearray()
    async for chunk in _in_time(request.stream()):
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
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
