"""A cache of one kind that follows the log: list, then watch, for ever.

Owns the copy and its freshness. Does not own what anyone does about a change: listeners get the key only, and read
the present state (a wake-up says "look again", not why).

Invariant: once `synced`, the cache is the collection as it was at some revision, and that revision only rises.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, TypeVar

from prometheus_client import Counter
from pydantic import ValidationError

from skerry.api.errors import ApiError, Expired
from skerry.api.kinds import Kind
from skerry.api.model import Document, R, from_document
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.client.paging import pages
from skerry.client.partial import PartialObject, partial_object
from skerry.client.transport import Target, WatchBatch
from skerry.kit.backoff import Backoff
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")

RELISTS = Counter("skerry_informer_lists_total", "Full lists that an informer made.", ["resource"])

Key = tuple[str, str]
"""Namespace and name; the namespace is "" for cluster-scoped kinds."""


class Informer(Generic[R]):
    """The live collection of one kind.

    Its objects have no managedFields: they are half of a small object, and nobody acts on who set which field. A write
    without them leaves those of the log.

    Args:
        client: where it is read from.
        model: what the objects are read as.
        kind: the kind; None for the one that the model declares.
        field_selector: which objects it holds; "" for all.
    """

    def __init__(
        self, client: Client, model: type[R], kind: Kind[R] | None = None, *, field_selector: str = ""
    ) -> None:
        self._client = client
        self._model = model
        self._kind = kind or kind_of(model)
        self._target = Target(self._kind, field_selector=field_selector)
        self._objects: ImmutableMap[Key, R] = ImmutableMap()
        self._listeners: list[Callable[[Collection[Key]], None]] = []
        self._synced = asyncio.Event()

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with the key of every object that was added, changed or removed; it must not block."""

        def tell(keys: Collection[Key]) -> None:
            for key in keys:
                self._hand_on(listener, key)

        self.on_changes(tell)

    def on_changes(self, listener: Callable[[Collection[Key]], None]) -> None:
        """Call `listener` with all keys that were changed together, where most of them concern it in the same way."""
        self._listeners.append(listener)

    async def synced(self) -> None:
        """Wait until the first list is complete."""
        await self._synced.wait()

    def end(self) -> None:
        """Let go of the collection, whose kind is gone, and of everyone who waits for it."""
        self._objects = ImmutableMap()
        self._synced.set()

    @property
    def objects(self) -> ImmutableMap[Key, R]:
        """The cached objects as they stand. They are shared: copy before changing one."""
        return self._objects

    def get(self, name: str, namespace: str = "") -> R | None:
        """Return the cached object, or None. It is shared: copy before changing it."""
        found: R | None = self._objects.get((namespace, name))
        return found

    def __iter__(self) -> Iterator[R]:
        """Iterate over a snapshot of the cached objects."""
        return iter(self._objects.values())

    def __len__(self) -> int:
        """Return the number of cached objects."""
        return len(self._objects)

    async def run(self) -> None:
        """Follow the collection; never returns. Failures are retried with backoff and a fresh list."""
        backoff = Backoff(first_seconds=0.05)
        while True:
            try:
                await self._watch(await self._list(), backoff)
            except Expired:
                log.info("watch expired, listing again", resource=self._kind.resource)
            except (ApiError, OSError) as error:
                log.warning("informer lost its source", resource=self._kind.resource, error=str(error))
            await asyncio.sleep(backoff.next_seconds())

    async def _list(self) -> str:
        RELISTS.labels(self._kind.resource).inc()
        found: dict[Key, R] = {}
        revision = ""
        async for page in pages(self._client.transport, self._target):
            for item in page["items"]:
                if obj := self._read(item):
                    found[(obj.namespace, obj.name)] = obj
            revision = str(page["metadata"]["resourceVersion"])
        before, self._objects = self._objects, ImmutableMap(found)
        self._synced.set()
        if changed := self._objects.changes_since(before).keys:
            self._tell(changed)
        return revision

    async def _watch(self, revision: str, backoff: Backoff) -> None:
        while True:
            async with self._client.transport.watch(self._target, resource_version=revision) as events:
                backoff.reset()  # not after the list: one whose watch is refused would be read again and again
                async for batch in events:
                    revision = batch[-1].document["metadata"]["resourceVersion"]
                    self._take(batch)

    def _take(self, batch: WatchBatch) -> None:
        """Bring the collection to the state after some events, and tell of each object once."""
        states: dict[Key, R | None] = {}
        for event in batch:
            if event.type != "BOOKMARK" and (obj := self._read(event.document)) is not None:
                meta = event.document["metadata"]
                states[meta.get("namespace") or "", meta["name"]] = None if event.type == "DELETED" else obj
        if not states:
            return
        present = {key: obj for key, obj in states.items() if obj is not None}
        self._objects = self._objects.with_changes(present, states.keys() - present.keys())
        self._tell(states.keys())

    def _read(self, document: Document) -> R | None:
        """Read one object; one that does not fit its model is left out, so that it hurts no other."""
        try:
            return self._made(document)
        except ValidationError as error:
            log.warning("object does not fit its kind, left out", resource=self._kind.resource, error=str(error))
            return None

    def _made(self, document: Document) -> R:
        meta = {name: item for name, item in document["metadata"].items() if name != "managedFields"}
        return from_document(self._kind.model, {**document, "metadata": meta})

    def _tell(self, keys: Collection[Key]) -> None:
        for listener in self._listeners:
            self._hand_on(listener, keys)

    def _hand_on(self, listener: Callable[[T], None], changed: T) -> None:
        """Call a listener; what it can't make anything of hurts no other object, and no other listener."""
        try:
            listener(changed)
        except Exception:
            log.exception("a change could not be looked at", resource=self._kind.resource, changed=repr(changed)[:500])


class ReadInformer(Informer[Any]):
    """The live collection of one kind, by what is made of its objects: often a small part of them.

    Args:
        client: where it is read from.
        kind: the kind.
        read: makes of a document what is held, with the `name` and `namespace` of its object; what it raises
            ValidationError for is left out.
        metadata_only: whether `read` needs no more than metadata.
    """

    def __init__(
        self, client: Client, kind: Kind[Any], read: Callable[[Document], Any], *, metadata_only: bool = False
    ) -> None:
        super().__init__(client, kind.model, kind)
        self._target = Target(kind, metadata_only=metadata_only)
        self._make = read

    def _made(self, document: Document) -> Any:
        return self._make(document)


class PartialInformer(ReadInformer):
    """The live collection of one kind, by the metadata of its objects alone: it holds `PartialObject`s.

    Nothing is left out for not fitting its model, so what it does not show is not there.
    """

    def __init__(self, client: Client, kind: Kind[Any]) -> None:
        super().__init__(client, kind, partial_object, metadata_only=True)

    def _read(self, document: Document) -> PartialObject:
        return partial_object(document)
