"""Heads of the messages that filters see: as Envoy shows them, as functions see them, and what a function changed.

Owns what a function sees of a head and may change. Pure. What it writes is checked here: nothing that it gives may be
more than headers, nor stand for what is the gateway's: lengths, hop-by-hop headers, addresses and ids of requests.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.http1 import HOP_BY_HOP, REPLY_HEADER_BYTES_MAX, REPLY_HEADERS_MAX

Fields: TypeAlias = Sequence[tuple[str, str]]
"""Names, in lower case, and values of headers; each value as it came, its bytes as Latin-1."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_HOST = re.compile(r"[-A-Za-z0-9._:\[\]]{1,255}")
_PATH = re.compile(r"/[\x21-\x7e]*")
#: Of the gateway's own: a function sees some of them, and changes none.
_KEPT = frozenset(("content-length", "x-forwarded-for", "x-forwarded-proto", "x-request-id"))
_KEPT_PREFIXES = ("x-envoy-", "x-skerry-", ":")
_HIDDEN_PREFIXES = ("x-skerry-", ":")
_HOP_BY_HOP = frozenset(name.decode() for name in HOP_BY_HOP)


class Changes(NamedTuple):
    """What became of a head.

    Attributes:
        set: new values by name, `:path` and the like among them; they replace whatever there was.
        remove: names of what is gone.
    """

    set: dict[str, list[str]]
    remove: list[str]

    @classmethod
    def none(cls) -> "Changes":
        """Return that nothing did."""
        return cls({}, [])


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head.

    Attributes:
        method: as sent.
        scheme: http or https.
        host: the Host header, with its port.
        path: with its query.
        fields: the headers without host, also those that no function sees.
    """

    method: str
    scheme: str
    host: str
    path: str
    fields: Fields

    @classmethod
    def of(cls, fields: Fields) -> "RequestHead":
        """Take a head as Envoy shows it."""
        pseudo = {name: value for name, value in fields if name[:1] == ":"}
        scheme = next((value for name, value in fields if name == "x-forwarded-proto"), "http")
        host, path = pseudo.get(":authority", ""), pseudo.get(":path", "/")
        return cls(pseudo.get(":method", "GET"), scheme, host, path, tuple(fields))

    @property
    def length(self) -> int | None:
        """The length of the body as it was declared."""
        return _length(self.fields)

    def header_list(self) -> list[bytes]:
        """Return names and values by turns."""
        return [part.encode("latin-1") for entry in self.fields for part in entry]

    def lines(self) -> bytes:
        """Write it as functions are given requests (`instances.FunctionInstance.handle`)."""
        url = f"{self.scheme}://{self.host}{self.path}"
        return _lines((self.method, url, "host", self.host), self.fields)

    def given(self, head: bytes) -> "RequestHead":
        """Return what a function gave instead; raises CallError where it is no request."""
        lines = _text(head).split("\n")
        method, url = (*lines, "", "")[:2]
        fields = _checked(list(zip(lines[2::2], lines[3::2], strict=False)))
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _refused(f"the request has no URL: {error}") from error
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        named = next((value for name, value in fields if name == "host"), self.host)
        host = parts.netloc if parts.netloc != self.host else named  # a URL says more than a header that came along
        if not (_METHOD.fullmatch(method) and _HOST.fullmatch(host) and _PATH.fullmatch(path)):
            raise _refused("the request's method or URL can't be sent")
        without_host = tuple(entry for entry in fields if entry[0] != "host")
        return replace(self, method=method, host=host, path=path, fields=without_host)

    def changes_from(self, original: "RequestHead") -> Changes:
        """Return what makes this of the original."""
        if self is original:
            return Changes.none()
        changes = _changes(original.fields, self.fields)
        for name in ("method", "host", "path"):
            if (value := getattr(self, name)) != getattr(original, name):
                changes.set[":authority" if name == "host" else f":{name}"] = [value]
        return changes


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """An answer's head.

    Attributes:
        status: 101, or 200 to 599.
        fields: the headers, also those that no function sees.
    """

    status: int
    fields: Fields

    @classmethod
    def of(cls, fields: Fields) -> "ResponseHead":
        """Take a head as Envoy shows it."""
        status = next((value for name, value in fields if name == ":status"), "")
        return cls(int(status) if status.isdecimal() else 0, tuple(fields))

    @property
    def length(self) -> int | None:
        """The length of the body as it was declared."""
        return _length(self.fields)

    def lines(self) -> bytes:
        """Write it as `instances.Filter.filter_response` takes it."""
        return _lines((str(self.status), ""), self.fields)

    def given(self, status: int, head: bytes) -> "ResponseHead":
        """Return what a function gave instead, with what is the gateway's own; raises CallError for no response."""
        if not (status == 101 or 200 <= status <= 599):
            raise _refused("the function's response has a status that is not HTTP's")
        entries = [line.partition(": ")[::2] for line in _text(head).split("\r\n")[:-1]]
        own = [entry for entry in self.fields if _is_kept(entry[0])]
        return ResponseHead(status, (*own, *(entry for entry in _checked(entries) if not _is_kept(entry[0]))))

    def changes_from(self, original: "ResponseHead") -> Changes:
        """Return what makes this of the original."""
        if self is original:
            return Changes.none()
        changes = _changes(original.fields, self.fields)
        if self.status != original.status:
            changes.set[":status"] = [str(self.status)]
        return changes


NO_RESPONSE = ResponseHead(0, ())


def _seen(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, value in fields:
        if name not in _HOP_BY_HOP and not name.startswith(_HIDDEN_PREFIXES) and name != "host":
            yield name, value


def _length(fields: Fields) -> int | None:
    value = next((value for name, value in fields if name == "content-length"), "")
    return int(value) if value.isdecimal() else None


def _lines(first: tuple[str, ...], fields: Fields) -> bytes:
    return "\n".join((*first, *(part for entry in _seen(fields) for part in entry))).encode()


def _text(head: bytes) -> str:
    if len(head) > REPLY_HEADER_BYTES_MAX or head.count(b"\n") > 2 * REPLY_HEADERS_MAX + 2:
        raise _refused(f"the head has over {REPLY_HEADERS_MAX} headers or {REPLY_HEADER_BYTES_MAX} bytes of them")
    try:
        text = head.decode()
        text.encode("latin-1")
    except UnicodeError as error:
        raise _refused("the head has characters that are not HTTP's") from error
    return text


def _checked(entries: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in entries):
        raise _refused("the head has headers that are not HTTP")
    return [(name.lower(), value) for name, value in entries]


def _refused(message: str) -> CallError:
    return CallError(FailureKind.BAD_RESPONSE, message)


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(_KEPT_PREFIXES) or name in _HOP_BY_HOP


def _changes(before: Fields, after: Fields) -> Changes:
    old, new = _by_name(before), _by_name(after)
    changed = {name: values for name, values in new.items() if values != old.get(name)}
    return Changes(changed, [name for name in old if name not in new])


def _by_name(fields: Fields) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        if not _is_kept(name):
            grouped.setdefault(name, []).append(value)
    return grouped
