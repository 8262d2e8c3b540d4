"""What a function asks for, checked: method, URL and headers of one subrequest."""

import functools
import re
from typing import NamedTuple

from skerry.engine.upstream.errors import FetchRefusedError
from skerry.engine.upstream.limits import FetchLimits

_LATIN_1 = "latin-1"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_METHOD = re.compile(_TOKEN)
_URL = re.compile(
    rb"(https?)://((\[[0-9A-Fa-f:.]{2,45}\]|[!$&'()*+,;=_~%.0-9A-Za-z-]{1,253})(?::([0-9]{1,5}))?)([/?][!-~]*)?"
)
_HEADERS = re.compile(rb"(?:" + _TOKEN + rb": [\t\x20-\x7e\x80-\xff]*\r\n)*")
#: What the connection needs is said by the host alone, and the length is the body's.
_OURS = frozenset(
    b"connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
#: https://fetch.spec.whatwg.org/#forbidden-method
_FORBIDDEN_METHODS = frozenset((b"CONNECT", b"TRACE", b"TRACK"))
_DEFAULT_HEADERS = {
    b"accept": b"accept: */*\r\n",
    b"accept-encoding": b"accept-encoding: gzip, deflate, br, zstd\r\n",
    b"user-agent": b"user-agent: Skerry\r\n",
}
_ALL_DEFAULT_HEADERS = b"".join(_DEFAULT_HEADERS.values())
#: Functions ask for the same few things again and again; those that are kept are short.
_KEPT_MAX = 1_024
_KEPT_BYTES_MAX = 256
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_WITHOUT_BODY = frozenset((b"GET", b"HEAD"))
#: Those that may be sent again where a kept connection turns out to have ended (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


class Origin(NamedTuple):
    """Where connections lead; those of one origin may be used for one another."""

    is_tls: bool
    host: str
    port: int


class OutgoingRequest(NamedTuple):
    """One subrequest.

    Attributes:
        origin: where it goes.
        method: as it is sent.
        authority: host, and port where it is not the scheme's own.
        target: path and query.
        header_lines: `name: value` lines, each ended by CR LF, without those that are the connection's.
    """

    origin: Origin
    method: bytes
    authority: bytes
    target: bytes
    header_lines: bytes

    @property
    def may_be_repeated(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.method in _IDEMPOTENT

    def needs_length(self, body: bytes) -> bool:
        """Tell whether the body's length is said, 0 included."""
        return bool(body) or self.method not in _WITHOUT_BODY

    def http1_bytes(self, body: bytes) -> bytes:
        """Write it whole, as HTTP/1.1."""
        length = b"content-length: %d\r\n" % len(body) if self.needs_length(body) else b""
        head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n"
        return head % (self.method, self.target, self.authority, self.header_lines, length) + body


class RequestParser:
    """Reads what functions ask for; what was asked for before in the same words is read once.

    Args:
        limits: for headers.
    """

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._kept = functools.lru_cache(_KEPT_MAX)(self._parse)

    def parse(self, lines: bytes) -> OutgoingRequest:
        """Read UTF-8 lines of method, URL, then names and values by turns; raises FetchRefusedError."""
        return self._kept(lines) if len(lines) <= _KEPT_BYTES_MAX else self._parse(lines)

    def _parse(self, lines: bytes) -> OutgoingRequest:
        return _parsed(lines, self._limits)


def _parsed(lines: bytes, limits: FetchLimits) -> OutgoingRequest:
    try:
        text = lines if lines.isascii() else lines.decode().encode(_LATIN_1)
    except UnicodeError as error:
        raise FetchRefusedError("the request is not HTTP") from error
    method, _, rest = text.partition(b"\n")
    url, *pairs = rest.split(b"\n")
    origin, authority, target = _parse_url(url)
    if not _METHOD.fullmatch(method) or len(pairs) % 2:
        raise FetchRefusedError("the request is not HTTP")
    if method.upper() in _FORBIDDEN_METHODS:
        raise FetchRefusedError(f"the method {method.decode()} can't be fetched with")
    if len(pairs) > 2 * limits.headers_max or len(lines) > limits.header_bytes_max:
        raise FetchRefusedError(f"over {limits.headers_max} headers or {limits.header_bytes_max} bytes of them")
    return OutgoingRequest(origin, method, authority, target, _headers(pairs))


def _parse_url(url: bytes) -> tuple[Origin, bytes, bytes]:
    if not url.startswith((b"http://", b"https://")):
        raise FetchRefusedError("only http: and https: URLs can be fetched")
    found = _URL.fullmatch(url)
    if found is None:
        raise FetchRefusedError("the URL is not one that HTTP can ask for")
    scheme, authority, host, given_port, target = found.groups()
    port = int(given_port) if given_port else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65_536:
        raise FetchRefusedError(f"there is no port {port}")
    if not target:
        target = b"/"
    elif target[:1] == b"?":
        target = b"/" + target
    return Origin(scheme == b"https", host.decode().lower().strip("[]"), port), authority, target


def _headers(pairs: list[bytes]) -> bytes:
    if not pairs:
        return _ALL_DEFAULT_HEADERS
    missing = dict(_DEFAULT_HEADERS)
    lines = []
    for name, value in zip(map(bytes.lower, pairs[::2]), pairs[1::2], strict=True):
        if name not in _OURS:
            missing.pop(name, None)
            lines.append(b"%b: %b\r\n" % (name, value))
    given = b"".join((*lines, *missing.values()))
    if not _HEADERS.fullmatch(given):
        raise FetchRefusedError("the request has headers that are not HTTP")
    return given
