import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.engine.egress import ALLOWED_MAX, EgressPolicy


def allows(policy: EgressPolicy, host: str, address: str) -> bool:
    return policy.allows(host, ipaddress.ip_address(address))


def test_public_addresses_are_allowed_and_what_the_policy_names():
    policy = EgressPolicy.parse(["db.internal", " 10.1.0.0/16", "fd00::5", ""])
    assert allows(policy, "example.com", "93.184.216.34")
    assert allows(policy, "example.com", "2606:4700::1")
    assert allows(policy, "DB.internal", "192.168.7.7")
    assert allows(policy, "anything", "10.1.200.3")
    assert allows(policy, "anything", "fd00::5")
    assert not allows(policy, "anything", "10.2.0.1")
    assert not allows(policy, "other.internal", "192.168.7.7")


@given(st.ip_addresses(v=4))
def test_an_address_in_a_tunnel_is_as_public_as_the_address_that_it_stands_for(inner: ipaddress.IPv4Address):
    policy = EgressPolicy()
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | int(inner))
    translated = ipaddress.IPv6Address(0x64FF9B << 96 | int(inner))
    relayed = ipaddress.IPv6Address(0x2002 << 112 | int(inner) << 80)
    public = policy.allows("h", inner)
    assert policy.allows("h", mapped) == public
    assert policy.allows("h", translated) == public
    assert policy.allows("h", relayed) == public


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0", "10.0.0.1/8", "fe80::g", "a/b"])
def test_what_is_no_host_address_or_network_is_refused_by_its_name(entry: str):
    with pytest.raises(ValueError, match="neither a host name") as refused:
        EgressPolicy.parse([entry])
    assert repr(entry) in str(refused.value)


def test_a_policy_is_bounded():
    with pytest.raises(ValueError, match=str(ALLOWED_MAX)):
        EgressPolicy.parse([f"host-{number}" for number in range(ALLOWED_MAX + 1)])
