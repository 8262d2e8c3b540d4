"""Bearer tokens of an OpenID issuer: JWTs that it signed for us. Its keys, `issuer_keys` gets.

Names and rules are those of kube-apiserver's `--oidc-*` flags
(https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens). Stricter are two: an
email must be verified, and neither a user nor a group can be one of `system:`, which are ours to give.

What is wrong with a token is in our log only; its sender reads 401, as with any credential that is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from skerry.kit.clock import Clock
from skerry.kit.errors import ConfigurationError
from skerry.kit.logs import get_logger
from skerry.server.auth import CREDENTIAL_ID, Credentials, User, authenticated
from skerry.server.issuer_keys import IssuerKeys, url_problem

log = get_logger(__name__)

#: What a token may be signed with, and the type of key for it: no HMAC, for which a public key would be the secret.
ALGORITHMS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
#: How far the issuer's clock and ours may be apart.
CLOCK_SKEW_SECONDS = 10
NAME_CHARACTERS_MAX = 256
_RESERVED = "system:"
_NO_PREFIX = "-"


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Whose tokens are taken, and what becomes of their claims; the fields are settings of the same names.

    Attributes:
        oidc_issuer_url: what `iss` must be, and where the keys are found.
        oidc_client_id: what must be in `aud`.
        oidc_username_claim: the user's name.
        oidc_groups_claim: the groups, a text or a list of them; "" for none.
        oidc_username_prefix: "" stands for the issuer and "#" (for an email: for nothing), "-" for nothing.
        oidc_groups_prefix: put before each group.
        oidc_ca_file: authorities of the issuer's certificate; the system's where None.
        oidc_required_claims: `NAME=VALUE`, each of which a token must have.

    Raises:
        ConfigurationError: a field is wrong, or does not go with another.
    """

    oidc_issuer_url: str
    oidc_client_id: str
    oidc_username_claim: str = "sub"
    oidc_groups_claim: str = ""
    oidc_username_prefix: str = ""
    oidc_groups_prefix: str = ""
    oidc_ca_file: Path | None = None
    oidc_required_claims: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        issuer, ca_file = url_problem(self.oidc_issuer_url) if self.oidc_issuer_url else "", self.oidc_ca_file
        wrong = [
            "oidc_issuer_url: must be set where another oidc_ setting is" * (not self.oidc_issuer_url),
            f"oidc_issuer_url: {issuer}" * bool(issuer),
            "oidc_client_id: must be set where oidc_issuer_url is" * (not self.oidc_client_id),
            "oidc_username_claim: must not be empty" * (not self.oidc_username_claim),
            f"oidc_ca_file: there is no file {ca_file}" * (ca_file is not None and not ca_file.is_file()),
            "oidc_groups_prefix: has no effect without oidc_groups_claim"
            * bool(self.oidc_groups_prefix and not self.oidc_groups_claim),
            *(
                f"oidc_{what}_prefix: must not start with {_RESERVED}, whose names are given by Skerry only"
                for what, prefix in (("username", self.oidc_username_prefix), ("groups", self.oidc_groups_prefix))
                if prefix.startswith(_RESERVED)
            ),
            *(
                f"oidc_required_claims: {item!r} must be NAME=VALUE"
                for item in self.oidc_required_claims
                if not item.partition("=")[0] or "=" not in item
            ),
        ]
        if any(wrong):
            raise ConfigurationError("; ".join(filter(None, wrong)))

    def username_prefix(self) -> str:
        """Return what is put before each user's name."""
        if self.oidc_username_prefix:
            return "" if self.oidc_username_prefix == _NO_PREFIX else self.oidc_username_prefix
        return "" if self.oidc_username_claim == "email" else f"{self.oidc_issuer_url}#"


class TokenRefused(Exception):
    """A token of the issuer is not good; the message is for our log and holds nothing of the token but claims."""


@dataclass(frozen=True, slots=True)
class OidcTokens:
    """An `Authenticator` for the tokens of one issuer.

    Attributes:
        settings: whose, and what becomes of their claims.
        keys: of the issuer, running.
        clock: tells whether a token has begun, and has ended.
    """

    settings: OidcSettings
    keys: IssuerKeys
    clock: Clock
    _registry: JWSRegistry = field(default_factory=lambda: JWSRegistry(None, list(ALGORITHMS), False))

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user that a token names; see `Authenticator`."""
        parts = credentials.bearer.split(".")
        # A token of anybody else is not even tried: it could make us ask our issuer for keys.
        if len(parts) != 3 or _peek(parts[1]).get("iss") != self.settings.oidc_issuer_url:
            return None
        try:
            claims = await self._verified(credentials.bearer, _peek(parts[0]))
            return self._user(claims)
        except (TokenRefused, JoseError) as error:
            log.info("a token of the OpenID issuer was refused", reason=str(error)[:500])
            return None

    async def _verified(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the claims of a token that is the issuer's, for us, and of now."""
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        key_type = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
        if key_type is None or not isinstance(key_id, str):
            raise TokenRefused(f"signed with {algorithm!r:.50}, not with one of {', '.join(ALGORITHMS)}")
        key = await self.keys.find(key_id, key_type)
        if key is None:
            raise TokenRefused(f"the key {key_id!r:.200} is not known to be the issuer's")
        try:
            claims = jwt.decode(token, key, registry=self._registry).claims
        except (ValueError, RecursionError) as error:
            raise TokenRefused(f"it can't be read: {type(error).__name__}") from error
        jwt.JWTClaimsRegistry(
            now=int(self.clock.now().timestamp()),
            leeway=CLOCK_SKEW_SECONDS,
            iss={"essential": True, "value": self.settings.oidc_issuer_url},
            aud={"essential": True, "value": self.settings.oidc_client_id},
            exp={"essential": True},
        ).validate(claims)
        for item in self.settings.oidc_required_claims:
            name, _, value = item.partition("=")
            if claims.get(name) != value:
                raise TokenRefused(f"the claim {name} is not {value!r} (oidc_required_claims)")
        return claims

    def _user(self, claims: Mapping[str, Any]) -> User:
        claim = self.settings.oidc_username_claim
        name = _name(self.settings.username_prefix(), claims.get(claim), claim)
        if claim == "email" and claims.get("email_verified") is not True:
            raise TokenRefused("the claim email_verified is not true")
        extra = {}
        if isinstance(number := claims.get("jti"), str) and 0 < len(number) <= NAME_CHARACTERS_MAX:
            extra = {CREDENTIAL_ID: (f"JTI={number}",)}
        return authenticated(User(name, groups=self._groups(claims), extra=extra))

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        claim = self.settings.oidc_groups_claim
        given = claims.get(claim, []) if claim else []
        listed = given if isinstance(given, list) else [given]
        return tuple(_name(self.settings.oidc_groups_prefix, item, claim) for item in listed)


def _peek(segment: str) -> dict[str, Any]:
    """Read a part of a token that nobody has verified yet; {} where it is no JSON object."""
    try:
        document = orjson.loads(urlsafe_b64decode(segment.encode()))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _name(prefix: str, value: object, claim: str) -> str:
    """Return the name of a user or group; raises TokenRefused."""
    if value is None:
        raise TokenRefused(f"there is no claim {claim}")
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"the claim {claim} is no text")
    name = prefix + value
    if len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise TokenRefused(f"the claim {claim} is longer than {NAME_CHARACTERS_MAX} characters, or not printable")
    if name.startswith(_RESERVED):
        raise TokenRefused(f"the claim {claim} is {name!r}: names of {_RESERVED} are not the issuer's to give")
    return name
