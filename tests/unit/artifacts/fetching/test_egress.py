"""Which addresses the control plane connects to."""

import ipaddress

import pytest

from skerry.artifacts.fetching.egress import is_refused


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "100.100.100.200", "fd00:ec2::254", "224.0.0.1", "ff02::1",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
)  # fmt: skip
def test_link_local_and_metadata_addresses_are_refused_however_they_are_written(address: str) -> None:
    assert is_refused(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd12::1", "93.184.216.34"])
def test_loopback_private_and_public_addresses_are_allowed(address: str) -> None:
    assert not is_refused(address)


def test_blocked_networks_are_refused() -> None:
    blocked = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert is_refused("10.1.2.3", blocked)
    assert is_refused("::ffff:10.1.2.3", blocked)
    assert is_refused("::1", blocked)
    assert not is_refused("11.1.2.3", blocked)
