"""Collects what belongs to objects that are gone: dependents, by their owner references.

Owns the end of dependents, and the finalizers `foregroundDeletion` and `orphan` of owners. Does not own the mark that
asks for a deletion (the delete verb), nor what other finalizers wait for. Rules: pkg/controller/garbagecollector.

- Background: an object none of whose owners is there any more is deleted.
- Foreground: dependents that block their owner go first; then the owner's finalizer.
- Orphan: dependents lose the reference; then the owner loses its finalizer.

Invariant: caches say whom to look at; only live reads say what to do, and a delete names the uid and the version that
was read. So a cache that is behind costs a turn and never an object, and any number of replicas may run this.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import Counter

from skerry.api.core_v1 import EVENT
from skerry.api.errors import Conflict, Forbidden, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import FOREGROUND_FINALIZER, ORPHAN_FINALIZER, Document, ObjectMeta
from skerry.client.informer import Key
from skerry.client.paging import pages
from skerry.client.transport import DeleteConditions, Target, Transport
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.ownership import OwnerIndex, Ref, Tie
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)
COLLECTED = Counter("skerry_garbage_collected_total", "Objects deleted because their owners are gone.", ["resource"])

#: Objects worked on at once.
CONCURRENCY = 32
#: Every object whose owners look lost is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0
#: How often a turn meets another writer before it backs off.
CONFLICT_TRIES_MAX = 5
#: Kinds that are no one's dependents and own nothing: they come in masses and end by their age.
NOT_COLLECTED = (EVENT.resource,)


class GarbageCollector:
    """Reconciles dependents with their owners; `running()` is its life.

    Args:
        transport: reads and writes objects of any kind.
        caches: of every kind there is.
    """

    def __init__(self, transport: Transport, caches: KindCaches) -> None:
        self._transport = transport
        self._caches = caches
        self._index = OwnerIndex(tuple(self._kinds.values()))
        self._workers = KeyedWorkers("garbage", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Collect for the length of the block."""
        self._caches.on_objects(self._observe)
        self._caches.on_kinds(self._take_kinds)
        async with resynced("garbage", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    def statistics(self) -> dict[str, int]:
        """Return how many objects are indexed, and how many are being looked at."""
        return {"objects": len(self._index), **self._workers.statistics()}

    @property
    def _kinds(self) -> dict[str, Kind[Any]]:
        return {name: kind for name, kind in self._caches.kinds.items() if name not in NOT_COLLECTED}

    def _take_kinds(self, gone: Collection[str]) -> None:
        """Forget the objects of kinds that are gone, and look again at whose owners may have become known."""
        self._index.serve(tuple(self._kinds.values()))
        for ref in self._index:
            if ref.resource in gone or self._index.has_ties(ref):
                self._observe(ref.resource, [(ref.namespace, ref.name)])

    def _observe(self, resource: str, keys: Collection[Key]) -> None:
        if resource in NOT_COLLECTED:
            return
        cache = self._caches.of(resource)
        objects = {} if cache is None else cache.objects
        for key in keys:
            cached = objects.get(key)
            for concerned in self._index.observe(Ref(resource, *key), cached.metadata if cached else None):
                if self._index.is_worth_a_look(concerned):
                    self._workers.add(concerned)

    async def _resync(self) -> None:
        await self._caches.synced()
        for resource in self._kinds:
            if cache := self._caches.of(resource):
                self._observe(resource, cache.objects)
        for ref in self._index:
            if self._index.is_worth_a_look(ref):
                self._workers.add(ref)

    async def reconcile(self, ref: Ref) -> None:
        """Do what an object's owners, or its own deletion, ask for."""
        await self._caches.synced()  # in a cache that is being filled, owners look lost that are not
        if ref.resource not in self._caches.kinds or not self._index.is_worth_a_look(ref):
            return
        for _ in range(CONFLICT_TRIES_MAX):
            try:
                await self._reconcile_once(ref)
            except NotFound:
                return  # gone meanwhile: nothing is left to do
            except Conflict as error:
                last = error
            else:
                return
        raise last

    async def _reconcile_once(self, ref: Ref) -> None:
        """Look at the live object and act; raises NotFound or Conflict where it is not what it was any more."""
        document = await self._transport.get(self._target(ref))
        metadata = _metadata_of(document)
        if metadata.deletion_timestamp is None:
            await self._collect(ref, metadata)
        elif ORPHAN_FINALIZER in (metadata.finalizers or ()):
            await self._orphan_dependents(ref, metadata)
        elif FOREGROUND_FINALIZER in (metadata.finalizers or ()):
            await self._finish_foreground(ref, metadata)

    async def _collect(self, ref: Ref, metadata: ObjectMeta) -> None:
        """Delete an object that no owner keeps any more; take off references to owners that are gone or going."""
        ties = self._index.node_of(metadata).ties
        states = {tie.uid: await self._state_of(tie) for tie in ties}
        lost = {uid for uid, state in states.items() if state != "there"}
        if not lost:
            return
        if len(lost) < len(states):
            await self._set_owners(ref, metadata, lambda owner: None if owner["uid"] in lost else owner)
            return
        waited_for = {uid for uid, state in states.items() if state == "waits"}
        dependents = self._index.dependents(metadata.uid or "")
        if waited_for and any(self._index.waits_for_dependents(dependent) for dependent in dependents):
            # A circle: each would wait for the other. It is cut here: the owner no longer waits for this one.
            metadata = await self._set_owners(ref, metadata, lambda owner: _unblocked(owner, waited_for))
        conditions = DeleteConditions(
            uid=metadata.uid or "",
            resource_version=metadata.resource_version or "",
            propagation="Foreground" if waited_for and dependents else None,
        )
        try:
            await self._transport.delete(self._target(ref), conditions)
        except Forbidden as error:  # a system namespace that somebody gave an owner
            log.warning("object without owners may not be deleted", object=str(ref), error=str(error))
            return
        COLLECTED.labels(ref.resource).inc()
        log.info("deleted an object whose owners are gone", resource=ref.resource, object=ref.name)

    async def _state_of(self, tie: Tie) -> str:
        """Return whether an owner is "there", "gone", or "waits" for its dependents; by a live read."""
        if tie.owner is None:
            return "there"
        try:
            document = await self._transport.get(self._target(tie.owner))
        except NotFound:
            return "gone"
        owner = self._index.node_of(_metadata_of(document))
        if owner.uid != tie.uid:
            return "gone"
        return "waits" if owner.waits_for_dependents else "there"

    async def _finish_foreground(self, ref: Ref, metadata: ObjectMeta) -> None:
        """Let an owner go once nothing that blocks it is left.

        A dependent that the cache does not show yet is not waited for; it is collected afterwards, as in Kubernetes.
        """
        uid = metadata.uid or ""
        dependents = self._index.dependents(uid)
        if any(self._index.blocks(dependent, uid) for dependent in dependents):
            return  # the end of each is a change that concerns this owner
        await self._drop_finalizer(ref, metadata, FOREGROUND_FINALIZER)

    async def _orphan_dependents(self, ref: Ref, metadata: ObjectMeta) -> None:
        """Take the reference to an owner off every dependent, then let the owner go.

        Everything is read live, at the price of reading all: a dependent that a cache does not show yet would be
        collected afterwards, which is the one thing that was not asked for.
        """
        for kind in self._kinds.values():
            async for found in self._live(kind):
                if any(owner.uid == metadata.uid for owner in found.owner_references or ()):
                    await self._release(
                        Ref(kind.resource, found.namespace or "", found.name or ""), found, metadata.uid
                    )
        await self._drop_finalizer(ref, metadata, ORPHAN_FINALIZER)

    async def _release(self, ref: Ref, dependent: ObjectMeta, owner_uid: str | None) -> None:
        try:
            await self._set_owners(ref, dependent, lambda owner: None if owner["uid"] == owner_uid else owner)
        except NotFound:
            return  # gone meanwhile; told apart here, for the owner's turn has to go on

    async def _live(self, kind: Kind[Any]) -> AsyncIterator[ObjectMeta]:
        async for page in pages(self._transport, Target(kind)):
            for item in page["items"]:
                yield _metadata_of(item)

    async def _set_owners(
        self, ref: Ref, metadata: ObjectMeta, change: Callable[[Document], Document | None]
    ) -> ObjectMeta:
        """Write an object's owner references, each changed or (None) dropped, if it is still as it was read."""
        owners = [owner.model_dump(by_alias=True, exclude_none=True) for owner in metadata.owner_references or ()]
        changed = [kept for owner in owners if (kept := change(owner)) is not None]
        return await self._patch(ref, metadata, {"ownerReferences": changed})

    async def _drop_finalizer(self, ref: Ref, metadata: ObjectMeta, finalizer: str) -> None:
        kept = [name for name in metadata.finalizers or () if name != finalizer]
        await self._patch(ref, metadata, {"finalizers": kept})
        log.info("owner is free of its dependents", resource=ref.resource, object=ref.name, finalizer=finalizer)

    async def _patch(self, ref: Ref, metadata: ObjectMeta, change: Document) -> ObjectMeta:
        same = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        document = await self._transport.merge_patch(self._target(ref), {"metadata": same | change})
        return _metadata_of(document)

    def _target(self, ref: Ref) -> Target:
        kind = self._caches.kinds.get(ref.resource)
        if kind is None:  # gone meanwhile, with all its objects
            raise NotFound(f'{ref.resource} "{ref.name}" not found')
        return Target(kind, ref.namespace, ref.name)


def _metadata_of(document: Document) -> ObjectMeta:
    return ObjectMeta.model_validate(document["metadata"], by_alias=True, by_name=False)


def _unblocked(owner: Document, uids: set[str]) -> Document:
    return owner | {"blockOwnerDeletion": False} if owner["uid"] in uids else owner
