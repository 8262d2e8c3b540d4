"""From an origin to a connection: resolved once, every address checked, and connected to a checked one.

A name that resolves to something else the next moment gains nothing. Owns TLS: certificates are checked against the
system's authorities and those that the node adds, and HTTP/2 is offered.
"""

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from skerry.engine.egress import EgressPolicy
from skerry.engine.upstream.connections import Connection
from skerry.engine.upstream.errors import EgressDeniedError, UpstreamError
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.requests import Origin
from skerry.engine.upstream.resolving import Resolver
from skerry.engine.upstream.waits import Steps, Wait
from skerry.kit.addresses import Address

HTTP2 = "h2"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return how certificates are checked; raises OSError where `ca_file` can't be read.

    Args:
        ca_file: more authorities, PEM.
    """
    context = ssl.create_default_context()
    known = ssl.get_default_verify_paths()
    if known.cafile is None and known.capath is None:  # a system without a store of its own
        import certifi  # few need it

        context.load_verify_locations(cafile=certifi.where())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    context.set_alpn_protocols([HTTP2, "http/1.1"])
    return context


def is_own_address(address: Address) -> bool:
    """Tell whether an address is one of this machine's: what is sent there comes from the very same address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(address), 9))  # nothing is sent: the system only chooses a route
            return bool(sock.getsockname()[0] == str(address))
        except OSError:
            return False


class Dialer:
    """Opens connections.

    Args:
        resolver: of names.
        limits: for the times.
        ca_file: more certificate authorities to trust.
    """

    def __init__(self, resolver: Resolver, limits: FetchLimits, ca_file: Path | None) -> None:
        self._resolver = resolver
        self._limits = limits
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None  # reading the authorities takes 20 ms: only who needs them pays

    def open(self, origin: Origin, policy: EgressPolicy, wake: Callable[[], None]) -> Steps[Connection]:
        """Connect to the first allowed address that answers.

        Raises:
            EgressDeniedError: none of the host's addresses is allowed.
            UpstreamError: the name has no address, nothing answers there, or its certificate is not good.
        """
        found = yield from self._resolver.addresses(origin.host, wake, seconds_max=self._limits.resolve_seconds_max)
        allowed = [address for address in found if policy.allows(origin.host, address, origin.port, is_own_address)]
        if not allowed:
            raise EgressDeniedError(policy.refusal(origin.host, found[0], origin.port))
        failure: Exception | None = None
        for address in allowed:
            try:
                return (yield from self._connected(origin, address))
            except (OSError, TimeoutError) as error:
                failure = error
        raise UpstreamError(f"{origin.host} port {origin.port} can't be connected to: {failure}") from failure

    def _connected(self, origin: Origin, address: Address) -> Steps[Connection]:
        until = time.monotonic() + self._limits.connect_seconds_max
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield from _reach(sock, (str(address), origin.port), until)
            if not origin.is_tls:
                return Connection(sock, origin, address)
            sock = secured = self._tls().wrap_socket(sock, server_hostname=origin.host, do_handshake_on_connect=False)
            yield from _handshake(secured, until)
            return Connection(secured, origin, address, secured.selected_alpn_protocol() or "")
        except BaseException:
            sock.close()
            raise

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._ca_file)
        return self._context


def _reach(sock: socket.socket, address: tuple[str, int], until: float) -> Steps[None]:
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        yield Wait(sock.fileno(), select.POLLOUT, until, "connecting")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _handshake(sock: ssl.SSLSocket, until: float) -> Steps[None]:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            events = select.POLLIN
        except ssl.SSLWantWriteError:
            events = select.POLLOUT
        else:
            return
        yield Wait(sock.fileno(), events, until, "agreeing on TLS")
