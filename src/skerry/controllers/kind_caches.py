"""A cache of the metadata of every kind that is served, as kinds come and go.

Owns that controllers which work on objects of any kind see all of them, those of definitions too. They share one, so
that a kind is followed once and let go once. Does not own what they do about a change.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from skerry.api.catalogue import Catalogue
from skerry.api.kinds import Kind
from skerry.client.informer import Key, PartialInformer
from skerry.client.informers import Informers

ObjectsListener = Callable[[str, Collection[Key]], None]
KindsListener = Callable[[Collection[str]], None]


class KindCaches:
    """The informers of all kinds.

    Args:
        informers: where they come from.
        catalogue: which kinds there are.
    """

    def __init__(self, informers: Informers, catalogue: Catalogue) -> None:
        self.informers = informers
        self._catalogue = catalogue
        self._kinds: dict[str, Kind[Any]] = {}
        self._caches: dict[str, PartialInformer] = {}
        self._on_objects: list[ObjectsListener] = []
        self._on_kinds: list[KindsListener] = []
        self._follow()
        catalogue.on_change(self._follow)

    @property
    def kinds(self) -> Mapping[str, Kind[Any]]:
        """Every kind, by its resource (`plural.group`)."""
        return self._kinds

    def of(self, resource: str) -> PartialInformer | None:
        """Return the cache of a kind; None for one that is not served (any more)."""
        return self._caches.get(resource)

    def on_objects(self, listener: ObjectsListener) -> None:
        """Call `listener` with the resource and the keys of objects that change together; it must not block."""
        self._on_objects.append(listener)

    def on_kinds(self, listener: KindsListener) -> None:
        """Call `listener` after kinds came or went, with the resources that are gone; it must not block."""
        self._on_kinds.append(listener)

    async def synced(self) -> None:
        """Wait until every cache has been filled once."""
        for cache in tuple(self._caches.values()):
            await cache.synced()

    def _follow(self) -> None:
        now = self._catalogue.current.of_resources
        before = self._kinds
        self._kinds = dict(now)
        gone = [resource for resource, kind in before.items() if resource not in now]
        changed = [r for r, kind in now.items() if r in before and before[r].api_version != kind.api_version]
        for resource in (*gone, *changed):
            del self._caches[resource]
            self.informers.forget(resource)
        for resource, kind in now.items():
            if resource not in self._caches:
                self._caches[resource] = cache = self.informers.partial_of(kind)
                cache.on_changes(self._teller(resource))
        if before.keys() != now.keys():
            for listener in self._on_kinds:
                listener(gone)

    def _teller(self, resource: str) -> Callable[[Collection[Key]], None]:
        def tell(keys: Collection[Key]) -> None:
            for listener in self._on_objects:
                listener(resource, keys)

        return tell
