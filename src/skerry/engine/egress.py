"""Where functions may connect to: the rule. `egress_network` obeys it.

Public addresses are allowed; loopback, private, link-local (with the
metadata services of clouds) and every other address that is not public are refused, unless the policy names them.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Entries of a policy.
ALLOWED_MAX = 1_000

#: Protocol assignments, of which Python takes some for public (RFC 6890, 2.2.2).
_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")
#: IPv6 networks that stand for IPv4 addresses, and where in the address those are: bits from the right.
_TUNNELS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible
)


class EgressDeniedError(Exception):
    """A function may not connect there."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What functions may reach besides public addresses.

    Attributes:
        networks: addresses that are allowed.
        hosts: host names (lower case) whose addresses are allowed, whatever they are.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read host names, addresses and CIDRs; raises ValueError that names what does not fit."""
        networks, hosts = [], set()
        for entry in filter(None, map(str.strip, entries)):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                if "/" in entry or ":" in entry or entry.replace(".", "").isdigit():
                    raise ValueError(f"{entry!r} is neither a host name, an address nor a CIDR: {error}") from error
                hosts.add(entry.lower())
        if len(networks) + len(hosts) > ALLOWED_MAX:
            raise ValueError(f"at most {ALLOWED_MAX} entries, not {len(networks) + len(hosts)}")
        return cls(tuple(networks), frozenset(hosts))

    def allows(self, host: str, address: Address) -> bool:
        """Tell whether a connection to an address of a host is allowed."""
        if host.lower() in self.hosts or any(address in network for network in self.networks):
            return True
        return _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return _is_public(address.ipv4_mapped)
        for network, shift in _TUNNELS:
            if address in network and not _is_public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)):
                return False
    return address.is_global and not address.is_multicast and address not in _ASSIGNMENTS
