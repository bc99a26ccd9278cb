"""An answer that RunPod takes: JSON beyond doubt, and small enough.

Promises: what comes back is plain JSON, and as the SDK sends it at most `MAX_RESULT_MB`; the SDK silently loses a
job whose answer is not. A value that JSON cannot carry becomes null, half a character U+FFFD, with the warning
`result_repaired`. An answer that is too large goes to the bucket, whole, and the caller gets its small parts and
`result_url`; without a bucket, or where that fails, parts are left out in a fixed order. What was asked for never
goes absent over this: its key stays and is null (`transcriptions` too: an empty list would say that nobody spoke),
and `meta.warnings` says so (`result_uploaded`, `result_slimmed`).

A job may name the bucket; then its address is held against the policy of `audio.addresses`, the very address that is
dialled, and redirects are not followed. botocore only signs; the connection is aiohttp's, so that a cancelled job
stops at once. Left out: what a public https server does with a PUT that we send it is not checked; old objects are
not deleted; credentials with a session token are not known to RunPod's `s3Config`; a region that stands not in the
host's name is taken for us-east-1, as most servers other than AWS understand it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from voxtral_serverless.audio.addresses import AddressPolicy, AddressRefused
from voxtral_serverless.errors import Notice, ResultTooLarge

if TYPE_CHECKING:
    import aiohttp

    from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

MAX_DEPTH = 300
"""Deeper than the contract lets any object in, and far from where the SDK's `json.dumps` would give up."""
UPLOAD_TIMEOUT_S = 25.0
"""Longest time for all attempts together; `PAUSES_S` are before each of them, `ANSWER_TIMEOUT_S` is for each wait."""
PAUSES_S = (0.0, 1.0, 3.0)
ANSWER_TIMEOUT_S = 15.0
LINK_S = 7 * 86_400
"""How long `result_url` can be used: the longest that S3 allows."""
BULK = ("transcriptions", "text", "files")
"""What is never beside a `result_url`."""
DETAILS = ("metadata", "sentiment_by_speaker", "sentiment", "summary")
"""What is not beside it either, in this order, where it is too large."""
STATUS_HINTS = {
    301: "it is in another region",
    307: "it is in another region",
    403: "check the key and its rights",
    404: "there is no such bucket",
}


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket and the key for it. `trusted` where the operator named it, wherever it is."""

    endpoint_url: str
    name: str
    access_id: str = field(repr=False)
    access_secret: str = field(repr=False)
    trusted: bool = False


def bucket_of(job: Mapping[str, Any], settings: Settings) -> Bucket | None:
    """The bucket that the job brings in its `s3Config`, else the settings' own; None where neither is complete."""
    config = job.get("s3Config")
    names = ("endpointUrl", "bucketName", "accessId", "accessSecret")
    brought = [config.get(name) for name in names] if isinstance(config, Mapping) else []
    key, secret = settings.bucket_access_key_id, settings.bucket_secret_access_key
    ours = [settings.bucket_endpoint_url, settings.bucket_name]
    ours += [part.get_secret_value() if part else None for part in (key, secret)]
    return _complete(brought, trusted=False) or _complete(ours, trusted=True)


def _complete(parts: list[Any], *, trusted: bool) -> Bucket | None:
    texts = [part.strip() for part in parts if isinstance(part, str)]
    usable = [text for text in texts if text and text.isascii() and text.isprintable()]
    match usable:
        case [endpoint_url, name, access_id, access_secret]:
            return Bucket(endpoint_url, name, access_id, access_secret, trusted)
    return None


async def deliverable(
    answer: dict[str, Any],
    *,
    job_id: str,
    settings: Settings,
    bucket: Bucket | None,
    upload_timeout_s: float = UPLOAD_TIMEOUT_S,
) -> dict[str, Any]:
    """`answer` as it can be delivered: itself where possible, else by a bucket or without its largest parts.

    Raises:
        ResultTooLarge: whatever is left out.
    """
    answer, limit = _repaired(answer), int(settings.max_result_mb * 1_000_000)
    size = _sent_bytes(answer)
    if size <= limit:
        return answer
    try:
        policy = AddressPolicy(allow_private=True) if bucket and bucket.trusted else AddressPolicy.of(settings)
        async with asyncio.timeout(min(upload_timeout_s, UPLOAD_TIMEOUT_S)):
            url = await _uploaded(answer, job_id, bucket, policy)
    except TimeoutError:
        return _slimmed(answer, limit, "the bucket did not take it in time")
    except _NotUploaded as error:
        log.warning("an answer of %.3f MB is too large, and not uploaded: %s", size / 1e6, error)
        return _slimmed(answer, limit, str(error))
    log.info("an answer of %.3f MB was uploaded", size / 1e6)
    return _reference(answer, limit, url)


