"""Who asks: credentials to users. Does not own what a user may do (`access` does).

An authenticator knows one kind of credential; `require_user` asks one after the other. The kinds: the tokens of a
list (here), tokens that are objects (`tokens`), client certificates (`client_certificates`).

Static tokens are kept as SHA-256 digests, so a copy of the file opens nothing. A token carries 256 random bits, so a
plain digest is enough: there is nothing to guess that a slow hash would slow down.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from skerry.api.errors import Unauthorized
from skerry.api.model import Document

AUTHENTICATED = "system:authenticated"
ADMINISTRATORS = "system:masters"
#: The group of the nodes that joined a fleet (`node_certificates`).
BAETYL_NODES = "system:baetyl-nodes"
#: A longer credential is none of ours.
TOKEN_CHARACTERS_MAX = 8192
#: What a credential says of itself, for the audit log: its kind and number, never the credential.
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


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

    def info(self) -> Document:
        """Tell of this user as a UserInfo of authentication.k8s.io/v1 does."""
        told: Document = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            told["uid"] = self.uid
        if self.extra:
            told["extra"] = {key: list(values) for key, values in self.extra.items()}
        return told


ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a client's verified certificate says.

    Attributes:
        user: whom it was made for.
        ends: its last moment.
        begins: its first moment; `tls.CLOCK_SKEW` before it was made, where we made it.
        uri: what it is bound to, besides its names; "" for nothing.
    """

    user: User
    ends: dt.datetime
    begins: dt.datetime
    uri: str = ""


@dataclass(frozen=True)
class Credentials:
    """What a request shows to tell who asks.

    Attributes:
        bearer: the token of an Authorization header; "" where there is none, or none that could be ours.
        certificate: what the client showed when it connected; None where it showed none.
    """

    bearer: str = ""
    certificate: ClientCertificate | None = None

    @cached_property
    def digest(self) -> bytes:
        """What is kept of such a token, where it is known."""
        return digest_of(self.bearer)


#: Where the listening server puts an empty dict of each connection into ASGI's `extensions`: whoever asked last asks
#: next, nearly always, and what they show is read once. It goes with the connection.
CREDENTIALS_READ = "skerry.credentials_read"
#: Where the listening server puts the client's certificate into ASGI's `extensions`.
CLIENT_CERTIFICATE = "skerry.client_certificate"


def credentials_of(headers: Mapping[bytes, bytes], extensions: Mapping[str, Any]) -> Credentials:
    """Read the credentials of a request from its headers (names in lower case) and ASGI's extensions."""
    given = headers.get(b"authorization", b"")
    last: dict[bytes, Credentials] = extensions.get(CREDENTIALS_READ, {})
    known = last.get(given)
    if known is None:
        known = _read_credentials(given, extensions.get(CLIENT_CERTIFICATE))
        last.clear()
        last[given] = known
    return known


def _read_credentials(given: bytes, certificate: ClientCertificate | None) -> Credentials:
    scheme, _, token = given.partition(b" ")
    if scheme.lower() != b"bearer" or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        return Credentials(certificate=certificate)
    return Credentials(token.strip().decode(), certificate)


class Authenticator(Protocol):
    """One way to tell who asks."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the `authenticated` user whom the credentials show; None where they are none of this kind, or void."""
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

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user of the bearer token, if it is known; see `Authenticator`."""
        if not credentials.bearer:
            return None
        digest = credentials.digest
        found = None
        for record in self._records:
            if hmac.compare_digest(record.sha256, digest):
                found = record.user
        return found


async def require_user(authenticators: Sequence[Authenticator], credentials: Credentials) -> User:
    """Return who asks; raises Unauthorized for no credential, and for one that nobody knows."""
    for authenticator in authenticators:
        user = await authenticator.authenticate(credentials)
        if user is not None:
            return user
    raise Unauthorized("Unauthorized")


def authenticated(user: User) -> User:
    """Return the user as a member of the group that every known user belongs to."""
    return replace(user, groups=tuple(dict.fromkeys((*user.groups, AUTHENTICATED))))
