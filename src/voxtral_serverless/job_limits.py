"""Bounds of what a job brings along: the URL of its recording, headers for that server, and metadata to be echoed.

Promises: a fault is told without a word of a header's value. Left out: the other fields (`contract`), and where the
headers are sent, and whether the URL may be asked (`audio.request`, `audio.addresses`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import JsonValue

MAX_URL_CHARACTERS = 8192
MAX_HEADERS, MAX_HEADERS_CHARACTERS = 16, 16_384
MAX_METADATA_BYTES, MAX_METADATA_DEPTH = 100_000, 32
REFUSED_HEADERS = frozenset({
    "host", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
    "accept-encoding", "content-length", "content-encoding", "connection", "keep-alive", "proxy-connection",
    "proxy-authorization", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "expect",
    "http2-settings",
})  # fmt: skip
"""Those of the download itself and of the connection."""


def web_address(value: str) -> str:
    """The URL without space around it; a ValueError where it is not one that can be fetched."""
    value = value.strip()
    if len(value) > MAX_URL_CHARACTERS:
        raise ValueError(f"longer than {MAX_URL_CHARACTERS} characters")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise ValueError("not a valid URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("only http and https URLs are fetched, e.g. https://example.com/call.wav")
    return value


def sendable_headers(value: object) -> dict[str, str]:
    """The headers with values stripped; a ValueError, that quotes no value, where they cannot be sent along."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise ValueError('an object of strings is needed, e.g. {"Authorization": "Bearer …"}')
    headers = {name: text.strip() for name, text in value.items()}
    if len(headers) > MAX_HEADERS or sum(map(len, [*headers, *headers.values()])) > MAX_HEADERS_CHARACTERS:
        raise ValueError(f"more than {MAX_HEADERS} headers, or {MAX_HEADERS_CHARACTERS} characters in all")
    _check_names(list(headers))
    if not all(text.isascii() and text.isprintable() for text in headers.values()):
        raise ValueError("a value holds something other than printable ASCII characters")
    return headers


def _check_names(names: list[str]) -> None:
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", name) for name in names):
        raise ValueError("a name is none that a header can have")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("a name is there twice")
    if ours := sorted(name for name in names if name.lower() in REFUSED_HEADERS):
        raise ValueError(f"{', '.join(ours)}: the worker's own, or the connection's, and not to be set")


def bounded_metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The object as it is; a ValueError where JSON cannot carry it (NaN, half a character), or it is too much."""
    layer: list[JsonValue] = [value]
    for _ in range(MAX_METADATA_DEPTH):
        layer = [below for one in layer for below in _below(one)]
    if layer:
        raise ValueError(f"nested more than {MAX_METADATA_DEPTH} deep")
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except ValueError as error:
        raise ValueError("holds NaN, an infinite number or half a character, which JSON cannot carry") from error
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"more than {MAX_METADATA_BYTES} bytes of JSON")
    return value


def _below(value: JsonValue) -> list[JsonValue]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