def _sent_bytes(answer: object) -> int:
    """The size of the body that the SDK makes of it."""
    return len(json.dumps({"output": answer}, ensure_ascii=False).encode())


def _repaired(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as plain JSON values, with a warning where that took something away."""
    repair = _Repair()
    plain: dict[str, Any] = repair.plain(answer, 0)
    if not repair.needed:
        return plain
    log.warning("an answer held what JSON cannot carry")
    return _warned(plain, Notice("result_repaired", "what JSON cannot carry became null, half a character U+FFFD."))


class _Repair:
    """Makes plain JSON values of anything.

    Attributes:
        needed: Something was lost over it.
    """

    def __init__(self) -> None:
        self.needed = False

    def plain(self, value: object, depth: int) -> Any:
        match value:
            case None | bool():
                return value
            case str():
                return self._text(value)
            case Integral() | Real():
                return self._number(value)
            case Mapping() if depth < MAX_DEPTH:
                return {self._key(name): self.plain(one, depth + 1) for name, one in value.items()}
            case list() | tuple() if depth < MAX_DEPTH:
                return [self.plain(one, depth + 1) for one in value]
        self.needed = True
        return None

    def _text(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            self.needed = True
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def _number(self, number: Any) -> int | float | None:
        """The number as one of Python's: those of numpy are `Real`s too."""
        try:
            plain = int(number) if isinstance(number, Integral) else float(number)
            json.dumps(plain, allow_nan=False)  # refuses some thousand digits as well
        except (ValueError, OverflowError):
            self.needed = True
            return None
        return plain

    def _key(self, name: object) -> str:
        """A key that is no text is written as `json.dumps` would."""
        return self._text(name) if isinstance(name, str) else json.dumps(self.plain(name, MAX_DEPTH))


def _warned(answer: dict[str, Any], notice: Notice) -> dict[str, Any]:
    meta = answer["meta"] if isinstance(answer.get("meta"), dict) else {}
    warnings = meta["warnings"] if isinstance(meta.get("warnings"), list) else []
    return answer | {"meta": meta | {"warnings": [*warnings, asdict(notice)]}}


def _reference(answer: dict[str, Any], limit: int, url: str) -> dict[str, Any]:
    """The small parts of the answer beside the URL of the whole."""
    told = f"{_too_large(answer, limit)}: the whole of it is at result_url, for {LINK_S // 86_400} days."
    short = _warned(answer, Notice("result_uploaded", told)) | {"result_url": url}
    short |= {name: None for name in BULK if name in short}
    for count in range(len(DETAILS) + 1):
        shorter = short | {name: None for name in DETAILS[:count] if name in short}
        if _sent_bytes(shorter) <= limit:
            return shorter
    raise ResultTooLarge(f"{_too_large(answer, limit)}, and so are its smallest parts; raise MAX_RESULT_MB.")


def _slimmed(answer: dict[str, Any], limit: int, why: str) -> dict[str, Any]:
    """The answer without as few of its parts as will do."""
    missing: list[str] = []
    fault = _too_large(answer, limit)
    for name, slimmer in _slimmer_and_slimmer(answer):
        missing.append(name)
        told = f"{fault}, and is here without {', '.join(missing)}: {why}."
        slim = _warned(slimmer, Notice("result_slimmed", told))
        if _sent_bytes(slim) <= limit:
            return slim
    raise ResultTooLarge(
        f"{fault}, whatever is left out: {why}. Name a bucket that takes it in the job's s3Config or BUCKET_*, or ask "
        "for less."
    )


def _too_large(answer: dict[str, Any], limit: int) -> str:
    return f"the answer has {_sent_bytes(answer) / 1e6:.3g} MB, more than the {limit / 1e6:g} of MAX_RESULT_MB"


def _slimmer_and_slimmer(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What goes next, by name, and the answer without that and all before it."""
    files = answer["files"] if isinstance(answer.get("files"), dict) else {}
    for name in sorted((name for name in files if files[name] is not None), key=lambda name: -_sent_bytes(files[name])):
        files = files | {name: None}
        answer = answer | {"files": files}
        yield f"files.{name}", answer
    turns = answer["transcriptions"] if isinstance(answer.get("transcriptions"), list) else []
    if any(_has_words(turn) for turn in turns):
        bare = [turn | {"words": None} if _has_words(turn) else turn for turn in turns]
        answer = answer | {"transcriptions": bare}
        yield "words", answer
    for name in ("metadata", "text"):
        if answer.get(name) is not None:
            answer = answer | {name: None}
            yield name, answer


def _has_words(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("words") is not None


class _NotUploaded(Exception):
    """Why, in words that the caller may read."""


async def _uploaded(answer: dict[str, Any], job_id: str, bucket: Bucket | None, policy: AddressPolicy) -> str:
    """The URL, signed for a week, at which the answer now lies.

    Raises:
        _NotUploaded: for whatever reason.
    """
    if bucket is None:
        raise _NotUploaded("no bucket is named, by s3Config or BUCKET_*")
    url = _object_url(bucket, job_id, policy)
    body = json.dumps(answer, ensure_ascii=False).encode()
    await _put(url, body, bucket, policy)
    return _signed_link(url, bucket)


def _object_url(bucket: Bucket, job_id: str, policy: AddressPolicy) -> str:
    """Where the answer goes, the bucket in the path: no host is dialled but the one that was named."""
    try:
        policy.check(bucket.endpoint_url)
        parts = urlsplit(bucket.endpoint_url)
    except (AddressRefused, ValueError) as error:
        raise _refused() from error
    if parts.scheme != "https" and not policy.allow_private:
        raise _refused()
    file = re.sub(r"[^A-Za-z0-9._-]", "_", job_id)[:200] or "job"
    folder = f"{quote(parts.path.rstrip('/'), safe='/%')}/{quote(bucket.name, safe='')}/voxtral-serverless"
    return f"{parts.scheme}://{parts.netloc.lower()}{folder}/{file}.json"


def _refused() -> _NotUploaded:
    return _NotUploaded("the bucket's address is refused: this worker uploads to public https servers only")


async def _put(url: str, body: bytes, bucket: Bucket, policy: AddressPolicy) -> None:
    """Send the object, again where that may help."""
    import aiohttp

    connector = aiohttp.TCPConnector(socket_factory=policy.socket_factory())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S)
    failure: str | None = None
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            failure = await _attempt(session, url, body, bucket)
            if failure is None:
                return
    raise _NotUploaded(failure or "")


async def _attempt(session: aiohttp.ClientSession, url: str, body: bytes, bucket: Bucket) -> str | None:
    """None where the bucket has it, else why not; raises where another attempt would not help."""
    import aiohttp
    from yarl import URL

    headers = await asyncio.to_thread(_signed_headers, url, body, bucket)
    try:
        target = URL(url, encoded=True)
        async with session.put(target, data=BytesIO(body), headers=headers, allow_redirects=False) as response:
            return _verdict(response.status)
    except (aiohttp.InvalidURL, UnicodeError) as error:  # no host that a name server can be asked for
        raise _refused() from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, AddressRefused):
            raise _refused() from error
        return "the connection to the bucket failed"


def _verdict(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    hint = f" ({STATUS_HINTS[status]})" if status in STATUS_HINTS else ""
    reason = f"the bucket answered with status {status}{hint}"
    if status in (408, 429) or status >= 500:
        return reason
    raise _NotUploaded(reason)


def _signed_headers(url: str, body: bytes, bucket: Bucket) -> dict[str, str]:
    """The headers of the PUT; blocks (the import, the hash)."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("PUT", url, data=body, headers={"Content-Type": "application/json"})
    S3SigV4Auth(Credentials(bucket.access_id, bucket.access_secret), "s3", _region(url)).add_auth(request)
    return dict(request.headers.items())


def _signed_link(url: str, bucket: Bucket) -> str:
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", url)
    credentials = Credentials(bucket.access_id, bucket.access_secret)
    S3SigV4QueryAuth(credentials, "s3", _region(url), expires=LINK_S).add_auth(request)
    return str(request.url)


def _region(url: str) -> str:
    """The region in the name of the host, as AWS, Backblaze, Wasabi, Scaleway and OVH have it, and DigitalOcean."""
    host = urlsplit(url).hostname or ""
    found = re.search(r"(?:^|[.-])s3[.-](?:dualstack\.)?([a-z0-9-]+)(?:\.[a-z0-9-]+){2,}$", host)
    found = found or re.search(r"(?:^|\.)([a-z0-9]+)\.digitaloceanspaces\.com$", host)
    return found[1] if found else "us-east-1"
