"""Who asks: credentials to users. Does not own what a user may do (`access` does).

Tokens are kept as SHA-256 digests, so a copy of the file opens nothing. A token carries 256 random bits, so a
plain digest is enough: there is nothing to guess that a slow hash would slow down.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from skerry.api.errors import Unauthorized

AUTHENTICATED = "system:authenticated"
ADMINISTRATORS = "system:masters"
#: A longer credential is none of ours.
TOKEN_CHARACTERS_MAX = 8192


@dataclass(frozen=True, slots=True)
class User:
    """Someone who asks.

    Attributes:
        name: unique among users.
        uid: unique in time, too; "" where the credential does not tell.
        groups: what the user belongs to.
        extra: what else the credential tells.
    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))


class Authenticator(Protocol):
    """One way to tell who asks."""

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> User | None:
        """Return the `authenticated` user whose credential the headers carry; None where it is none of this kind."""
        ...


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token."""

    sha256: bytes
    user: User


def digest_of(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


class StaticTokens:
    """Bearer tokens from a list.

    Every record is compared, in constant time each, so the answer's time tells nothing of how close a guess was.
    """

    def __init__(self, records: Sequence[TokenRecord]) -> None:
        self._records = tuple(TokenRecord(record.sha256, authenticated(record.user)) for record in records)

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> User | None:
        """Return the user of the bearer token, if it is known; see `Authenticator`."""
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or len(token) > TOKEN_CHARACTERS_MAX:
            return None
        digest = hashlib.sha256(token.strip()).digest()
        found = None
        for record in self._records:
            if hmac.compare_digest(record.sha256, digest):
                found = record.user
        return found


def require_user(authenticators: Sequence[Authenticator], headers: Sequence[tuple[bytes, bytes]]) -> User:
    """Return who asks; raises Unauthorized for no credential, and for one that nobody knows."""
    for authenticator in authenticators:
        user = authenticator.authenticate(headers)
        if user is not None:
            return user
    raise Unauthorized("Unauthorized")


def authenticated(user: User) -> User:
    """Return the user as a member of the group that every known user belongs to."""
    return replace(user, groups=tuple(dict.fromkeys((*user.groups, AUTHENTICATED))))
