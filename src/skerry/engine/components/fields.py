"""Header fields of `wasi:http/types`: what a component may set, and in what it may change."""

import re
from collections.abc import Iterable, Mapping

from skerry.engine.components.guest import Guest, GuestEndedError
from skerry.engine.components.imports import HostFunction
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError, FailureKind

#: Of one message; the server and the client have lower limits of their own for what is sent.
FIELDS_MAX = 1_000
FIELD_BYTES_MAX = 128 * 1024

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: What belongs to the connection is the host's, as it is with wasmtime.
_FORBIDDEN = frozenset(
    (
        "connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "transfer-encoding", "upgrade",
    )
)  # fmt: skip


class Fields:
    """Names and values, in order.

    Attributes:
        is_fixed: a component may not change them.
    """

    def __init__(self, pairs: Iterable[tuple[str, bytes]] = (), *, is_fixed: bool = False) -> None:
        self.pairs = list(pairs)
        self.is_fixed = is_fixed

    def values(self, name: str) -> list[bytes]:
        """Return the values of a name."""
        wanted = name.lower()
        return [value for each, value in self.pairs if each.lower() == wanted]

    def without(self, name: str) -> list[tuple[str, bytes]]:
        """Return the others."""
        wanted = name.lower()
        return [pair for pair in self.pairs if pair[0].lower() != wanted]

    def lines(self) -> bytes:
        """Return header lines, as `instances.Reply.head` has them."""
        pairs = [(name.lower().encode(), value.strip(b" \t").decode("latin-1").encode()) for name, value in self.pairs]
        return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def _problem(name: str, values: Iterable[bytes]) -> Err | None:
    if not _NAME.fullmatch(name) or not all(_VALUE.fullmatch(value) for value in values):
        return Err(("invalid-syntax", None))
    return Err(("forbidden", None)) if name.lower() in _FORBIDDEN else None


def _keep(fields: Fields, pairs: list[tuple[str, bytes]]) -> Ok:
    if len(pairs) > FIELDS_MAX or sum(len(name) + len(value) for name, value in pairs) > FIELD_BYTES_MAX:
        message = f"over {FIELDS_MAX} header fields, or {FIELD_BYTES_MAX} bytes of them"
        raise GuestEndedError(CallError(FailureKind.TRAP, message))
    fields.pairs = pairs
    return Ok()


def _from_list(_guest: Guest, pairs: list[tuple[str, bytes]]) -> Ok | Err:
    for name, value in pairs:
        if problem := _problem(name, [value]):
            return problem
    fields = Fields()
    _keep(fields, pairs)
    return Ok(fields)


def _set(_guest: Guest, fields: Fields, name: str, values: list[bytes]) -> Ok | Err:
    if fields.is_fixed:
        return Err(("immutable", None))
    return _problem(name, values) or _keep(fields, fields.without(name) + [(name, value) for value in values])


def _append(_guest: Guest, fields: Fields, name: str, value: bytes) -> Ok | Err:
    if fields.is_fixed:
        return Err(("immutable", None))
    return _problem(name, [value]) or _keep(fields, [*fields.pairs, (name, value)])


def _delete(_guest: Guest, fields: Fields, name: str) -> Ok | Err:
    if fields.is_fixed:
        return Err(("immutable", None))
    return _problem(name, []) or _keep(fields, fields.without(name))


FUNCTIONS: Mapping[str, HostFunction] = {
    "[constructor]fields": lambda _guest: Fields(),
    "[static]fields.from-list": _from_list,
    "[method]fields.get": lambda _guest, fields, name: fields.values(name),
    "[method]fields.has": lambda _guest, fields, name: bool(fields.values(name)),
    "[method]fields.set": _set,
    "[method]fields.append": _append,
    "[method]fields.delete": _delete,
    "[method]fields.entries": lambda _guest, fields: fields.pairs,
    "[method]fields.clone": lambda _guest, fields: Fields(fields.pairs),
}
