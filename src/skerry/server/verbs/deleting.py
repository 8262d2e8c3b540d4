"""Delete: at once, or marked and held back by finalizers; and namespaces, which end with their contents.

A namespace's end is done here, in the verb: it is marked, so that nothing new enters; everything in it is deleted;
then it is removed. Where an object in it waits for finalizers, the removal of the last one removes the namespace.
`resume` does the same for namespaces that a crash left half ended.
"""

from typing import Any

import orjson

from skerry.api.errors import NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger
from skerry.server.verbs import answers, metadata
from skerry.server.verbs.admission import refuse_undeletable
from skerry.server.verbs.requests import Deleted, DeleteOptions, Target
from skerry.server.verbs.stored import Stored, encode
from skerry.server.verbs.writing import RACES_MAX
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Entry, Key

log = get_logger(__name__)

#: Objects of a namespace that are read, then deleted, at once.
PAGE_ENTRIES = 500


class Deleter:
    """Deletes objects of every kind.

    Args:
        log: the log.
        kinds: every kind, of which the namespaced ones end with their namespace.
        namespace_kind: the kind of namespaces.
        clock: for deletionTimestamp.
    """

    def __init__(self, log: RevisionLog, kinds: tuple[Kind[Any], ...], namespace_kind: Kind[Any], clock: Clock) -> None:
        self._log = log
        self._contents = tuple(kind for kind in kinds if kind.namespaced)
        self._namespace_kind = namespace_kind
        self._clock = clock

    async def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Delete an object; see `Verbs.delete`."""
        refuse_undeletable(target)
        entry = await self._log.get(target.key)
        for _ in range(RACES_MAX):
            if entry is None:
                raise answers.not_found(target)
            _check_preconditions(target, entry, options)
            try:
                return await self._delete_once(target, entry, options)
            except store.Conflict as error:
                entry = error.current
        raise answers.modified(target)

    async def _delete_once(self, target: Target, entry: Entry, options: DeleteOptions) -> Deleted:
        document: Document = orjson.loads(entry.value)
        meta = document["metadata"]
        is_namespace = target.kind is self._namespace_kind
        if not meta.get("finalizers") and not is_namespace:
            return await self._remove(target, entry, options)
        if "deletionTimestamp" in meta:
            # Asked for before. A namespace is looked at again, so that a repeated delete resumes its end.
            marked = Stored(entry.value, entry.revision)
        else:
            marked = await self._mark(target, entry, document, options)
        if is_namespace and not options.dry_run:
            gone = await self.end_namespace(target.name)
            return Deleted(marked, gone=gone)
        return Deleted(marked, gone=False)

    async def _remove(self, target: Target, entry: Entry, options: DeleteOptions) -> Deleted:
        if options.dry_run:
            return Deleted(Stored(entry.value, entry.revision), gone=True)
        revision = await self._log.delete(target.key, expected_revision=entry.revision)
        return Deleted(Stored(entry.value, revision), gone=True)

    async def _mark(self, target: Target, entry: Entry, document: Document, options: DeleteOptions) -> Stored:
        """Note that the object is to go; whoever put a finalizer on it sees that and finishes."""
        meta = document["metadata"]
        meta["deletionTimestamp"] = rfc3339(self._clock.now())
        meta["deletionGracePeriodSeconds"] = 0
        if "generation" in meta:
            meta["generation"] += 1
        if target.kind is self._namespace_kind:
            document.setdefault("status", {})["phase"] = "Terminating"
        value = encode(document)
        if options.dry_run:
            return Stored(value, entry.revision)
        return Stored(value, await self._log.put(target.key, value, expected_revision=entry.revision))

    async def after_removal(self, target: Target) -> None:
        """Finish the namespace that an object was the last one to hold back."""
        if not target.kind.namespaced:
            return
        entry = await self._log.get(Key(self._namespace_kind.resource, "", target.namespace))
        if entry is not None and b'"deletionTimestamp"' in entry.value:
            await self.end_namespace(target.namespace)

    async def end_namespace(self, namespace: str) -> bool:
        """Delete what is in an ending namespace, then itself; returns False while something holds it back."""
        target = Target(self._namespace_kind, "", namespace)
        for _ in range(RACES_MAX):
            held = [kind.plural for kind in self._contents if not await self._empty(kind, namespace)]
            entry = await self._log.get(target.key)
            if entry is None:
                return True
            meta = orjson.loads(entry.value)["metadata"]
            if held or "deletionTimestamp" not in meta or meta.get("finalizers"):
                log.info("namespace is ending, and held back", namespace=namespace, by=held or meta.get("finalizers"))
                return False
            try:
                await self._log.delete(target.key, expected_revision=entry.revision)
            except store.Conflict:
                continue  # written meanwhile: look again
            return True
        return False

    async def _empty(self, kind: Kind[Any], namespace: str) -> bool:
        """Delete every object of a kind in a namespace; returns whether none is left."""
        after, empty, more = None, True, True
        while more:
            page = await self._log.list(kind.resource, namespace=namespace, after=after, limit=PAGE_ENTRIES)
            for entry in page.entries:
                try:
                    deleted = await self.delete(Target(kind, namespace, entry.key.name), DeleteOptions())
                except NotFound:
                    continue
                empty = empty and deleted.gone
            more = page.more
            after = (namespace, page.entries[-1].key.name) if page.entries else None
        return empty

    async def resume(self) -> None:
        """Go on with the ends that were under way when the process stopped."""
        page = await self._log.list(self._namespace_kind.resource, limit=None)
        for entry in page.entries:
            if b'"deletionTimestamp"' in entry.value:
                await self.end_namespace(entry.key.name)


def _check_preconditions(target: Target, entry: Entry, options: DeleteOptions) -> None:
    if options.uid is not None:
        uid = orjson.loads(entry.value)["metadata"]["uid"]
        if uid != options.uid:
            raise metadata.uid_conflict(target, wanted=options.uid, found=uid)
    if options.resource_version is not None and options.resource_version != str(entry.revision):
        raise answers.conflict(
            target,
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {entry.revision}",
        )
