import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.engine.egress import ALLOWED_MAX, EgressPolicy, EgressRule
from skerry.kit.addresses import Address

PUBLIC = "93.184.216.34"
NOT_PUBLIC = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "169.254.169.254",  # noqa: S104
    "100.100.100.200", "192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fec0::1", "fd00:ec2::254", "fc00::1", "ff02::1", "2001:db8::1", "64:ff9b:1::7f00:1",
    "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001::1",
]  # fmt: skip


def nobody(_: Address) -> bool:
    return False


def allows(policy: EgressPolicy, host: str, address: str, port: int = 443) -> bool:
    return policy.allows(host, ipaddress.ip_address(address), port, nobody)


def networks(*texts: str) -> EgressRule:
    return EgressRule(networks=tuple(map(ipaddress.ip_network, texts)))


def hosts(*names: str, ports: tuple[int, ...] = ()) -> EgressRule:
    return EgressRule(hosts=frozenset(names), ports=frozenset(ports))


def test_public_addresses_are_allowed_and_what_the_policy_names():
    policy = EgressPolicy.parse(["db.internal", " 10.1.0.0/16", "fd00::5", ""])
    assert allows(policy, "example.com", PUBLIC)
    assert allows(policy, "example.com", "2606:4700::1")
    assert allows(policy, "DB.internal", "192.168.7.7")
    assert allows(policy, "anything", "10.1.200.3")
    assert allows(policy, "anything", "::ffff:10.1.200.3")
    assert allows(policy, "anything", "fd00::5")
    assert not allows(policy, "anything", "10.2.0.1")
    assert not allows(policy, "other.internal", "192.168.7.7")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public_is_refused_unless_its_address_is_named(address: str):
    assert not allows(EgressPolicy(), "a.test", address)
    assert not allows(EgressPolicy((EgressRule(ports=frozenset({443})),)), "a.test", address)
    assert allows(EgressPolicy((networks(address),)), "a.test", address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "100.100.100.200", "fd00:ec2::254", "::1", "224.0.0.1"]
)
def test_a_name_opens_private_addresses_and_never_what_would_hurt_the_node(address: str):
    policy = EgressPolicy((hosts("*.internal"),))
    assert allows(policy, "a.internal", "10.0.0.1")
    assert allows(policy, "a.internal", "fd00::1")
    assert not allows(policy, "a.internal", address)


def test_a_wildcard_stands_for_every_name_beneath_and_not_for_the_name_itself():
    policy = EgressPolicy((hosts("*.example.com"),), is_closed=True)
    assert allows(policy, "a.example.com", PUBLIC)
    assert allows(policy, "a.b.EXAMPLE.com.", PUBLIC)
    assert not allows(policy, "example.com", PUBLIC)
    assert not allows(policy, "badexample.com", PUBLIC)


def test_a_denied_destination_stays_denied_whatever_allows_it():
    policy = EgressPolicy((networks("0.0.0.0/0"),), deny=(networks("93.0.0.0/8"), hosts("bad.test")))
    assert not allows(policy, "a.test", PUBLIC)
    assert not allows(policy, "a.test", f"::ffff:{PUBLIC}")
    assert not allows(policy, "bad.test", "1.1.1.1")
    assert allows(policy, "a.test", "1.1.1.1")


def test_ports_narrow_a_rule():
    policy = EgressPolicy((hosts("a.test", ports=(443, 8443)),), is_closed=True)
    assert allows(policy, "a.test", PUBLIC, 8443)
    assert not allows(policy, "a.test", PUBLIC, 80)


def test_a_closed_policy_may_leave_ports_of_the_internet_open():
    policy = EgressPolicy((EgressRule(ports=frozenset({443})),), is_closed=True)
    assert allows(policy, "a.test", PUBLIC, 443)
    assert not allows(policy, "a.test", PUBLIC, 80)


def test_an_address_of_the_machine_is_refused_although_it_is_public_unless_it_is_named():
    address = ipaddress.ip_address(PUBLIC)
    assert not EgressPolicy().allows("a.test", address, 443, lambda _: True)
    assert not EgressPolicy((hosts("a.test"),)).allows("a.test", address, 443, lambda _: True)
    assert EgressPolicy((networks(PUBLIC),)).allows("a.test", address, 443, lambda _: True)


def test_the_control_plane_is_opened_by_a_rule_with_its_address_and_port_only():
    plane = frozenset({6443})
    loopback = networks("0.0.0.0/0")
    assert not allows(EgressPolicy((loopback,), control_plane_ports=plane), "a.test", "127.0.0.1", 6443)
    assert not allows(EgressPolicy((loopback,), control_plane_ports=plane), "a.test", "::ffff:127.0.0.1", 6443)
    assert allows(EgressPolicy((loopback,), control_plane_ports=plane), "a.test", "127.0.0.1", 8080)
    assert allows(EgressPolicy((loopback,), control_plane_ports=plane), "a.test", PUBLIC, 6443)
    own = EgressPolicy((loopback,), control_plane_ports=plane).allows(
        "a.test", ipaddress.ip_address(PUBLIC), 6443, lambda _: True
    )
    assert not own
    named = EgressRule(loopback.networks, ports=frozenset({6443}))
    assert allows(EgressPolicy((named,), control_plane_ports=plane), "a.test", "127.0.0.1", 6443)


@given(st.ip_addresses(v=4))
def test_an_address_in_a_tunnel_is_as_public_as_the_address_that_it_stands_for(inner: ipaddress.IPv4Address):
    policy = EgressPolicy()
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | int(inner))
    translated = ipaddress.IPv6Address(0x64FF9B << 96 | int(inner))
    relayed = ipaddress.IPv6Address(0x2002 << 112 | int(inner) << 80)
    public = policy.allows("h", inner, 443, nobody)
    for outer in (mapped, translated, relayed):
        assert policy.allows("h", outer, 443, nobody) == public


@given(st.ip_addresses(), st.lists(st.ip_addresses(v=4), max_size=3))
def test_what_is_refused_has_a_reason_and_more_denials_allow_nothing_more(
    address: Address, denied: list[ipaddress.IPv4Address]
):
    narrow, wide = EgressPolicy(deny=tuple(networks(str(each)) for each in denied)), EgressPolicy()
    assert narrow.allows("h", address, 80, nobody) <= wide.allows("h", address, 80, nobody)
    assert "h (" in narrow.refusal("h", address, 80)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0", "10.0.0.1/8", "fe80::g", "a/b"])
def test_what_is_no_host_address_or_network_is_refused_by_its_name(entry: str):
    with pytest.raises(ValueError, match="neither a host name") as refused:
        EgressPolicy.parse([entry])
    assert repr(entry) in str(refused.value)


def test_a_policy_is_bounded():
    with pytest.raises(ValueError, match=str(ALLOWED_MAX)):
        EgressPolicy.parse(itertools.chain(f"host-{number}" for number in range(ALLOWED_MAX + 1)))
