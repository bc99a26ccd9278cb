"""QuickTime files taken apart: their boxes, and a track whose sound is in another file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl")


def boxes(
    data: bytes | bytearray, wanted: bytes, start: int = 0, end: int | None = None
) -> Iterator[tuple[list[int], int, int]]:
    """The boxes of a kind: the starts of those around each, its own start, its size."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if kind == wanted:
            yield [], start, size
        elif kind in PARENTS:
            for around, inner, inner_size in boxes(data, wanted, start + 8, start + size):
                yield [start, *around], inner, inner_size
        start += max(size, 8)


def alias(target: Path) -> bytes:
    """The record of a Macintosh alias: the only kind of reference that FFmpeg can follow."""
    path = str(target).encode()
    padded = path + b"\0" * (len(path) % 2)
    names = bytes(10) + b"\0" + bytes(27) + bytes(12) + bytes([0]) + bytes(63) + bytes(16) + bytes(4) + bytes(16)
    record = names + struct.pack(">HH", 2, len(padded)) + padded + struct.pack(">HH", 0xFFFF, 0)
    record = record.ljust(160, b"\0")
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def with_external_reference(file: Path, target: Path) -> Path:
    """Let the track's sound be in `target`, wherever the file says that its own begins."""
    data = bytearray(file.read_bytes())
    ((around, start, size),) = boxes(data, b"dref")
    entry = alias(target)
    fresh = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    for parent in around:
        (old,) = struct.unpack_from(">I", data, parent)
        struct.pack_into(">I", data, parent, old + len(fresh) - size)
    data[start : start + size] = fresh
    file.write_bytes(data)
    return file
