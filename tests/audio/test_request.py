"""Who is really connected to. Each guard is tested beside a client without it, which the same trap catches."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.audio.test_addresses import DECEPTIVE
from tests.conftest import no_report
from tests.fakes.nameserver import Internet, running_internet
from tests.fakes.wire import Asked, Manners, Recording, Wire, cut, head, running_wire
from voxtral_serverless.audio.addresses import AddressPolicy
from voxtral_serverless.audio.download import FetchLimits, download
from voxtral_serverless.errors import FetchError, FetchFailed, FetchRefused, FetchRejected

PUBLIC, OTHER, METADATA, LOOPBACK = "8.8.8.8", "1.1.1.1", "169.254.169.254", "127.0.0.1"
LIMITS = FetchLimits(1_000_000, total_s=10, connect_s=5, policy=AddressPolicy(), first_pause_s=0.01)
SOUND, SECRET = Recording(b"sound" * 1000), Recording(b"secret")


@asynccontextmanager
async def around(
    names: dict[str, list[str]], public: Wire | None = None, private: Wire | None = None
) -> AsyncIterator[Internet]:
    """Public servers on port 80 of two addresses, private ones on that of the metadata service and of this machine."""
    roads = {(address, 80): public.place for address in (PUBLIC, OTHER) if public}
    roads |= {(address, 80): private.place for address in (METADATA, LOOPBACK) if private}
    async with running_internet(Internet(names, roads)) as internet:
        yield internet


@asynccontextmanager
async def both(
    names: dict[str, list[str]], manners: Manners = SOUND.serve
) -> AsyncIterator[tuple[Wire, Wire, Internet]]:
    """A public server with these manners, and a private one that nobody may reach."""
    async with (
        running_wire(manners) as public,
        running_wire(SECRET.serve) as private,
        around(names, public, private) as internet,
    ):
        yield public, private, internet


async def got(url: str, folder: Path, limits: FetchLimits = LIMITS) -> bytes:
    await download(url, {}, folder / "recording", limits, no_report)
    return (folder / "recording").read_bytes()


async def naive(url: str) -> bytes:
    """Asked with no guard at all."""
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        return await response.read()


async def checked_then_connected(host: str) -> bytes:
    """The usual mistake: what is checked is looked up once, what is dialled once more."""
    (entry, *_) = await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)
    assert ipaddress.ip_address(entry[4][0]).is_global
    return await naive(f"http://{host}/")


class TestRebinding:
    NAMES = {"rebinds.example": [PUBLIC, LOOPBACK]}  # noqa: RUF012

    async def test_the_trap_works(self) -> None:
        async with both(self.NAMES) as (_, _, internet):
            assert await checked_then_connected("rebinds.example") == b"secret"
        assert internet.lookups == ["rebinds.example"] * 2
        assert internet.dialled == [(LOOPBACK, 80)]

    async def test_one_lookup_and_the_address_it_gave(self, tmp_path: Path) -> None:
        async with both(self.NAMES) as (_, private, internet):
            assert await got("http://rebinds.example/", tmp_path) == SOUND.data
        assert (internet.lookups, internet.dialled) == (["rebinds.example"], [(PUBLIC, 80)])
        assert private.asked == []

    async def test_the_policy_is_asked_again_at_a_reconnect(self, tmp_path: Path) -> None:
        async def manners(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await cut(writer, *(part[:2000] for part in SOUND.answer(asked)))

        async with both(self.NAMES, manners) as (public, private, internet):
            with pytest.raises(FetchRefused):
                await got("http://rebinds.example/", tmp_path)
        assert (internet.lookups, internet.dialled) == (["rebinds.example"] * 2, [(PUBLIC, 80)])
        assert (len(public.asked), private.asked) == (1, [])

    async def test_each_connection_has_its_own_lookup(self, tmp_path: Path) -> None:
        async def manners(asked: Asked, writer: asyncio.StreamWriter) -> None:
            top, body = SOUND.answer(asked)
            await (SOUND.serve(asked, writer) if asked.before else cut(writer, top, body[:2000]))

        async with running_wire(manners) as public, around({"moves.example": [PUBLIC, OTHER]}, public) as internet:
            assert await got("http://moves.example/", tmp_path) == SOUND.data
        assert internet.lookups == ["moves.example"] * 2
        assert internet.dialled == [(PUBLIC, 80), (OTHER, 80)]
        assert public.asked[1].start == 2000


class TestRedirects:
    @pytest.mark.parametrize(
        "target", [f"http://{METADATA}/latest", "http://inside.example/", "http://[::ffff:7f00:1]/"]
    )
    async def test_to_where_nobody_may_go(self, target: str, tmp_path: Path) -> None:
        async def away(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(head(302, Location=target))

        names = {"public.example": [PUBLIC], "inside.example": [LOOPBACK]}
        async with both(names, away) as (public, private, internet):
            with pytest.raises(FetchRefused) as caught:
                await got("http://public.example/", tmp_path)
            assert internet.dialled == [(PUBLIC, 80)]
            assert (len(public.asked), private.asked) == (1, [])
            if "::" not in target:  # the roads are for IPv4
                assert await naive("http://public.example/") == b"secret"
        assert METADATA not in str(caught.value)

    async def test_off_the_list_of_hosts(self, tmp_path: Path) -> None:
        async def away(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if asked.headers["host"] == "a.example.org":
                writer.write(head(302, Location="http://elsewhere.example/"))
            else:
                await SOUND.serve(asked, writer)

        names = {"a.example.org": [PUBLIC], "elsewhere.example": [PUBLIC]}
        listed = replace(LIMITS, policy=AddressPolicy(hosts=("*.example.org",)))
        async with running_wire(away) as public, around(names, public):
            with pytest.raises(FetchRefused):
                await got("http://a.example.org/", tmp_path, listed)
            assert len(public.asked) == 1
            assert await got("http://a.example.org/", tmp_path) == SOUND.data

    async def test_refused_address_is_in_the_log_and_the_path_is_not(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with around({"inside.example": ["10.0.0.1"]}):
            with pytest.raises(FetchRefused) as caught:
                await got("http://inside.example/cAnArY?cAnArY", tmp_path)
        assert "the address 10.0.0.1 is not dialled: not global" in caplog.text
        assert "10.0.0.1" not in str(caught.value)
        assert "cAnArY" not in caplog.text


class TestNames:
    NAMES = {"localhost": [LOOPBACK], "127.0.0.1.nip.io": [LOOPBACK], "example.com": [PUBLIC]}  # noqa: RUF012

    @pytest.mark.parametrize("url", DECEPTIVE)
    async def test_deceptive_host_is_not_reached(self, url: str, tmp_path: Path) -> None:
        async with running_wire(SECRET.serve) as private, around(self.NAMES, private=private) as internet:
            with pytest.raises(FetchError) as caught:
                await got(url, tmp_path)
        assert isinstance(caught.value, FetchRefused | FetchRejected)
        assert (internet.dialled, private.asked) == ([], [])

    async def test_the_trap_works(self) -> None:
        async with running_wire(SECRET.serve) as private, around(self.NAMES, private=private):
            for url in ("http://127.0.0.1.nip.io/", "http://localhost./", "http://example.com@127.0.0.1/"):
                assert await naive(url) == b"secret"

    async def test_name_that_is_none_is_looked_up_once(self, tmp_path: Path) -> None:
        async with around({}) as internet:
            with pytest.raises(FetchFailed, match="no server of the name"):
                await got("http://missing.example/", tmp_path)
        assert internet.lookups == ["missing.example"]

    async def test_server_that_cannot_be_reached_is_tried_five_times(self, tmp_path: Path) -> None:
        async with around({"public.example": [PUBLIC]}) as internet:
            with pytest.raises(FetchFailed):
                await got("http://public.example/", tmp_path)
        assert internet.dialled == [(PUBLIC, 80)] * 5


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "own.pem"
    file.write_bytes(plain + made.public_bytes(pem))
    return file


async def test_certificate_that_nobody_vouches_for_is_final(certificate: Path, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    served: list[object] = []
    server = await asyncio.start_server(lambda _, writer: served.append(writer), LOOPBACK, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    anywhere = replace(LIMITS, policy=AddressPolicy(allow_private=True))
    try:
        with pytest.raises(FetchRejected, match="certificate"):
            await got(f"https://127.0.0.1:{port}/", tmp_path, anywhere)
    finally:
        server.close()
    assert served == []
