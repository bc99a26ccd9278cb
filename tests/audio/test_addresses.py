import ipaddress
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxtral_serverless.audio.addresses import (
    AddressPolicy,
    AddressRefused,
    guarded_socket,
    hosts_of,
    is_public,
    ports_of,
)
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.settings import load_settings

DATA = Path(__file__).parent.parent / "data" / "addresses.txt"
ROWS = [line.split("\t") for line in DATA.read_text("utf-8").splitlines() if line and not line.startswith("#")]
ADDRESSES = [(address, expected) for address, expected in ROWS if "/" not in address]
DECEPTIVE = [url for url, _ in ROWS if "/" in url]
OURS = [
    "::", "fc00::1", "2002:7f00:1::", "2001:0:a00:1::", "not-an-address", "", "127.1", "0x7f000001", "2130706433",
    "2606:4700:4700::1111%eth0", "8.8.8.8%eth0", " 8.8.8.8", "8.8.8.8\n", "08.8.8.8",
]  # fmt: skip
STRICT, ANYWHERE = AddressPolicy(), AddressPolicy(allow_private=True)


def test_the_list_is_whole() -> None:
    assert (len(ADDRESSES), len(DECEPTIVE)) == (59, 13)
    assert sum(expected == "deny" for _, expected in ADDRESSES) == 49


@pytest.mark.parametrize("address", [address for address, expected in ADDRESSES if expected == "deny"] + OURS)
def test_address_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "100.63.255.254", "100.128.0.1", "2606:4700:4700::1111"])
def test_address_is_accepted(address: str) -> None:
    assert is_public(address)


def test_what_is_refused_without_need_is_little() -> None:
    """A guard that refuses everything would pass the other tests."""
    allowed = [address for address, expected in ADDRESSES if expected == "allow"]
    assert [address for address in allowed if not is_public(address)] == ["64:ff9c::1"]


def hides_an_inner_address(ip: ipaddress.IPv6Address) -> bool:
    return bool(ip.ipv4_mapped or ip.sixtofour or ip.teredo)


@settings(max_examples=1000)
@given(st.ip_addresses())
def test_no_address_of_a_kind_that_is_not_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(ip)):
        assert ip.is_global
        assert not any((ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_unspecified))
        assert not isinstance(ip, ipaddress.IPv6Address) or not hides_an_inner_address(ip)


def test_socket_is_made_for_a_public_address_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make = guarded_socket(allow_private=False)
    make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80))).close()
    with pytest.raises(AddressRefused) as caught:
        make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("169.254.169.254", 80)))
    assert "169.254" not in str(caught.value)
    assert "the address 169.254.169.254 is not dialled: not global" in caplog.text
    guarded_socket(allow_private=True)((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))).close()


@pytest.mark.parametrize("url", DECEPTIVE)
def test_deceptive_host_is_refused_or_has_to_be_looked_up(url: str) -> None:
    """What is looked up is refused by its address: see test_download.py, which dials."""
    if url in ("http://localhost./", "http://127.0.0.1.nip.io/"):
        STRICT.check(url)
        return
    with pytest.raises((AddressRefused, ValueError)):
        STRICT.check(url)


ALLOWED = AddressPolicy(ports=frozenset({443}), hosts=("media.example.org", "*.example.com", "8.8.8.8", "2606:4700::1"))


