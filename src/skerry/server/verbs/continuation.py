"""Continue tokens: where the next page of a list begins, and of which snapshot. Opaque to clients."""

import base64
import binascii
from dataclasses import dataclass

import orjson

from skerry.api.errors import BadRequest

#: Names are bounded by 253 characters each; a longer token is none of ours.
TOKEN_CHARACTERS_MAX = 2048
_INVALID = "continue key is not valid: start a new list without it"


@dataclass(frozen=True, slots=True)
class Continuation:
    """The place after a page.

    Attributes:
        revision: the snapshot that all pages of the list show.
        after: (namespace, name) of the last object seen.
        remaining: how many objects of the snapshot follow, counted once for all pages; None where nobody did.
    """

    revision: int
    after: tuple[str, str]
    remaining: int | None = None

    def token(self) -> str:
        """Return the place as a token."""
        parts = [self.revision, *self.after, *(() if self.remaining is None else (self.remaining,))]
        return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def continuation(token: str) -> Continuation:
    """Read a token; raises BadRequest for one that no list has given out."""
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(token[:TOKEN_CHARACTERS_MAX] + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadRequest(_INVALID) from error
    match parts:
        case [int(revision), str(namespace), str(name)] if _is_above_zero(revision):
            return Continuation(revision, (namespace, name))
        case [int(revision), str(namespace), str(name), int(remaining)] if all(
            map(_is_above_zero, (revision, remaining))
        ):
            return Continuation(revision, (namespace, name), remaining)
        case _:
            raise BadRequest(_INVALID)


def _is_above_zero(number: int) -> bool:
    return number > 0 and number is not True
