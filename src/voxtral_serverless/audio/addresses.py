"""Which addresses a job may make the worker connect to: the public internet and nothing else.

A policy on one address, asked about the very address that is dialled. The extra ranges are public by Python's reckoning
but lead into a provider's own network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

PUBLIC_V6 = IPv6Network("2000::/3")
REFUSED_V4 = tuple(map(IPv4Network, ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
REFUSED_V6 = tuple(map(IPv6Network, ("3fff::/20", "2001::/32", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48")))
"""Documentation space, and prefixes inside which an IPv4 address hides."""


class AddressRefused(OSError):
    """The policy says no; an OSError, since that is what aiohttp takes for a failed connection."""


def guarded_socket(allow_private: bool) -> Callable[[tuple[Any, ...]], socket.socket]:
    """A maker of sockets for aiohttp, which sees the address really dialled, after name resolution.

    What it makes raises AddressRefused where the address is not public.
    """

    def make(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, target = address
        if not allow_private and not is_public(target[0]):
            raise AddressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


def is_public(address: str) -> bool:
    """Whether `address`, a literal IPv4 or IPv6 address, may be connected to."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return not any(ip in network for network in REFUSED_V4)


def _is_public_v6(ip: IPv6Address) -> bool:
    return ip in PUBLIC_V6 and not any(ip in network for network in REFUSED_V6)
