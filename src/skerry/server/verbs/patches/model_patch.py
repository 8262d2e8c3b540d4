"""A change of an object that code of Skerry's makes, to its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from skerry.api.kinds import Kind
from skerry.api.model import Document, R, from_document, to_document


@dataclass(frozen=True, slots=True)
class ModelPatch(Generic[R]):
    """A change of a model in place.

    Attributes:
        mutate: makes it, of the newest state each time; raises where it can't be.
    """

    mutate: Callable[[R], None]

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the changed object; see `Patch`."""
        obj = from_document(kind.model, live)
        self.mutate(obj)
        return to_document(obj)
