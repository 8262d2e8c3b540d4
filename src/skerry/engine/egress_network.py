"""A way to connect that obeys the egress policy.

Names are resolved here and the addresses checked, and the connection goes to a checked address: a name that resolves
to something else the next moment gains nothing.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from skerry.engine.egress import EgressDeniedError, EgressPolicy
from skerry.kit.addresses import Address

#: Addresses of one name that are tried.
ADDRESSES_MAX = 4
#: A connection that was made for a request is used at once, or never: the request was cancelled.
UNUSED_SECONDS_MAX = 2.0


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects where a policy allows it; httpcore's pools take it as their network."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address that answers.

        Raises:
            EgressDeniedError: none of the host's addresses is allowed.
            httpcore.ConnectError: the name has no address, or nothing answers there.
        """
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in await self._allowed_addresses(host, port):
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def _allowed_addresses(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved: {error}") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        allowed = [address for address in addresses if self._policy.allows(host, address)]
        if addresses and not allowed:
            raise EgressDeniedError(
                f"{host} ({addresses[0]}) is not a public address, and the node's setting egress_allow does not name it"
            )
        return allowed[:ADDRESSES_MAX]

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: functions reach hosts only."""
        raise EgressDeniedError(f"functions reach hosts only, not {path}")

    async def sleep(self, seconds: float) -> None:
        """Wait, between a pool's retries."""
        await self._network.sleep(seconds)


class ConnectionPool(httpcore.AsyncConnectionPool):
    """httpcore's pool, which gets the place of a connection back whose request was cancelled before it was used.

    httpcore counts such a connection, which was never opened, as busy for ever: the requests of calls that end in their
    time limit would use all places up.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        ssl_context: ssl.SSLContext,
        *,
        keepalive_seconds: float,
        connections_max: int,
        kept_max: int,
    ) -> None:
        self._network = GuardedNetwork(policy)
        self._context = ssl_context
        self._keepalive_seconds = keepalive_seconds
        super().__init__(
            max_connections=connections_max, max_keepalive_connections=kept_max, keepalive_expiry=keepalive_seconds
        )

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """Return a connection that is opened with its first request."""
        return _Connection(
            origin,
            ssl_context=self._context,
            keepalive_expiry=self._keepalive_seconds,
            http2=True,
            network_backend=self._network,
        )


class _Connection(httpcore.AsyncHTTPConnection):
    _is_used = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unused_until = time.monotonic() + UNUSED_SECONDS_MAX

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        self._is_used = True
        return await super().handle_async_request(request)

    def has_expired(self) -> bool:
        return super().has_expired() or (not self._is_used and time.monotonic() > self._unused_until)
