"""What git says over HTTP: the two requests of a fetch, and what their answers hold.

    GET  <repository>/info/refs?service=git-upload-pack   ->  every reference, and what the server can do
    POST <repository>/git-upload-pack                      ->  a pack with the commit that was asked for

This is version 0 of the protocol, which every server speaks (https://git-scm.com/docs/gitprotocol-http and
gitprotocol-pack): a clone of one commit needs no more. Pure; who connects, and to where, is `repositories`' part.

Invariant: nothing here trusts a length or a name that a server gives. What does not parse is a ProtocolError.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skerry.kit.errors import SkerryError

SERVICE = "git-upload-pack"
REQUEST_TYPE = f"application/x-{SERVICE}-request"

_OBJECT_ID_DIGITS = 40
_LENGTH_DIGITS = 4
_FLUSH = b"0000"
_HEAD = "HEAD"
_PACK_DATA, _PROGRESS, _FATAL = 1, 2, 3
#: Capabilities that are used where the server has them. A thin pack without anything to build on is a whole one, but
#: some servers insist on it.
_ASKED = ("side-band-64k", "ofs-delta", "thin-pack", "no-progress", "shallow")


class ProtocolError(SkerryError):
    """A server's answer is not git's protocol, or says that it will not serve."""


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What a repository has.

    Attributes:
        refs: object id by name, such as `refs/heads/main`.
        default: the branch that HEAD stands for, in full; "" where the server does not tell.
        capabilities: what the server can do.
    """

    refs: dict[str, str]
    default: str
    capabilities: frozenset[str]

    @property
    def head(self) -> str:
        """The commit of the default branch; "" in an empty repository."""
        return self.refs.get(self.default) or self.refs.get(_HEAD, "")


def is_object_id(text: str) -> bool:
    """Tell whether a text is the full name of an object: 40 lower-case hexadecimal digits."""
    return len(text) == _OBJECT_ID_DIGITS and all(digit in "0123456789abcdef" for digit in text)


def read_advertisement(body: bytes) -> Advertisement:
    """Read the answer to the first request; raises ProtocolError."""
    lines = [line.rstrip(b"\n") for line in _lines(body) if line]
    if not lines or lines[0] != f"# service={SERVICE}".encode():
        raise ProtocolError("there is no git repository (the server does not speak git's smart protocol there)")
    refs: dict[str, str] = {}
    capabilities: frozenset[str] = frozenset()
    for number, line in enumerate(lines[1:]):
        reference, nul, words = line.partition(b"\0")
        if nul and number == 0:
            capabilities = frozenset(words.decode(errors="replace").split())
        object_id, _, name = reference.decode(errors="replace").partition(" ")
        if is_object_id(object_id) and name and not name.endswith("^{}"):
            refs[name] = object_id
    default = next((word.removeprefix("symref=HEAD:") for word in capabilities if word.startswith("symref=HEAD:")), "")
    return Advertisement(refs, default, capabilities)


def want(object_id: str, capabilities: Iterable[str], *, whole_history: bool = False) -> bytes:
    """Write the second request: one commit alone, or with all that came before it."""
    able = set(capabilities)
    asked = " ".join(name for name in _ASKED if name in able)
    lines = [f"want {object_id} {asked}\n"]
    if not whole_history and "shallow" in able:
        lines.append("deepen 1\n")
    return b"".join(_line(line) for line in lines) + _FLUSH + _line("done\n")


def read_pack(body: bytes) -> bytes:
    """Return the pack in the answer to the second request; raises ProtocolError with the server's own words."""
    pack = bytearray()
    for at, line in _lines_with_end(body):
        if line.startswith(b"ERR "):
            raise ProtocolError(f"the server refuses: {_told(line[4:])}")
        if line.startswith((b"shallow ", b"unshallow ", b"NAK", b"ACK")):
            if body[at : at + 4] == b"PACK":  # without a side band, the rest is the pack
                return body[at:]
            continue
        if line[:1] == bytes([_FATAL]):
            raise ProtocolError(f"the server refuses: {_told(line[1:])}")
        if line[:1] == bytes([_PACK_DATA]):
            pack += line[1:]
    if not pack.startswith(b"PACK"):
        raise ProtocolError("the server's answer holds no pack")
    return bytes(pack)


def _line(text: str) -> bytes:
    return f"{len(text) + _LENGTH_DIGITS:04x}{text}".encode()


def _lines(body: bytes) -> Iterator[bytes]:
    return (line for _, line in _lines_with_end(body))


def _lines_with_end(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the place after each pkt-line, and its content; b"" for a flush."""
    at = 0
    while at < len(body):
        try:
            length = int(body[at : at + _LENGTH_DIGITS], 16)
        except ValueError as error:
            raise ProtocolError("the server's answer is not git's protocol") from error
        if length == 0:
            at += _LENGTH_DIGITS
            yield at, b""
            continue
        if length < _LENGTH_DIGITS or at + length > len(body):
            raise ProtocolError("the server's answer is cut short")
        line = body[at + _LENGTH_DIGITS : at + length]
        at += length
        yield at, line


def _told(words: bytes) -> str:
    """Write what a server says in a message: one line, printable, short."""
    text = words.decode(errors="replace").strip()[:200]
    return "".join(character if character.isprintable() else " " for character in text)
