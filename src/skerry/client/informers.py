"""One informer a kind and form (objects, or their metadata alone), however many ask for it.

Owns that each is followed once. Does not own what is done with it. Controllers ask for theirs when they are made;
then all run together.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from skerry.api.kinds import Kind
from skerry.api.model import R
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.client.informer import Informer, PartialInformer
from skerry.kit.tasks import background


class Informers:
    """The informers of one client.

    Args:
        client: where the kinds are read from.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._by_model: dict[type[Any], Informer[Any]] = {}
        #: By resource.
        self._partial: dict[str, PartialInformer] = {}
        self._running = False

    def of(self, model: type[R]) -> Informer[R]:
        """Return the informer of a kind; raises RuntimeError for a new one once they run, which would not."""
        if model not in self._by_model:
            if self._running:
                raise RuntimeError(f"ask for the informer of {model.__name__} before the informers run")
            self._by_model[model] = Informer(self._client, model)
        return cast("Informer[R]", self._by_model[model])

    def partial_of(self, kind: Kind[Any]) -> PartialInformer:
        """Return the informer of a kind that holds metadata alone; raises RuntimeError as `of` does."""
        if kind.resource not in self._partial:
            if self._running:
                raise RuntimeError(f"ask for the informer of {kind.resource} before the informers run")
            self._partial[kind.resource] = PartialInformer(self._client, kind)
        return self._partial[kind.resource]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow every kind that was asked for, for the length of the block."""
        self._running = True
        loops = [(kind_of(model).resource, informer.run) for model, informer in self._by_model.items()]
        loops += [(f"{resource}:metadata", informer.run) for resource, informer in self._partial.items()]
        async with background(*loops):
            yield
