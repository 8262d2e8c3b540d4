"""Tokens of service accounts: JSON Web Tokens, signed with a key of ours, for an account and for a while.

Owns the key, what a token claims, and whether one holds. Nothing of a token is stored: each request that shows one
reads its account from the log, so that all tokens of an account that was deleted, or made again, are void at the very
next request, on every replica. Claims: k8s.io/kubernetes, pkg/serviceaccount/claims.go.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from skerry.api.core_service_account_v1 import SERVICE_ACCOUNT, account_groups, account_user
from skerry.api.errors import NotFound
from skerry.api.model import Document
from skerry.kit.clock import Clock
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, write_private
from skerry.kit.ids import Ids
from skerry.server.auth import CREDENTIAL_ID, Credentials, User, authenticated
from skerry.server.tls import key_pem
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: Who makes the tokens, and whom they are for where nobody else is named: Kubernetes' own name for its API.
ISSUER = "https://kubernetes.default.svc.cluster.local"
_ALGORITHM = "ES256"
_CLAIM = "kubernetes.io"


def open_signing_key(path: Path) -> ECKey:
    """Load the key that signs the tokens, or make it where there is none.

    Raises:
        StartError: the file is unreadable or damaged.
    """
    try:
        if not path.exists():
            make_private_directory(path.parent)
            write_private(path, key_pem(ec.generate_private_key(ec.SECP256R1())))
        return _read_key(path)
    except (OSError, ValueError, TypeError, JoseError) as error:
        raise StartError(
            f"the key in {path}, which signs tokens of service accounts, can't be read: restore it, or remove it "
            "(all of their tokens are void then)",
            detail=str(error),
        ) from error


def _read_key(path: Path) -> ECKey:
    key = ECKey.import_key(path.read_bytes())
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("it is no private key on the curve P-256")
    return key


class AccountTokens:
    """Makes the tokens of service accounts, and tells whom one stands for; an `Authenticator`.

    Args:
        verbs: where accounts are read.
        key: signs the tokens.
        clock: tells whether one has expired.
        ids: number the tokens.
    """

    def __init__(self, verbs: Verbs, key: ECKey, clock: Clock, ids: Ids) -> None:
        self._verbs = verbs
        self._key = key
        self._clock = clock
        self._ids = ids
        self._header = {"alg": _ALGORITHM, "kid": key.thumbprint()}

    def issue(self, metadata: Document, audiences: Sequence[str], seconds: int) -> str:
        """Return a new token.

        Args:
            metadata: of the account.
            audiences: whom it is for.
            seconds: how long it holds.
        """
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "sub": account_user(metadata["namespace"], metadata["name"]),
            "aud": list(audiences),
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": self._ids.uid(),
            _CLAIM: {
                "namespace": metadata["namespace"],
                "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        return jwt.encode(self._header, claims, self._key, algorithms=[_ALGORITHM])

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the account of a token for this API; see `Authenticator`."""
        return await self.user_of(credentials.bearer, ISSUER)

    async def user_of(self, token: str, audience: str) -> User | None:
        """Return the account of a token for an audience; None where it is none, or void."""
        claims = self._claims(token)
        if claims is None or audience not in claims["aud"]:
            return None
        if not claims["nbf"] <= self._clock.now().timestamp() < claims["exp"]:
            return None
        namespace, account = claims[_CLAIM]["namespace"], claims[_CLAIM]["serviceaccount"]
        try:
            stored = await self._verbs.get(Target(SERVICE_ACCOUNT, namespace, account["name"]))
        except NotFound:
            return None
        if stored.metadata["uid"] != account["uid"] or stored.metadata.get("deletionTimestamp"):
            return None
        extra = {CREDENTIAL_ID: (f"JTI={claims['jti']}",)}
        name = account_user(namespace, account["name"])
        return authenticated(User(name, account["uid"], account_groups(namespace), extra))

    def _claims(self, token: str) -> dict[str, Any] | None:
        """Return what a token of ours claims; None for any other text."""
        if token.count(".") != 2:
            return None
        try:
            found = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError):
            return None
        return found.claims if found.header.get("kid") == self._header["kid"] else None
