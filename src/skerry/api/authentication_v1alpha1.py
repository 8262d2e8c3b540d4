"""authentication.skerry.dev/v1alpha1: Token, a credential that anyone may hold who is given it.

The bearer token itself is never on the server: who makes one (`skerry token create`) sends its digest. Its text
carries the name of the object that speaks for it, as Kubernetes' bootstrap tokens do, so it is looked up by name in
the log: every replica agrees, and a deleted one is void at the next request.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from skerry.api.fields import FieldError, forbidden
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_SET, Model, Resource, Time

#: Begins every token of this kind, so that programs that look for leaked secrets know one when they see it.
TOKEN_PREFIX = "skerry"  # noqa: S105 - a mark, not a token
GROUPS_MAX = 64

Name = Annotated[str, Field(min_length=1, max_length=256)]

_TEXT = re.compile(rf"{TOKEN_PREFIX}_([a-z0-9.-]{{1,253}})_([A-Za-z0-9_-]{{32,256}})")


class TokenSpec(Model):
    """Whom a token stands for, and how long. It can't be changed."""

    username: Name
    """The user that the token stands for."""
    groups: Annotated[list[Name], LIST_SET, Field(max_length=GROUPS_MAX)] = Field(default_factory=list)
    """The groups that the user belongs to."""
    expiration_timestamp: Time
    """When the token stops being accepted; the object is removed soon after."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 digest of the token's text, in lower-case hexadecimal. The text must hold 256 random bits."""


class Token(Resource):
    """A bearer token, known by its digest; deleting the object revokes it."""

    spec: TokenSpec
    """Whom the token stands for."""


def token_text(name: str, secret: str) -> str:
    """Return the token that the object `name` speaks for."""
    return f"{TOKEN_PREFIX}_{name}_{secret}"


def token_name(text: str) -> str:
    """Return the name of the object that speaks for a token; "" for a text that is no token of this kind."""
    found = _TEXT.fullmatch(text)
    return found[1] if found else ""


def token_sha256(text: str) -> str:
    """Return the digest of a token, as `TokenSpec.sha256` holds it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _validate(token: Token, old: Token | None) -> Iterator[FieldError]:
    if old is not None and token.spec != old.spec:
        yield forbidden("spec", "field is immutable: make a new token, and delete this one")


TOKEN = Kind(
    group="authentication.skerry.dev",
    version="v1alpha1",
    model=Token,
    plural="tokens",
    namespaced=False,
    columns=(
        Column("User", value_at(".spec.username"), description="The user that the token stands for."),
        Column("Groups", lambda d: ",".join(d["spec"].get("groups") or ()), description="The user's groups."),
        Column("Expires", value_at(".spec.expirationTimestamp"), description="When it stops being accepted."),
    ),
    validate=_validate,
)