@pytest.mark.parametrize(
    ("url", "policy", "fine"),
    [
        ("https://example.com/a", STRICT, True),
        ("http://example.com:443/a", STRICT, True),
        ("https://example.com:/a", STRICT, True),
        ("https://EXAMPLE.com./a?b=c d", STRICT, True),
        ("https://exämple.com/é", STRICT, True),
        ("https://[2606:4700:4700::1111]/", STRICT, True),
        ("http://example.com:8080/a", STRICT, False),
        ("http://example.com:0/a", ANYWHERE, False),
        ("http://example.com:8080/a", AddressPolicy(ports=frozenset({8080})), True),
        ("http://example.com:8080/a", ANYWHERE, True),
        ("http://user@example.com/a", ANYWHERE, False),
        ("http://user:pw@example.com/a", ANYWHERE, False),
        ("http://@example.com/a", ANYWHERE, False),
        ("ftp://example.com/a", ANYWHERE, False),
        ("//example.com/a", ANYWHERE, False),
        ("http:///a", ANYWHERE, False),
        ("http://exa mple.com/", ANYWHERE, False),
        ("http://exa\nmple.com/", ANYWHERE, False),
        ("http://example.com/\r\nHost: x", ANYWHERE, False),
        (f"http://{'a.' * 126}example.com/", ANYWHERE, False),
        (f"http://{'a.' * 121}example.com/", ANYWHERE, True),
        ("http://127.0.0.1/", ANYWHERE, True),
        ("http://127.0.0.1/", STRICT, False),
        ("https://media.example.org/", ALLOWED, True),
        ("https://MEDIA.example.org./", ALLOWED, True),
        ("https://example.org/", ALLOWED, False),
        ("https://other.example.org/", ALLOWED, False),
        ("https://a.example.com/", ALLOWED, True),
        ("https://a.b.example.com/", ALLOWED, True),
        ("https://example.com/", ALLOWED, False),
        ("https://badexample.com/", ALLOWED, False),
        ("https://a.example.com.evil.org/", ALLOWED, False),
        ("https://8.8.8.8/", ALLOWED, True),
        ("https://[2606:4700::1]/", ALLOWED, True),
        ("https://1.1.1.1/", ALLOWED, False),
        ("https://evil.org/", AddressPolicy(allow_private=True, hosts=("example.org",)), False),
    ],
)
def test_rules_for_urls(url: str, policy: AddressPolicy, fine: bool) -> None:
    if fine:
        policy.check(url)
    else:
        with pytest.raises((AddressRefused, ValueError)):
            policy.check(url)


def test_refusal_is_told_to_the_log_without_the_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AddressRefused):
        STRICT.check("http://cAnArY:cAnArY@example.com/cAnArY?cAnArY")
    with pytest.raises(AddressRefused):
        STRICT.check("http://10.0.0.1/cAnArY?cAnArY#cAnArY")
    assert "a URL with the host 'example.com' is refused: a user name stands in it" in caplog.text
    assert "a URL with the host '10.0.0.1' is refused: not global" in caplog.text
    assert "cAnArY" not in caplog.text


hosts = st.sampled_from(["example.com", "127.0.0.1", "[::1]", "0x7f.1", "①.1", "ex\u200bample.com", "a\\b", "a%2f.com"])
urls = st.tuples(
    st.sampled_from(["http", "https", "HTTP", "ftp", "", "javascript"]),
    st.sampled_from(["://", ":", ":///", ":/\\"]),
    st.sampled_from(["", "u@", "u:p@", "example.com@", "\\@"]),
    hosts | st.text(max_size=12),
    st.sampled_from(["", ":", ":80", ":22", ":99999", ":x", ":080"]),
    st.text(max_size=8).map(lambda path: f"/{path}") | st.just(""),
).map("".join)


@settings(max_examples=1000)
@example("http://127.0.0.1\\@example.com/")
@given(urls | st.text(max_size=40))
def test_any_url_is_plain_or_refused(url: str) -> None:
    """What passes is read alike by the parser of the policy and by that of the connection."""
    from yarl import URL

    try:
        STRICT.check(url)
    except (AddressRefused, ValueError):
        return
    parts, asked = urlsplit(url), URL(url)
    assert asked.scheme == parts.scheme
    assert asked.scheme in ("http", "https")
    assert asked.port in (80, 443)
    assert asked.user is None and asked.password is None  # noqa: PT018
    host = asked.raw_host or ""
    assert 0 < len(host.rstrip(".")) <= 253
    assert not host.isascii() or parts.hostname is None or not parts.hostname.isascii() or host == parts.hostname
    assert not host.replace(".", "").isdigit() or is_public(host)


def test_lists_of_the_settings() -> None:
    settings = load_settings(fetch_ports=" 8080, 8443 ", fetch_hosts="Media.example.org,*.example.com. 8.8.8.8")
    expected = AddressPolicy(
        ports=frozenset({80, 443, 8080, 8443}), hosts=("media.example.org", "*.example.com", "8.8.8.8")
    )
    assert AddressPolicy.of(settings) == expected
    assert AddressPolicy.of(load_settings()) == AddressPolicy()
    assert (ports_of(""), hosts_of("")) == (frozenset(), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fetch_ports", "http"), ("fetch_ports", "0"), ("fetch_ports", "65536"), ("fetch_hosts", "*"),
        ("fetch_hosts", "*.*.example.org"), ("fetch_hosts", "https://example.org"), ("fetch_hosts", "exämple.org"),
    ],
)  # fmt: skip
def test_setting_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidConfiguration, match=name.upper()):
        load_settings(**{name: value})
