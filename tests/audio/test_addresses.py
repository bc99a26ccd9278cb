import pytest

from voxtral_serverless.audio.addresses import is_public

REFUSED = [
    "127.0.0.1",
    "127.255.255.255",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.254",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "192.0.0.192",
    "192.88.99.1",
    "168.63.129.16",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::2",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:a00:1::",
    "2001:db8::1",
    "3fff::1",
    "not-an-address",
]
ACCEPTED = ["8.8.8.8", "1.1.1.1", "100.63.255.254", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001:810::200e"]


@pytest.mark.parametrize("address", REFUSED)
def test_address_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ACCEPTED)
def test_address_is_accepted(address: str) -> None:
    assert is_public(address)
