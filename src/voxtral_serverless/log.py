"""The log: one event a line on stderr, for who runs the worker, and nothing in it that is not theirs to see.

Promises: whichever logger a message comes from, and in the text of its exception too, a URL is cut to its host,
tokens and the secrets of the environment are `***`, and all of it is at most 4,000 characters; a message that
cannot be put together or written is lost and disturbs nobody. Paths of the worker stay. Left out: what somebody
prints past `logging` (the end of a thread or process by an exception, the runpod SDK's own lines), what a library
sends to a handler of its own (huggingface_hub, which `hub.download` keeps quiet), and transcripts: whoever logs
must not hand them over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Literal
from urllib.parse import quote

from voxtral_serverless.errors import InputError, VoxtralError

Style = Literal["plain", "json"]

job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
"""The job that is being done here: set where it begins, inherited by its tasks and by `asyncio.to_thread`."""

FIELDS = ("stage", "duration_s", "turns", "clips", "audio_s", "percent", "status", "after_s")
"""What a message may carry as `extra` into its JSON."""
SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY", "API_KEY", "RUNPOD_AI_API_KEY", "RUNPOD_API_KEY",
    "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY",
)  # fmt: skip
MIN_SECRET_CHARACTERS = 6
"""A shorter value stands in too many words to be taken out of them."""
MAX_CHARACTERS = 4_000

_URL = re.compile(r"(https?|wss?|s3)(?::|%3a)(?:\\?/|%2f){2}(\S*)", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+])(?::\d{1,5}(?!\d))?", re.IGNORECASE | re.ASCII)
_PATH_WITH_QUERY = re.compile(r"(?<!\S)([^\s/]*/)[^\s?]*\?[^\s=]*=\S*", re.ASCII)
"""As urllib3 writes the URL that failed: without its host."""
_TOKEN = re.compile(r"(?:hf|rpa)_[A-Za-z0-9]{8,}|(?:AKIA|ASIA)[A-Z0-9]{8,}")
_NAMED_TOKEN = re.compile(
    r"(bearer\s{1,8}|x-amz-(?:signature|credential|security-token)\W{1,8}|\bsignature=)[^\s\"'&,;]{6,}",
    re.IGNORECASE | re.ASCII,
)


def set_up_logging(level: int = logging.WARNING, *, style: Style = "plain") -> None:
    """Send the log to stderr, our own from `level` on, that of other libraries from warnings on.

    `plain` is for the command line, and leaves the handlers of a program around us in place. `json` is for the
    worker: one object a line, and no other handler of the root stays. A later `logging.basicConfig`, as `import
    runpod` makes, changes nothing.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if style == "json" or isinstance(handler, _Stderr):
            root.removeHandler(handler)
    if not root.handlers:
        root.addHandler(_Stderr(_Json() if style == "json" else _Plain()))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(style == "json")
    logging.getLogger("voxtral_serverless").setLevel(level)


def log_failure(log: logging.Logger, error: Exception) -> None:
    """Tell why a job failed: by its code alone where the job is at fault, since the message may quote it."""
    if isinstance(error, InputError):
        log.warning("%s", error.code)
    elif isinstance(error, VoxtralError):
        log.warning("%s", error)
    else:
        log.error("the job failed unexpectedly", exc_info=error)


class _Stderr(logging.Handler):
    """Writes to what stderr is at that time."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # closed, full, or none: the work goes on
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Plain(logging.Formatter):
    """`LEVEL logger: message`, and the traceback below."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return _presentable(super().format, record)


class _Json(logging.Formatter):
    """One object, ASCII only, with the names of the runpod SDK's own lines; a traceback is part of the message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "requestId": job_id.get(),
            "level": record.levelname,
            "logger": record.name,
            "message": _presentable(super().format, record),
        }
        return json.dumps(line | _fields(record))


def _presentable(text_of: Callable[[logging.LogRecord], str], record: logging.LogRecord) -> str:
    try:
        text = text_of(record)
    except Exception:  # noqa: BLE001 — an argument's __str__ may raise anything
        text = f"{record.levelname} {record.name}: a message of {record.pathname}:{record.lineno} cannot be shown"
    return _shortened(redacted(text))


def _shortened(text: str) -> str:
    """The beginning and the end, where an exception says what it is."""
    half = MAX_CHARACTERS // 2 - 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]}\n…\n{text[-half:]}"


def _fields(record: logging.LogRecord) -> dict[str, str | float | None]:
    given = {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
    return {name: _field(value) for name, value in given.items()}


def _field(value: object) -> str | float | None:
    """A number as it is, a word without secrets; null for anything else."""
    if isinstance(value, int):
        return value if value.bit_length() < 64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return redacted(value)[:100] if isinstance(value, str) else None


def redacted(text: str) -> str:
    """`text` without the secrets of the environment, paths and queries of URLs, and tokens. Takes linear time."""
    for secret in _secrets():
        text = text.replace(secret, "***")
    text = _URL.sub(_origin, text)
    text = _PATH_WITH_QUERY.sub(r"\1…", text)
    return _NAMED_TOKEN.sub(r"\1***", _TOKEN.sub("***", text))


def _secrets() -> list[str]:
    """The secrets as they are and as a URL, a repr or JSON has them; the longest first: one may hold another."""
    values = [os.environ.get(name, "").strip() for name in SECRETS]
    long = [value for value in values if len(value) >= MIN_SECRET_CHARACTERS]
    return sorted({form for value in long for form in _forms(value)}, key=len, reverse=True)


def _forms(value: str) -> list[str]:
    quoted = [quote(value, safe=safe, errors="replace") for safe in ("", "/")]
    return [value, *quoted, repr(value)[1:-1], json.dumps(value)[1:-1]]


def _origin(url: re.Match[str]) -> str:
    """`https://host:443/…` and the punctuation behind it; no host where that may be a part of a password."""
    scheme, rest = url.groups()
    body = rest.rstrip("\"'>)},.;:\\")
    place = re.split(r"[/?#\\]", body, maxsplit=1)[0]
    host = _HOST.match(place.rpartition("@")[2]) if "@" not in body[len(place) :] else None
    name = host[0] if host else ""
    return f"{scheme}://{name}{'' if name == body else '/…'}{rest[len(body) :]}"
