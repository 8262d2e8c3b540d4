"""Ends namespaces: deletes what is in them, says what remains, and lets them go when they are empty.

Owns the contents of a namespace that is marked for deletion, the conditions that tell how far it is, and the
`kubernetes` finalizer that holds the namespace meanwhile. Does not own the mark (the delete verb), which also keeps
new objects out. Conditions and their words: pkg/controller/namespace/deletion, status_condition_utils.go.

Invariant: a namespace goes only after a live read has found nothing in it. A create that had passed the check for the
mark just before the mark was set may land even after that; whatever a cache shows in a namespace that is gone is
deleted as well, so that nothing is ever left where no one can reach it.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from skerry.api.core_v1 import NAMESPACE, Namespace
from skerry.api.errors import Conflict, NotFound
from skerry.api.model import Condition, to_document, with_condition
from skerry.client.client import Client
from skerry.client.informer import Key
from skerry.client.transport import Target
from skerry.controllers.contents import ContentFailedError, Remains, delete_all
from skerry.controllers.kind_caches import KindCaches
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)

#: The finalizer in a namespace's spec that stands for this controller.
FINALIZER = "kubernetes"
#: Namespaces worked on at once.
CONCURRENCY = 8
#: Every ending namespace is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0
#: Failures that a condition spells out; the others are counted.
FAILURES_TOLD_MAX = 10
CONDITION_MESSAGE_CHARACTERS_MAX = 4096


def conditions_of(remains: Remains) -> list[tuple[str, bool, str, str]]:
    """Return type, whether it stands at True, reason and message of each condition, in Kubernetes' words."""
    objects = [f"{resource} has {count} resource instances" for resource, count in sorted(remains.objects.items())]
    finalizers = [f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items())]
    failures = sorted(remains.failures)[:FAILURES_TOLD_MAX]
    failed = f"Failed to delete all resource types, {len(remains.failures)} remaining: {', '.join(failures)}"
    left = f"Some resources are remaining: {', '.join(objects)}"
    held = f"Some content in the namespace has finalizers remaining: {', '.join(finalizers)}"
    well = "All content successfully deleted, may be waiting on finalization"
    return [
        (
            "NamespaceDeletionDiscoveryFailure",
            False,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        _told("NamespaceDeletionContentFailure", failures, ("ContentDeletionFailed", failed), ("ContentDeleted", well)),
        _told(
            "NamespaceContentRemaining",
            objects,
            ("SomeResourcesRemain", left),
            ("ContentRemoved", "All content successfully removed"),
        ),
        _told(
            "NamespaceFinalizersRemaining",
            finalizers,
            ("SomeFinalizersRemain", held),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]


def _told(
    condition_type: str, found: list[str], bad: tuple[str, str], good: tuple[str, str]
) -> tuple[str, bool, str, str]:
    return (condition_type, bool(found), *(bad if found else good))


class NamespaceController:
    """Reconciles namespaces that end; `running()` is its life.

    Args:
        client: reads and writes.
        caches: of every kind there is.
        clock: stamps conditions.
    """

    def __init__(self, client: Client, caches: KindCaches, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._caches = caches
        self._namespaces = caches.informers.of(Namespace)
        self._workers = KeyedWorkers("namespaces", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End namespaces for the length of the block."""
        self._namespaces.on_change(lambda key: self._look_at(key[1]))
        self._caches.on_objects(self._look_at_those_of)
        async with resynced("namespaces", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    def _look_at_those_of(self, _: str, keys: Collection[Key]) -> None:
        for namespace in {namespace for namespace, _ in keys}:
            self._look_at(namespace)

    def _look_at(self, name: str) -> None:
        """Ask for a turn of a namespace that ends, or that is not there; "" is none."""
        if not name:
            return
        namespace = self._namespaces.get(name)
        if namespace is None or namespace.metadata.deletion_timestamp:
            self._workers.add(name)

    async def _resync(self) -> None:
        await self._caches.synced()
        names = {namespace.name for namespace in self._namespaces}
        caches = [cache for resource in self._caches.kinds if (cache := self._caches.of(resource))]
        for name in names.union(obj.namespace for cache in caches for obj in cache):
            self._look_at(name)

    async def reconcile(self, name: str) -> None:
        """Bring one namespace nearer to its end; leaves one alone that does not end."""
        await self._caches.synced()
        namespace = await self._client.find(Namespace, name)
        if namespace is None:
            await self._delete_contents(name)  # what slipped in at the very end
        elif namespace.metadata.deletion_timestamp and FINALIZER in (namespace.spec.finalizers or ()):
            try:
                await self._end(namespace)
            except (Conflict, NotFound):
                self._workers.add(name)  # written or gone meanwhile: look again

    async def _end(self, namespace: Namespace) -> None:
        remains = await self._delete_contents(namespace.name)
        if remains.objects or namespace.status.conditions or namespace.metadata.finalizers:
            namespace = await self._client.change_status(namespace, lambda n: self._tell(n, remains))
        if remains.failures:
            raise ContentFailedError(f"namespace {namespace.name} can't be emptied: {remains.failures[0]}")
        if remains.objects:
            log.info("namespace ends, and is held back", namespace=namespace.name, objects=dict(remains.objects))
            return  # the end of each is a change in this namespace
        await self._let_go(namespace)

    async def _let_go(self, namespace: Namespace) -> None:
        """Take this controller's finalizer off; the namespace is removed with the last one."""
        document = to_document(namespace)
        document["spec"]["finalizers"] = [name for name in namespace.spec.finalizers or () if name != FINALIZER]
        await self._client.transport.replace(Target(NAMESPACE, "", namespace.name, "finalize"), document)
        log.info("namespace is empty, and let go", namespace=namespace.name)

    async def _delete_contents(self, namespace: str) -> Remains:
        """Ask for the deletion of every object in a namespace; return what is there afterwards."""
        kinds = [kind for kind in self._caches.kinds.values() if kind.namespaced]
        return await delete_all(self._client.transport, kinds, namespace)

    def _tell(self, namespace: Namespace, remains: Remains) -> None:
        """Write the conditions of a namespace."""
        for condition_type, stands, reason, message in conditions_of(remains):
            condition = Condition(
                type=condition_type,
                status="True" if stands else "False",
                last_transition_time=rfc3339(self._clock.now()),
                reason=reason,
                message=message[:CONDITION_MESSAGE_CHARACTERS_MAX],
            )
            namespace.status.conditions = with_condition(namespace.status.conditions, condition)
