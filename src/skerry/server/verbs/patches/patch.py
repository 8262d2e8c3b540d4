"""What a patch is to the verbs, whatever its format."""

from typing import Any, Protocol

from skerry.api.kinds import Kind
from skerry.api.model import Document


class Patch(Protocol):
    """A change of a part of an object; applied again to the newer state where another writer was quicker."""

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the changed object; `live` is the caller's own copy and may be changed in place.

        Raises:
            ApiError: the patch can't be applied to this object, or at all.
        """
        ...
