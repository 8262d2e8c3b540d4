"""IP addresses: where a connection to one really leads."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: IPv6 networks that stand for IPv4 addresses, and where in the address those are: bits from the right.
_TUNNELS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped (RFC 4291)
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)


def destination(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, where it leads to one; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _TUNNELS:
            if address in network:
                return ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address
