"""Bearer tokens that are objects of the log (`Token`). Does not own their end: a controller removes expired ones.

Each request reads the token's object from the log, as Kubernetes does for its service accounts: that costs a read,
and in return a token that was deleted is void at the very next request, on every replica.
"""

import hmac

from skerry.api.authentication_v1alpha1 import TOKEN, Token, token_name, token_sha256
from skerry.api.errors import NotFound
from skerry.api.model import from_document
from skerry.kit.clock import Clock, from_rfc3339
from skerry.server.auth import CREDENTIAL_ID, Credentials, User, authenticated
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs


class StoredTokens:
    """An `Authenticator` for `Token` objects.

    Args:
        verbs: where they are read.
        clock: tells whether one has expired.
    """

    def __init__(self, verbs: Verbs, clock: Clock) -> None:
        self._verbs = verbs
        self._clock = clock

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user that a token stands for; see `Authenticator`."""
        name = token_name(credentials.bearer)
        if not name:
            return None
        try:
            stored = await self._verbs.get(Target(TOKEN, name=name))
        except NotFound:
            return None
        token = from_document(Token, stored.document)
        same = hmac.compare_digest(token.spec.sha256, token_sha256(credentials.bearer))
        if not same or token.metadata.deletion_timestamp or self._has_expired(token):
            return None
        extra = {CREDENTIAL_ID: (f"TOKEN={name}",)}
        return authenticated(User(token.spec.username, groups=tuple(token.spec.groups), extra=extra))

    def _has_expired(self, token: Token) -> bool:
        return from_rfc3339(token.spec.expiration_timestamp) <= self._clock.now()
