"""Where functions may connect to: the rule. `egress_network` obeys it.

Public addresses are allowed; loopback, private, link-local (with the
metadata services of clouds) and every other address that is not public are refused, unless the policy names them.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from skerry.kit.addresses import Address, Network, destination

#: Entries of a policy.
ALLOWED_MAX = 1_000

#: Protocol assignments, of which Python takes some for public (RFC 6890, 2.2.2).
_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")


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
    leads_to = destination(address)
    return leads_to.is_global and not leads_to.is_multicast and leads_to not in _ASSIGNMENTS
