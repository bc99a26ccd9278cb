"""Where a job may make the worker connect to: the public web and nothing else.

Promises: `AddressPolicy.check` judges a URL before anything is asked, `AddressPolicy.socket_factory` the very address
that is dialled, after name resolution, so that a name server which changes its mind gains nothing. A refusal tells
whoever runs the worker the rule, in the log; the caller learns only that it is refused. Left out: the connection itself
(`request`, `runpod_worker.results`), and what a public server does with what it is asked.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

SocketFactory = Callable[[tuple[Any, ...]], socket.socket]
WEB_PORTS = frozenset({80, 443})
MAX_HOST_CHARACTERS = 253
PUBLIC_V6 = IPv6Network("2000::/3")
REFUSED_V4 = tuple(map(IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
"""Public by Python's reckoning, but they lead into a provider's own network."""
REFUSED_V6 = tuple(map(IPv6Network, ("3fff::/20", "2001::/32", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48")))
"""Documentation space, and prefixes inside which an IPv4 address hides."""

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:@/?#\\%]+)(?::\d{0,5})?")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*", re.ASCII)
_HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)


class AddressRefused(OSError):
    """The policy says no; an OSError, since that is what aiohttp takes for a failed connection.

    Its text is the same for every rule: aiohttp then hands on one of several, and no caller learns the rule.
    """

    def __init__(self) -> None:
        super().__init__("the address is refused")


@dataclass(frozen=True)
class AddressPolicy:
    """Who may be asked at a job's word.

    Attributes:
        allow_private: Any address and any port; scheme, user name and `hosts` are held against the rules all the same.
        ports: The ports of a URL that may be asked.
        hosts: Where not empty, only these: exact names and addresses, or `*.example.org` for every name below it.
    """

    allow_private: bool = False
    ports: frozenset[int] = WEB_PORTS
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> AddressPolicy:
        """The policy that the settings name."""
        ports = WEB_PORTS | ports_of(settings.fetch_ports)
        return cls(settings.fetch_allow_private, ports, hosts_of(settings.fetch_hosts))

    def check(self, url: str) -> None:
        """Return where `url` may be asked; nothing is looked up.

        Raises:
            AddressRefused: it may not be; the log says why.
            ValueError: it is no URL with a host.
        """
        parts, host = _parts(url)
        rule = self._rule_against(parts, host)
        if rule:
            log.info("a URL with the host %r is refused: %s", host, rule)
            raise AddressRefused

    def socket_factory(self) -> SocketFactory:
        """A maker of sockets for aiohttp, which sees the address really dialled.

        What it makes raises AddressRefused where the address is not public; the log says why.
        """
        return guarded_socket(self.allow_private)

    def _rule_against(self, parts: SplitResult, host: str) -> str | None:
        """Why the URL is refused, in words for the log; None where it is not."""
        port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
        if parts.scheme not in ("http", "https"):
            return "neither http nor https"
        if "@" in parts.netloc:
            return "a user name stands in it"
        if not self.allow_private and port not in self.ports:
            return f"port {port}"
        if self.hosts and not any(_covers(pattern, host) for pattern in self.hosts):
            return "the host is not in FETCH_HOSTS"
        literal = ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2])
        return rule_against(host) if literal and not self.allow_private else None


def guarded_socket(allow_private: bool) -> SocketFactory:
    """A maker of sockets for aiohttp that raises AddressRefused where the address dialled is not public."""

    def make(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, target = address
        rule = None if allow_private else rule_against(target[0])
        if rule:
            log.info("the address %s is not dialled: %s", target[0], rule)
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


def is_public(address: str) -> bool:
    """Whether `address`, a literal IPv4 or IPv6 address, may be connected to."""
    return rule_against(address) is None


def rule_against(address: str) -> str | None:
    """The rule by which a literal address is refused, in words for the log; None where it may be dialled."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "no address in its usual form"
    if isinstance(ip, IPv6Address):
        return _rule_against_v6(ip)
    return _rule_against_any(ip) or next((f"in {network}" for network in REFUSED_V4 if ip in network), None)


def _rule_against_v6(ip: IPv6Address) -> str | None:
    if ip.scope_id is not None:
        return "of one interface only"
    if ip not in PUBLIC_V6:
        return f"outside {PUBLIC_V6}"
    return _rule_against_any(ip) or next((f"in {network}" for network in REFUSED_V6 if ip in network), None)


def _rule_against_any(ip: IPv4Address | IPv6Address) -> str | None:
    kinds = {"not global": not ip.is_global, "multicast": ip.is_multicast, "reserved": ip.is_reserved}
    return next((kind for kind, refused in kinds.items() if refused), None)


def ports_of(text: str) -> frozenset[int]:
    """The ports in a list such as `8080, 8443`; a ValueError where one is none."""
    ports = frozenset(map(int, text.replace(",", " ").split()))
    if not all(1 <= port <= 65535 for port in ports):
        raise ValueError("a port is a number from 1 to 65535")
    return ports


def hosts_of(text: str) -> tuple[str, ...]:
    """The hosts in a list such as `media.example.org, *.example.com`; a ValueError where one is none."""
    hosts = tuple(host.rstrip(".") for host in text.lower().replace(",", " ").split())
    for host in hosts:
        if not _HOST_PATTERN.fullmatch(host):
            raise ValueError(f"{host!r} is no host: names such as media.example.org or *.example.org, ASCII only")
    return hosts


def _covers(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _parts(url: str) -> tuple[SplitResult, str]:
    """The URL's parts, and its host as it would be asked for: lower case, ASCII, no dot at its end.

    Raises:
        ValueError: where two parsers could read two hosts in it, as well.
    """
    parts = urlsplit(url)
    authority = _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2])
    if not authority or not all(" " <= character != "\x7f" for character in url):
        raise ValueError("not a URL with a plain host")
    host = _ascii(authority["host"]).lower().strip("[]").removesuffix(".")
    if not 0 < len(host) <= MAX_HOST_CHARACTERS or not host.isascii() or parts.port == 0:
        raise ValueError("not a URL with a host that can be asked for")
    return parts, host


def _ascii(host: str) -> str:
    """The host as it is looked up: aiohttp's own URLs say."""
    if host.isascii():
        return host
    from yarl import URL

    return URL(f"http://{host}/").raw_host or ""
