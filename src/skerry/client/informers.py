"""One informer a kind and form (objects, their metadata alone, or what is made of them), however many ask for it.

Owns that each is followed once. Does not own what is done with it. Controllers ask for theirs when they are made, and
all run together; those of kinds that come later start at once, and end with their kind.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from skerry.api.kinds import Kind
from skerry.api.model import Document, R
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.client.informer import Informer, PartialInformer, ReadInformer
from skerry.kit.tasks import Loops


class Informers:
    """The informers of one client.

    Args:
        client: where the kinds are read from.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        #: By resource, and for metadata with a suffix.
        self._by_name: dict[str, Informer[Any]] = {}
        self._loops: Loops | None = None

    def of(self, model: type[R], field_selector: str = "") -> Informer[R]:
        """Return the informer of a kind that is declared by a model, or of the selected ones of its objects."""
        resource = kind_of(model).resource
        name = f"{resource}:{field_selector}" if field_selector else resource
        if name not in self._by_name:
            self._add(name, Informer(self._client, model, field_selector=field_selector))
        return cast("Informer[R]", self._by_name[name])

    def read_of(self, kind: Kind[Any], read: Callable[[Document], Any]) -> ReadInformer:
        """Return the informer of a kind that holds what a function makes of its objects."""
        name = f"{kind.resource}:{read.__qualname__}"
        if name not in self._by_name:
            self._add(name, ReadInformer(self._client, kind, read))
        return cast("ReadInformer", self._by_name[name])

    def partial_of(self, kind: Kind[Any]) -> PartialInformer:
        """Return the informer of a kind that holds metadata alone."""
        name = _partial(kind.resource)
        if name not in self._by_name:
            self._add(name, PartialInformer(self._client, kind))
        return cast("PartialInformer", self._by_name[name])

    def forget(self, resource: str) -> None:
        """End the informer of the metadata of a kind that is not served any more."""
        informer = self._by_name.pop(_partial(resource), None)
        if self._loops is not None:
            self._loops.stop(_partial(resource))
        if informer is not None:
            informer.end()

    def _add(self, name: str, informer: Informer[Any]) -> None:
        self._by_name[name] = informer
        if self._loops is not None:
            self._loops.start(name, informer.run)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow every kind that was asked for, for the length of the block."""
        loops = Loops()
        async with loops.running():
            self._loops = loops
            for name, informer in self._by_name.items():
                loops.start(name, informer.run)
            try:
                yield
            finally:
                self._loops = None


def _partial(resource: str) -> str:
    return f"{resource}:metadata"
