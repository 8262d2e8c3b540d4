"""Tokens as Kubernetes asks for them: a TokenRequest makes one for a service account, a TokenReview looks at one.

Words and bounds: pkg/apis/authentication/validation, pkg/registry/core/serviceaccount/storage/token.go and
pkg/registry/authentication/tokenreview of k8s.io/kubernetes.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skerry.api.errors import BadRequest, Invalid
from skerry.api.fields import FieldError, invalid, too_long, too_many, type_invalid
from skerry.api.model import Document
from skerry.kit.clock import Clock, rfc3339
from skerry.server.auth import Authenticator, Credentials, User
from skerry.server.service_accounts import ISSUER, AccountTokens
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

GROUP = "authentication.k8s.io"
EXPIRATION_SECONDS_MIN = 600
EXPIRATION_SECONDS_DEFAULT = 3600
#: A token that is asked for longer holds as long as this; the caller is told.
EXPIRATION_SECONDS_MAX = 24 * 3600
_EXPIRATION_SECONDS_ASKED_MAX = 1 << 32
#: So many, so long, that no token grows over what a request may show.
AUDIENCES_MAX, AUDIENCE_CHARACTERS_MAX = 16, 253


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where tokens come from, and who knows them.

    Attributes:
        verbs: where accounts are read.
        clock: tells when a token ends.
        accounts: makes the tokens of service accounts.
        authenticators: every kind of token that this API takes.
    """

    verbs: Verbs
    clock: Clock
    accounts: AccountTokens
    authenticators: Sequence[Authenticator]

    async def request(self, target: Target, body: Document) -> tuple[Document, tuple[str, ...]]:
        """Make a token for the account `target`.

        Returns:
            The TokenRequest with the token in its status, and warnings.

        Raises:
            BadRequest: it is for another account, or to be bound to an object.
            NotFound: there is no such account.
            Invalid: with every field that is wrong.
        """
        _check_place(target, body)
        wanted = _wanted(target, _spec(body))
        account = (await self.verbs.get(target)).metadata
        seconds = min(wanted.seconds, EXPIRATION_SECONDS_MAX)
        shortened = f"requested expiration of {wanted.seconds} seconds shortened to {seconds} seconds"
        audiences = wanted.audiences or [ISSUER]
        now = self.clock.now()
        ends = rfc3339(now + dt.timedelta(seconds=seconds))
        token = self.accounts.issue(account, audiences, seconds)
        document = {
            "kind": "TokenRequest",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": rfc3339(now)},
            "spec": {"audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": ends},
        }
        return document, (shortened,) if seconds < wanted.seconds else ()

    async def review(self, body: Document) -> Document:
        """Return a TokenReview with its answer.

        Raises:
            BadRequest: it holds no token.
            Invalid: with every field that is wrong.
        """
        spec = _spec(body)
        wrong: list[FieldError] = []
        audiences = _audiences(spec, wrong)
        token = spec.get("token")
        if token is not None and not isinstance(token, str):
            wrong.append(type_invalid("spec.token", token, "string"))
        if wrong:
            raise Invalid.of("TokenReview", GROUP, "", wrong)
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        return {
            "kind": "TokenReview",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": await self._status(token, audiences or [ISSUER]),
        }

    async def _status(self, token: str, audiences: Sequence[str]) -> Document:
        found: dict[str, User] = {}
        for audience in audiences:
            if user := await self._user_of(token, audience):
                found[audience] = user
        if not found:
            return {"authenticated": False, "user": {}, "error": "the token is unknown, void, or for another audience"}
        return {"authenticated": True, "user": next(iter(found.values())).info(), "audiences": list(found)}

    async def _user_of(self, token: str, audience: str) -> User | None:
        """Return whom a token stands for with an audience: what this API takes is meant for this API alone."""
        if audience != ISSUER:
            return await self.accounts.user_of(token, audience)
        for authenticator in self.authenticators:
            if user := await authenticator.authenticate(Credentials(token)):
                return user
        return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a TokenRequest asks for."""

    seconds: int = EXPIRATION_SECONDS_DEFAULT
    audiences: list[str] = field(default_factory=list)


def _wanted(target: Target, spec: Document) -> _Wanted:
    wrong: list[FieldError] = []
    audiences, path = _audiences(spec, wrong), "spec.expirationSeconds"
    seconds: Any = spec.get("expirationSeconds")
    if seconds is None:
        seconds = EXPIRATION_SECONDS_DEFAULT
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        wrong.append(type_invalid(path, seconds, "integer"))
    elif seconds < EXPIRATION_SECONDS_MIN:
        wrong.append(invalid(path, seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > _EXPIRATION_SECONDS_ASKED_MAX:
        wrong.append(invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
    if wrong:
        raise Invalid.of("TokenRequest", GROUP, target.name, wrong)
    if bound := spec.get("boundObjectRef"):
        kind = bound.get("kind") if isinstance(bound, dict) else bound
        raise BadRequest(f"cannot bind token for serviceaccount {target.name!r} to {kind}: leave out boundObjectRef")
    return _Wanted(seconds, audiences)


def _audiences(spec: Document, wrong: list[FieldError]) -> list[str]:
    """Return whom a token is for, each once; appends to `wrong`."""
    given, path = spec.get("audiences") or [], "spec.audiences"
    if not isinstance(given, list) or not all(isinstance(audience, str) and audience for audience in given):
        wrong.append(type_invalid(path, given, "array") if not isinstance(given, list) else _no_text(given))
        return []
    if len(given) > AUDIENCES_MAX:
        wrong.append(too_many(path, len(given), AUDIENCES_MAX))
    for index, audience in enumerate(given[:AUDIENCES_MAX]):
        if len(audience) > AUDIENCE_CHARACTERS_MAX:
            wrong.append(too_long(f"{path}[{index}]", AUDIENCE_CHARACTERS_MAX, "characters"))
    return list(dict.fromkeys(given))


def _no_text(given: list[Any]) -> FieldError:
    index = next(index for index, audience in enumerate(given) if not isinstance(audience, str) or not audience)
    return invalid(f"spec.audiences[{index}]", given[index], "must be a text that is not empty")


def _spec(body: Document) -> Document:
    spec = body.get("spec") or {}
    if not isinstance(spec, dict):
        raise BadRequest("spec must be an object")
    return spec


def _check_place(target: Target, body: Document) -> None:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return
    for key, wanted in (("name", target.name), ("namespace", target.namespace)):
        if metadata.get(key) not in (None, "", wanted):
            raise BadRequest(f"the {key} of the provided object does not match the {key} sent on the request")
