"""A form, `multipart/form-data`, read piece by piece as it comes.

Promises: its file is written to a file whose name is ours, and is on the disk when `finish` returns; its fields, which
stay in memory, are few and short; a form without its end is none. Leaves out: the request that brings it (`uploads`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from voxtral_serverless.errors import InvalidJob

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS, MAX_FIELDS_BYTES = 100, 1_000_000
"""Of all fields together."""
FILE_NAME = "file"


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


class FormReader:
    """Reads a form whose parts end with `boundary`; its file goes to `folder`. To be closed."""

    def __init__(self, boundary: bytes, folder: Path) -> None:
        from python_multipart.multipart import MultipartParser

        self._form, self._folder, self._files = Form(), folder, ExitStack()
        self._parser = MultipartParser(boundary, self._callbacks())
        self._header, self._headers = (bytearray(), bytearray()), dict[str, bytes]()
        self._name, self._value = "", bytearray()
        self._file: IO[bytes] | None = None
        self._count = self._kept_bytes = 0
        self._whole = False

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin, "on_header_field": self._header_name, "on_header_value": self._header_value,
            "on_header_end": self._header_end, "on_headers_finished": self._open, "on_part_data": self._data,
            "on_part_end": self._end, "on_end": self._all_ended,
        }  # fmt: skip

    def write(self, data: bytes) -> None:
        """Read what comes next.

        Raises:
            InvalidJob: it is no form, or one with too much in it.
            OSError: it cannot be written.
        """
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken() from error

    def finish(self) -> Form:
        """The form, all of which has come.

        Raises:
            InvalidJob: its end has not.
        """
        if not self._whole:
            raise _broken()
        return self._form

    def close(self) -> None:
        """Leave it, wherever it is."""
        self._files.close()

    def _begin(self) -> None:
        self._headers, self._file, self._value = {}, None, bytearray()
        self._count += 1
        if self._count > MAX_FIELDS:
            raise InvalidJob(f"the form has more than {MAX_FIELDS} fields.")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).decode("latin-1").lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _open(self) -> None:
        from python_multipart.multipart import parse_options_header

        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _broken()
        self._name = options[b"name"].decode("utf-8", "replace").removesuffix("[]")
        name = options.get(b"filename", options.get(b"filename*"))
        if name is not None:
            self._open_file()

    def _open_file(self) -> None:
        if self._form.file is not None:
            raise InvalidJob("the form has more than one file.")
        self._form.file = self._folder / FILE_NAME
        self._file = self._files.enter_context(_new(self._form.file))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._kept_bytes += end - start
        if self._kept_bytes > MAX_FIELDS_BYTES:
            raise InvalidJob(f"the form has more than {MAX_FIELDS_BYTES} bytes besides its file.")
        self._value += data[start:end]

    def _end(self) -> None:
        if self._file is None:
            self._form.fields.setdefault(self._name, []).append(self._value.decode("utf-8", "replace"))
            return
        self._file.flush()
        os.fsync(self._file.fileno())  # a job that was accepted outlives the machine's power
        self._file.close()

    def _all_ended(self) -> None:
        self._whole = True


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _broken() -> InvalidJob:
    return InvalidJob("the body is not a whole multipart/form-data form.")
