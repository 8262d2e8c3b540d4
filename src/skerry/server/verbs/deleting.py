"""Delete: at once, or marked and held back by finalizers.

Owns the mark and the removal of one object. Does not own what a deletion sets off: dependents are collected by
`controllers.garbage`, the contents of a namespace by `controllers.namespaces`; a finalizer holds the object for them.
"""

import orjson

from skerry.api.model import Document
from skerry.kit.clock import Clock, rfc3339
from skerry.server.verbs import answers, metadata
from skerry.server.verbs.admission import Policy, refuse_built_in, refuse_undeletable
from skerry.server.verbs.finalizers import is_held_back, with_propagation
from skerry.server.verbs.requests import Deleted, DeleteOptions, Target
from skerry.server.verbs.stored import Stored, encode
from skerry.server.verbs.turns import RACES_MAX, Turns
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Entry


class Deleter:
    """Deletes objects of every kind.

    Args:
        log: the log.
        clock: for deletionTimestamp.
        policy: what stored objects say about what must stay.
        turns: shared with the other writers.
    """

    def __init__(self, log: RevisionLog, clock: Clock, policy: Policy, turns: Turns) -> None:
        self._log = log
        self._clock = clock
        self._policy = policy
        self._turns = turns

    async def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Delete an object; see `Verbs.delete`."""
        refuse_undeletable(target)
        refuse_built_in(target)
        async with self._turns.of(target):
            entry = await self._log.get(target.key)
            for _ in range(RACES_MAX):
                if entry is None:
                    raise answers.not_found(target)
                _check_preconditions(target, entry, options)
                self._policy.check_delete(target)
                try:
                    return await self._delete_once(target, entry, options)
                except store.Conflict as error:
                    entry = error.current
        raise answers.modified(target)

    async def _delete_once(self, target: Target, entry: Entry, options: DeleteOptions) -> Deleted:
        document: Document = orjson.loads(entry.value)
        meta = document["metadata"]
        before = meta.get("finalizers") or []
        meta["finalizers"] = with_propagation(before, options.propagation)
        if "deletionTimestamp" not in meta:  # once: who took them off has finished
            more = [name for name in target.kind.deletion_finalizers if name not in meta["finalizers"]]
            meta["finalizers"] = [*meta["finalizers"], *more]
        if not is_held_back(target.kind, document):
            return await self._remove(target, entry, options)
        if "deletionTimestamp" in meta and meta["finalizers"] == before:
            return Deleted(Stored(entry.value, entry.revision), gone=False)  # asked for before
        return Deleted(await self._mark(target, entry, document, options), gone=False)

    async def _remove(self, target: Target, entry: Entry, options: DeleteOptions) -> Deleted:
        if options.dry_run:
            return Deleted(Stored(entry.value, entry.revision), gone=True)
        revision = await self._log.delete(target.key, expected_revision=entry.revision)
        return Deleted(Stored(entry.value, revision), gone=True)

    async def _mark(self, target: Target, entry: Entry, document: Document, options: DeleteOptions) -> Stored:
        """Note that the object is to go; whoever put a finalizer on it sees that and finishes."""
        meta = document["metadata"]
        if not meta["finalizers"]:
            del meta["finalizers"]  # a namespace is held by its spec's; empty lists are absent
        if "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = rfc3339(self._clock.now())
            meta["deletionGracePeriodSeconds"] = 0
            if "generation" in meta:
                meta["generation"] += 1
        if target.kind.resource == "namespaces":
            document.setdefault("status", {})["phase"] = "Terminating"
        value = encode(document)
        if options.dry_run:
            return Stored(value, entry.revision)
        return Stored(value, await self._log.put(target.key, value, expected_revision=entry.revision))


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
