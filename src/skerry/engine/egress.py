"""Where functions may connect to: the rule. `upstream.dialing` obeys it.

Public addresses are allowed; loopback, private, link-local (with the metadata services of clouds), the machine's own
and every other address that is not public are refused, unless a rule names them. What a rule names:

- A rule with the address (a network) opens it, whatever it is.
- A rule with the host's name opens private addresses too, since that is what names inside of a network stand for; never
  loopback, link-local, metadata or multicast addresses, nor the machine's own: who answers for a name can't point it
  there.
- A rule with neither is about ports of public addresses.
- The control plane's ports of this machine are opened only by a rule that names address and port.
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from skerry.kit.addresses import Address, Network, destination

#: Entries of a policy.
ALLOWED_MAX = 1_000

#: IPv6 that is routed on the internet (RFC 4291). The rest is loopback, local, or stands for an IPv4 address.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Protocol assignments, of which Python takes some for public (RFC 6890, 2.2.2).
_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
#: Metadata services of clouds in addresses that are private otherwise: Alibaba Cloud, AWS.
_METADATA = tuple(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Destinations: (an address of the networks, or a host of these names; any where there are neither) and a port.

    Attributes:
        networks: of addresses.
        hosts: names, lower case; `*.example.com` stands for every name beneath example.com.
        ports: any where there are none.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()

    def has_port(self, port: int) -> bool:
        """Tell whether a port is one of the rule's."""
        return not self.ports or port in self.ports

    def has_address(self, address: Address) -> bool:
        """Tell whether the rule names an address."""
        leads_to = destination(address)
        return any(each in network for network in self.networks for each in {address, leads_to})

    def has_host(self, host: str) -> bool:
        """Tell whether the rule names a host."""
        if not self.hosts:
            return False
        labels = host.rstrip(".").split(".")
        wildcards = (f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels)))
        return ".".join(labels) in self.hosts or any(each in self.hosts for each in wildcards)

    @property
    def is_about_all(self) -> bool:
        """Whether it names neither addresses nor hosts."""
        return not self.networks and not self.hosts


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What a function may reach.

    Attributes:
        allow: what it may reach besides public addresses.
        deny: what it may not reach, whatever allows it.
        is_closed: it may reach what `allow` names, and nothing else.
        control_plane_ports: of this machine; the control plane listens there.
    """

    allow: tuple[EgressRule, ...] = ()
    deny: tuple[EgressRule, ...] = ()
    is_closed: bool = False
    control_plane_ports: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read host names, addresses and CIDRs that are allowed; raises ValueError that names what does not fit."""
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
        return cls((EgressRule(tuple(networks), frozenset(hosts)),) if networks or hosts else ())

    def allows(self, host: str, address: Address, port: int, is_own: Callable[[Address], bool]) -> bool:
        """Tell whether a connection to an address of a host is allowed.

        Args:
            host: as the URL names it.
            address: what that resolved to.
            port: of the URL.
            is_own: tells whether an address is the machine's own; asked where that matters.
        """
        host = host.lower()
        if any(rule.has_port(port) and _is_meant(rule, host, address) for rule in self.deny):
            return False
        rules = [rule for rule in self.allow if rule.has_port(port)]
        named = [rule for rule in rules if rule.has_address(address)]
        if port in self.control_plane_ports and (_is_loopback(address) or is_own(address)):
            return any(port in rule.ports for rule in named)
        if named:
            return True
        if not _is_reachable_by_name(address) or is_own(address):
            return False
        if any(rule.has_host(host) for rule in rules):
            return True
        is_open = not self.is_closed or any(rule.is_about_all for rule in rules)
        return is_open and _is_public(address)

    def refusal(self, host: str, address: Address, port: int) -> str:
        """Say why a destination that is not allowed is not."""
        where = f"{host} ({address})" if host != str(address) else host
        if any(rule.has_port(port) and _is_meant(rule, host.lower(), address) for rule in self.deny):
            return f"{where} port {port} is denied by an EgressPolicy"
        if _is_public(address):
            return f"{where} port {port} is not allowed: the function's EgressPolicy does not name it"
        return (
            f"{where} is not a public address, and neither the node's setting egress_allow nor an EgressPolicy names it"
        )


def _is_meant(rule: EgressRule, host: str, address: Address) -> bool:
    return rule.is_about_all or rule.has_host(host) or rule.has_address(address)


def _is_loopback(address: Address) -> bool:
    leads_to = destination(address)
    return leads_to.is_loopback or leads_to.is_unspecified


def _is_reachable_by_name(address: Address) -> bool:
    leads_to = destination(address)
    is_private = any(leads_to in network for network in _PRIVATE) and leads_to not in _METADATA
    return is_private or _is_public(address)


def _is_public(address: Address) -> bool:
    leads_to = destination(address)
    if isinstance(leads_to, ipaddress.IPv6Address) and leads_to not in _GLOBAL_UNICAST:
        return False
    return leads_to.is_global and not leads_to.is_multicast and leads_to not in _ASSIGNMENTS
