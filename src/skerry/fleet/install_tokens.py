"""Install tokens: who holds one may install a node, or a device of a product, for a while. Pure.

The text is the hexadecimal MAC of a JSON document and that document in hexadecimal, as Baetyl's are, so it passes
through shells and URLs unquoted. Baetyl 2.0 keeps 40 bits of a digest, and its later versions sign with the identity:
ours is a whole HMAC-SHA256, cut to 128 bits.

Invariant: a token says nothing that was not signed; what it names is looked up again when it is used, by uid, so a
token for a node that was deleted opens nothing, even where another node has its name by now.
"""

import datetime as dt
import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

import orjson

from skerry.kit.errors import SkerryError

#: How long a token holds; upstream's own time.
LIFE_SECONDS = 3600
#: A longer text is no token of ours.
CHARACTERS_MAX = 2048
_MAC_CHARACTERS = 32

InstallKind = Literal["node", "batch"]


class TokenRefused(SkerryError):
    """A token that is not ours, was changed, or is over."""


@dataclass(frozen=True, slots=True)
class InstallToken:
    """What a token says.

    Attributes:
        kind: whether it installs a node, or a device of a product.
        namespace: of that node or product.
        name: likewise.
        uid: likewise.
        expires: from this second on it is refused; since 1970.
        once: an id, where the token is good for one use; "" for any number.
    """

    kind: InstallKind
    namespace: str
    name: str
    uid: str
    expires: int
    once: str = ""


def written(token: InstallToken, key: bytes) -> str:
    """Return the text of a token, signed with a key of at least 32 random bytes."""
    document = {
        "k": token.kind,
        "ns": token.namespace,
        "n": token.name,
        "u": token.uid,
        "e": token.expires,
        "o": token.once,
    }
    content = orjson.dumps(document)
    return _mac(content, key) + content.hex()


def read(text: str, key: bytes, now: dt.datetime) -> InstallToken:
    """Return what a token says.

    Raises:
        TokenRefused: it was not signed with the key, or is over.
    """
    mac, content = text[:_MAC_CHARACTERS], text[_MAC_CHARACTERS:]
    if len(text) > CHARACTERS_MAX or not text.isascii() or not content:
        raise TokenRefused("the install token is not one of this control plane")
    try:
        signed = bytes.fromhex(content)
    except ValueError as error:
        raise TokenRefused("the install token is not one of this control plane") from error
    if not hmac.compare_digest(_mac(signed, key), mac):
        raise TokenRefused("the install token is not one of this control plane")
    document = orjson.loads(signed)
    if document["e"] <= now.timestamp():
        raise TokenRefused("the install token has expired: ask for a new command")
    return InstallToken(document["k"], document["ns"], document["n"], document["u"], document["e"], document["o"])


def _mac(content: bytes, key: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]
