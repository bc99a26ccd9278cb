"""What comes in by HTTP: bounded, streamed to the disk, and gone where it is not taken."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.http_api.near import TICKS, Near, inline, near_service, rows, traces
from tests.http_api.service import Service, running_service
from tests.test_child import eventually
from voxtral_serverless.http_api import uploads

MOST_MB, LARGE_MB, SLACK_MB = 1.0, 300, 40
"""What the service takes here; and an upload to measure by, in whose course it may grow by so much."""
BOUNDARY = "----c0ffee"


def part(name: str, content: bytes, file: str | None = None, boundary: str = BOUNDARY) -> bytes:
    """A part of a form."""
    named = f'; filename="{file}"' if file is not None else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


pytestmark = pytest.mark.asyncio(loop_scope="module")

END = f"--{BOUNDARY}--\r\n".encode()
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
SOUND = part("file", TICKS, "call.wav")
FILE = ("file", ("call.wav", TICKS))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Near]:
    """A service that takes jobs in, and does none."""
    async with near_service(tmp_path_factory.mktemp("data"), works=False, max_audio_mb=MOST_MB) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def near(running: Near) -> AsyncIterator[Near]:
    """It has no jobs."""
    yield running
    for row in rows(running.parts.desk.uploads.parent):
        await running.client.delete(f"/jobs/{row['id']}")


async def check_refused(near: Near, temporary: Path, status: int, code: str, **request: Any) -> str:
    """It is refused, and nothing of it stays; what was said."""
    answer = await near.client.post("/run", **request)
    assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (status, code), answer.text
    check_nothing_stays(near, temporary)
    return str(answer.json()["error"])


def check_nothing_stays(near: Near, temporary: Path) -> None:
    assert (near.uploads, rows(near.parts.desk.uploads.parent)) == ([], [])
    assert not [path for path in temporary.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (SOUND + part("file", TICKS, "b.wav") + END, MULTIPART, "more than one file"),
        (part("input", b"{}") + END, MULTIPART, "no file"),
        (SOUND, MULTIPART, "not a whole"),
        (SOUND + part("input", b'{"task": "transcribe"}')[:-9], MULTIPART, "not a whole"),
        (SOUND + END[:-4], MULTIPART, "not a whole"),
        (SOUND.replace(b'name="file"; ', b"") + END, MULTIPART, "not a whole"),
        (SOUND.replace(b"form-data", b"attachment") + END, MULTIPART, "not a whole"),
        (SOUND[: len(SOUND) // 2], MULTIPART, "not a whole"),
        (SOUND + part("input", b"{}") + part("input", b"{}") + END, MULTIPART, "more than once"),
        (SOUND + part("inputs", b"{}") + END, MULTIPART, "unknown field 'inputs'"),
        (SOUND + part("input", b"{") + END, MULTIPART, "not valid JSON"),
        (SOUND + part("input", b"[]") + END, MULTIPART, "not a JSON object"),
        (SOUND + part("input", b'{"a":' * 5000) + END, MULTIPART, "not valid JSON"),
        (SOUND + part("input", b'{"audio_url": "http://example.com/a.wav"}') + END, MULTIPART, "exactly one recording"),
        (SOUND + part("webhook", b"ftp://example.com") + END, MULTIPART, "webhook"),
        (b"".join(part(f"f{number}", b"") for number in range(200)) + SOUND + END, MULTIPART, "more than 100 fields"),
        (part("input", b" " * 900_000) + part("policy", b" " * 200_000) + SOUND + END, MULTIPART, "besides its file"),
        (b"nonsense" * 1000, MULTIPART, "not a whole"),
        (b"", MULTIPART, "not a whole"),
        (SOUND + END, "multipart/form-data", "multipart"),
        (SOUND + END, "multipart/form-data; boundary=", "multipart"),
        (SOUND + END, "multipart/form-data; boundary=another", "not a whole"),
        (b'{"input": {}', "application/json", "not valid JSON"),
        (b"", "application/json", "not valid JSON"),
        (b"[]", "application/json", "an object"),
        (b"\xff\xfe", "application/json", "not valid JSON"),
        (b'{"input": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "application/json", "not valid JSON"),
        (b'{"input": {"a": ' + b"9" * 5000 + b"}}", "application/json", "not valid JSON"),
    ],
)  # fmt: skip
async def test_broken_body(near: Near, body: bytes, kind: str, said: str, temporary: Path) -> None:
    headers = {"Content-Type": kind}
    assert said in await check_refused(near, temporary, 400, "invalid_input", content=body, headers=headers)


@pytest.mark.parametrize("depth", [98, 99, 150, 700, 850, 900, 950, 980, 1500])
async def test_no_depth_of_json_is_our_fault(near: Near, depth: int) -> None:
    """What can be read at one depth of the stack may not be written at another."""
    body = b'{"input": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    answer = await near.client.post("/run", content=body)
    assert answer.status_code == (200 if depth < 99 else 400), answer.text
    if depth < 99:
        assert (await near.status(answer.json()["id"]))["status"] == "IN_QUEUE"


@pytest.mark.parametrize(
    "policy", [{"ttl": 10**400}, {"ttl": -1}, {"executionTimeout": "x"}, {"ttl": True}, {"ttl": 1e300}]
)
async def test_no_policy_is_our_fault(near: Near, policy: dict[str, Any]) -> None:
    answer = await near.client.post("/run", content=json.dumps(inline(TICKS) | {"policy": policy}))
    assert answer.status_code in (200, 400), answer.text


async def test_too_large(near: Near, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is announced, before anything is read; and by what comes, where nothing is."""
    sound = bytes(int(MOST_MB * 1e6) + 1_100_000)
    form = {"files": {"file": ("call.wav", sound)}}
    assert "MAX_AUDIO_MB" in await check_refused(near, temporary, 413, "body_too_large", **form)
    body, headers = part("file", sound, "call.wav") + END, {"Content-Type": MULTIPART}
    await check_refused(near, temporary, 413, "body_too_large", content=in_pieces(body), headers=headers)
    monkeypatch.setattr(uploads, "MAX_JSON_BYTES", 1000)
    await check_refused(near, temporary, 413, "body_too_large", json=inline(TICKS))
    await check_refused(near, temporary, 413, "body_too_large", content=in_pieces(b" " * 2000))


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not announced."""
    for begin in range(0, len(body), 50_000):
        yield body[begin : begin + 50_000]


async def test_file_is_taken_as_it_is(near: Near) -> None:
    job_id = await near.send(input='{"task": "transcribe"}', policy='{"ttl": 60000}')
    [upload] = near.uploads
    assert (upload.name, upload.read_bytes()) == (job_id, TICKS)
    assert upload.stat().st_mode & 0o077 == near.parts.desk.uploads.stat().st_mode & 0o077 == 0
    [row] = rows(near.parts.desk.uploads.parent)
    assert (row["upload"], json.loads(row["request"])["input"]) == (job_id, {"task": "transcribe"})


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "\\\\host\\evil", "", "a" * 3000, "\u00e9\x01.wav", "job"])
async def test_name_of_a_file_is_ours(near: Near, name: str) -> None:
    answer = await near.client.post("/run", files={"file": (name, TICKS)})
    if not name:  # then it is a field
        assert answer.status_code in (200, 400)
        return
    job_id = answer.json()["id"]
    assert [path.name for path in near.uploads] == [job_id]
    folder = near.parts.desk.uploads.parent
    assert not list(folder.rglob("*evil*"))
    assert not (folder.parent / "evil").exists()
    assert traces(folder, "evil") == []


async def test_upload_that_is_cut_off(near: Near, temporary: Path) -> None:
    reader, writer = await begun(near, 500_000)
    writer.write(SOUND)
    await writer.drain()
    assert await eventually(lambda: len(near.uploads) == 1, 5), "the trap was not set"
    writer.close()
    assert await eventually(lambda: near.uploads == [], 10)
    check_nothing_stays(near, temporary)
    assert await reader.read() == b""


async def test_upload_that_stalls(near: Near, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "STALL_S", 0.3)
    reader, writer = await begun(near, 500_000)
    writer.write(SOUND)
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 10)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"nothing more of the body came" in answer
    check_nothing_stays(near, temporary)
    writer.close()


async def begun(near: Near, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request with a form of so many bytes, of which none is sent yet."""
    place = urlsplit(near.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = ("POST /run HTTP/1.1", f"Host: {place.netloc}", f"Content-Type: {MULTIPART}", f"Content-Length: {length}")
    writer.write("\r\n".join((*head, "", "")).encode())
    await writer.drain()
    return reader, writer


@pytest_asyncio.fixture(loop_scope="module")
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A service as a process of its own."""
    async with running_service(tmp_path / "service") as running:
        yield running


def resident_mb(service: Service, which: str) -> float:
    """The memory of the service itself, now (`VmRSS`) or at its most (`VmHWM`)."""
    lines = Path(f"/proc/{service.process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:")) / 1000


async def test_memory_does_not_grow_with_an_upload(service: Service) -> None:
    answer = await service.client.post("/run", files={"file": ("a.wav", TICKS)})
    await service.over(answer.json()["id"])
    before_mb = resident_mb(service, "VmRSS")
    await asyncio.to_thread(send_zeros, service.url, LARGE_MB)
    grown_mb = resident_mb(service, "VmHWM") - before_mb
    print(f"{LARGE_MB} MB sent: the service grew by {grown_mb:.0f} MB at most")  # noqa: T201 — a figure to be stated
    assert grown_mb < SLACK_MB
    assert await eventually(lambda: service.uploads() == [], 10)


def send_zeros(url: str, megabytes: int) -> None:
    """Send so much of a file, and then hang up."""
    place, piece = urlsplit(url), bytes(1_000_000)
    with socket.create_connection((place.hostname, place.port or 80), 60) as connection:
        head = f"POST /run HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: {MULTIPART}\r\nContent-Length: 999999999\r\n\r\n"
        connection.sendall(head.encode() + part("file", b"", "a.wav").removesuffix(b"\r\n"))
        for _ in range(megabytes):
            connection.sendall(piece)
