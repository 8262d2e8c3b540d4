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
    """

    revision: int
    after: tuple[str, str]

    def token(self) -> str:
        """Return the place as a token."""
        return base64.urlsafe_b64encode(orjson.dumps([self.revision, *self.after])).decode().rstrip("=")


def continuation(token: str) -> Continuation:
    """Read a token; raises BadRequest for one that no list has given out."""
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(token[:TOKEN_CHARACTERS_MAX] + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadRequest(_INVALID) from error
    match parts:
        case [int(revision), str(namespace), str(name)] if revision > 0 and revision is not True:
            return Continuation(revision, (namespace, name))
        case _:
            raise BadRequest(_INVALID)
