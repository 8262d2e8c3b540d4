"""Where the control plane may connect to, and the transport that holds to it.

Decides by address, not by name, for every connection: redirects and token services included. A name is resolved once,
and the connection goes to the very address that was checked, so no second answer of DNS can lead elsewhere.

Refused are link-local addresses and those at which clouds serve the credentials of a machine, besides what the
settings block. Loopback and private addresses are allowed: registries live there.
"""

import asyncio
import ipaddress
import socket
import ssl

import httpx

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.kit.addresses import Network, destination
from skerry.kit.deadlines import within

#: Where clouds serve credentials outside of the link-local ranges (Alibaba Cloud; Amazon, by IPv6).
METADATA_NETWORKS: tuple[Network, ...] = (
    ipaddress.ip_network("100.100.100.200/32"),
    ipaddress.ip_network("fd00:ec2::/32"),
)
#: Addresses of one name that are tried.
_ADDRESSES_MAX = 8


def is_refused(address: str, blocked: tuple[Network, ...] = ()) -> bool:
    """Tell whether no connection may go to an address."""
    ip = destination(ipaddress.ip_address(address.partition("%")[0]))
    return ip.is_link_local or ip.is_multicast or any(ip in network for network in (*METADATA_NETWORKS, *blocked))


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport, which connects to checked addresses only.

    No connection is kept for a second request: the pool tells connections apart by address, and two hosts of one
    address may be different servers with different certificates.
    """

    def __init__(self, settings: FetchSettings, trust: ssl.SSLContext) -> None:
        limits = httpx.Limits(max_connections=settings.concurrent_max * 2, max_keepalive_connections=0)
        super().__init__(verify=trust, limits=limits, trust_env=False)
        self._settings = settings

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first of its host's addresses that takes the connection."""
        host, failure = request.url.host, httpx.ConnectError("no address took the connection")
        for address in await self._addresses(host, request.url.port or {"http": 80}.get(request.url.scheme, 443)):
            try:
                return await super().handle_async_request(_at(request, address, host))
            except httpx.ConnectError as error:
                if tls_failure(error):
                    raise
                failure = error
            except httpx.ConnectTimeout:
                failure = httpx.ConnectError("the connection takes too long")
        raise failure

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host; raises FetchError where none of its addresses is allowed."""
        try:
            with within(self._settings.connect_seconds_max):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise httpx.ConnectError(f"the name {host} does not resolve: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_ADDRESSES_MAX]
        allowed = [one for one in addresses if not is_refused(one, self._settings.blocked_networks)]
        if not allowed:
            raise FetchError("EgressRefused", f"{host} has no address that code may be fetched from")
        return allowed


def tls_failure(error: BaseException) -> ssl.SSLError | None:
    """Return why TLS could not be set up, where that is what a failure stems from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _at(request: httpx.Request, address: str, host: str) -> httpx.Request:
    """Aim a request at an address; its Host header, and the name that the certificate must have, stay."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )
