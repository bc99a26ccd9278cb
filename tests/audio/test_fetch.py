import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from yarl import URL

from tests.conftest import no_report
from tests.fakes.origin import BODY, running_origin
from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.audio.download import FetchLimits
from voxtral_serverless.audio.fetch import InlineAudio, LocalAudio, RemoteAudio, fetch
from voxtral_serverless.audio.request import next_url
from voxtral_serverless.errors import (
    AudioTooLarge,
    DiskFull,
    FetchError,
    FetchFailed,
    FetchNotAudio,
    FetchRefused,
    FetchRejected,
    FetchTimeout,
    SourceNotFound,
    SourceUnreadable,
    VoxtralError,
)
from voxtral_serverless.settings import load_settings

ANYWHERE, GUARDED = AddressPolicy(allow_private=True), AddressPolicy()
LIMITS = FetchLimits(max_bytes=1_000_000, total_s=1.0, connect_s=2.0, policy=ANYWHERE, first_pause_s=0.01)


async def test_url_becomes_a_file_of_ours(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    async with running_origin() as origin:
        url = f"{origin.url}/ok?name=../../etc/passwd"
        file = await fetch(RemoteAudio(url), tmp_path, LIMITS, lambda done, total: told.append((done, total)))
    assert file.read_bytes() == BODY
    assert file == tmp_path / "recording"
    assert list(told[-1]) == [len(BODY), len(BODY)]
    assert origin.requests[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "error", "hint"),
    [
        ("/status/404", FetchRejected, "404"),
        ("/status/403", FetchRejected, "expired"),
        ("/status/401", FetchRejected, "login"),
        ("/status/503", FetchFailed, "retry"),
        ("/status/429", FetchFailed, "retry"),
        ("/html", FetchNotAudio, "web page"),
        ("/never", FetchTimeout, "stopped sending|within 1 s"),
        ("/drip", FetchTimeout, "within 1 s"),
        ("/endless", AudioTooLarge, "1 MB"),
        ("/cut", FetchFailed, "connection"),
        ("/loop", FetchRejected, "redirects"),
    ],
)
async def test_server_that_does_not_deliver(path: str, error: type[VoxtralError], hint: str, tmp_path: Path) -> None:
    async with running_origin() as origin:
        with pytest.raises(error, match=hint) as caught:
            await fetch(RemoteAudio(origin.url + path), tmp_path, LIMITS, no_report)
    assert origin.url not in str(caught.value)


async def test_nobody_listens(tmp_path: Path) -> None:
    async with running_origin() as origin:
        url = origin.url
    with pytest.raises(FetchFailed):
        await fetch(RemoteAudio(url), tmp_path, LIMITS, no_report)


async def test_announced_size_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    async with running_origin() as origin:
        with pytest.raises(AudioTooLarge):
            await fetch(RemoteAudio(f"{origin.url}/ok"), tmp_path, replace(LIMITS, max_bytes=1000), no_report)
    assert list(tmp_path.glob("recording")) == []


@pytest.mark.parametrize("status", [204, 206, 300, 304])
async def test_answer_without_a_whole_body_is_final(status: int, tmp_path: Path) -> None:
    async with running_origin() as origin:
        with pytest.raises(FetchRejected, match=str(status)):
            await fetch(RemoteAudio(f"{origin.url}/status/{status}"), tmp_path, LIMITS, no_report)


@pytest.mark.parametrize("hop", ["", "/to?url="])
async def test_escapes_of_a_signed_url_are_sent_as_they_are(hop: str, tmp_path: Path) -> None:
    target = "/ok?Credential=AK%2F2024&sig=a%2Bb%2F%3D&f=%7Ename%27"
    async with running_origin() as origin:
        await fetch(RemoteAudio(origin.url + (hop + quote(target) if hop else target)), tmp_path, LIMITS, no_report)
    assert origin.targets[-1] == target


async def test_url_that_needs_escapes_gets_them(tmp_path: Path) -> None:
    async with running_origin() as origin:
        await fetch(RemoteAudio(f"{origin.url}/ok?n=é è"), tmp_path, LIMITS, no_report)
    assert origin.targets[-1] == "/ok?n=%C3%A9%20%C3%A8"


@pytest.mark.parametrize(
    "url", ["http://a..b/x", f"http://{'a' * 70}.example/x", "http://exämple..com/", "http://b:99999/"]
)
async def test_host_that_cannot_be_is_final(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        await fetch(RemoteAudio(url), tmp_path, LIMITS, no_report)
    async with running_origin() as origin:
        with pytest.raises(FetchError):
            await fetch(RemoteAudio(f"{origin.url}/to?url={quote(url)}"), tmp_path, LIMITS, no_report)


async def test_compressed_answer_is_refused(tmp_path: Path) -> None:
    async with running_origin() as origin:
        with pytest.raises(FetchRejected, match="compress"):
            await fetch(RemoteAudio(f"{origin.url}/gzip"), tmp_path, LIMITS, no_report)


async def test_server_that_falls_silent_is_left_before_the_total_is_up(tmp_path: Path) -> None:
    patient = replace(LIMITS, total_s=60, connect_s=0.2)
    async with running_origin() as origin:
        with pytest.raises(FetchTimeout, match="stopped sending"):
            await fetch(RemoteAudio(f"{origin.url}/never"), tmp_path, patient, no_report)


async def test_disk_that_fills_up_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "recording").symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        await fetch(InlineAudio(b"sound"), tmp_path, LIMITS, no_report)
    async with running_origin() as origin:
        with pytest.raises(DiskFull):
            await fetch(RemoteAudio(f"{origin.url}/ok"), tmp_path, LIMITS, no_report)


def test_https_is_not_left_for_http() -> None:
    with pytest.raises(FetchRefused):
        next_url(URL("https://a.example/"), "http://a.example/b")
    assert next_url(URL("https://a.example/"), "/b") == URL("https://a.example/b")
    assert next_url(URL("http://a.example/"), "http://b.example/") == URL("http://b.example/")


async def test_redirect_is_followed(tmp_path: Path) -> None:
    async with running_origin() as origin:
        file = await fetch(RemoteAudio(f"{origin.url}/to?url=/ok"), tmp_path, LIMITS, no_report)
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_and_not_dialled(host: str, tmp_path: Path) -> None:
    with pytest.raises(FetchRefused):
        await fetch(RemoteAudio(f"http://{host}/ok"), tmp_path, replace(LIMITS, policy=GUARDED), no_report)


@pytest.mark.parametrize(
    "url", ["http://user:secret@8.8.8.8/a.wav", "http://8.8.8.8:22/", "http://2130706433/", "http://0x7f.1/"]
)
async def test_url_that_is_no_plain_web_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        await fetch(RemoteAudio(url), tmp_path, replace(LIMITS, policy=GUARDED), no_report)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/a", "http://user:pw@127.0.0.1/"])
async def test_redirect_away_from_the_web_is_refused(target: str, tmp_path: Path) -> None:
    async with running_origin() as origin:
        with pytest.raises(FetchRefused):
            await fetch(RemoteAudio(f"{origin.url}/to?url={quote(target)}"), tmp_path, LIMITS, no_report)


async def test_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with running_origin() as origin:
        assert (await fetch(RemoteAudio(f"{origin.url}/ok"), tmp_path, LIMITS, no_report)).exists()


async def test_inline_audio(tmp_path: Path) -> None:
    file = await fetch(InlineAudio(b"sound"), tmp_path, LIMITS, no_report)
    assert file.read_bytes() == b"sound"
    with pytest.raises(AudioTooLarge):
        await fetch(InlineAudio(b"sound"), tmp_path, replace(LIMITS, max_bytes=4), no_report)


async def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(DiskFull):
        await fetch(InlineAudio(b"sound"), tmp_path, LIMITS, no_report)


async def test_local_file_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    assert await fetch(LocalAudio(tmp_path / "a.wav"), tmp_path, LIMITS, no_report) == tmp_path / "a.wav"


async def test_local_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        await fetch(LocalAudio(tmp_path / "missing.wav"), tmp_path, LIMITS, no_report)
    with pytest.raises(SourceUnreadable):
        await fetch(LocalAudio(tmp_path), tmp_path, LIMITS, no_report)
    (tmp_path / "big.wav").write_bytes(b"sound")
    with pytest.raises(AudioTooLarge):
        await fetch(LocalAudio(tmp_path / "big.wav"), tmp_path, replace(LIMITS, max_bytes=4), no_report)
    if os.getuid() != 0:
        (tmp_path / "big.wav").chmod(0)
        with pytest.raises(SourceUnreadable):
            await fetch(LocalAudio(tmp_path / "big.wav"), tmp_path, LIMITS, no_report)


def test_limits_come_from_the_settings() -> None:
    settings = load_settings(max_audio_mb=1.5, fetch_timeout_s=3, fetch_allow_private=True, fetch_min_rate_kib_s=2)
    assert FetchLimits.of(settings) == FetchLimits(1_500_000, 3, 15, ANYWHERE, min_rate=2048)


def test_secrets_of_a_source_are_not_shown() -> None:
    source = RemoteAudio("https://example.com/a?signature=cAnArY", {"Authorization": SecretStr("cAnArY")})
    assert "cAnArY" not in repr(source)
