"""Accepts the names of definitions, and ends definitions with all of their objects.

Owns the status of a CustomResourceDefinition: which names it got, whether its kinds are served, how far its end is.
Does not own the kinds (`api.custom_kinds` makes them of the status, for every replica alike) or the mark of a deletion.
Conditions, reasons and order: k8s.io/apiextensions-apiserver, pkg/controller/{status,finalizer}.

Invariant: of two definitions that want one name in a group, one gets it: turns are one at a time, and what a turn gave
away counts from then on, whether or not a cache shows it yet. A definition that is served stays so under its old names.
"""

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from skerry.api.apiextensions_v1 import (
    CLEANUP_FINALIZER,
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
)
from skerry.api.catalogue import Catalogue
from skerry.api.custom_kinds import stored_kind
from skerry.api.errors import NotFound
from skerry.api.model import Condition, is_true, to_document, with_condition
from skerry.api.registry import DEFINED_KINDS, kind_of
from skerry.client.client import Client
from skerry.client.informer import Key
from skerry.client.transport import Target
from skerry.controllers.contents import ContentFailedError, Remains, delete_all
from skerry.controllers.kind_caches import KindCaches
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers

log = get_logger(__name__)

#: Definitions that can be served; each costs memory in every replica, and a watch in every controller.
DEFINITIONS_MAX = 500
CONDITION_MESSAGE_CHARACTERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Decision:
    """Which names a definition gets.

    Attributes:
        names: those that it has from now on.
        reason, message: of the condition NamesAccepted.
        accepted: whether it got all that it asked for.
    """

    names: CustomResourceDefinitionNames
    reason: str
    message: str
    accepted: bool


class DefinitionController:
    """Reconciles definitions; `running()` is its life.

    Args:
        client: reads and writes.
        caches: of every kind there is.
        catalogue: which kinds there are.
        clock: stamps conditions.
    """

    def __init__(self, client: Client, caches: KindCaches, catalogue: Catalogue, clock: Clock) -> None:
        self._client = client
        self._caches = caches
        self._catalogue = catalogue
        self._clock = clock
        self._definitions = caches.informers.of(CustomResourceDefinition)
        #: What the last turns gave away, until the cache shows it.
        self._given: dict[str, CustomResourceDefinitionNames] = {}
        self._workers = KeyedWorkers("definitions", self.reconcile, concurrency=1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        self._definitions.on_change(self._look_at)
        self._caches.on_objects(self._look_at_owner)
        try:
            yield
        finally:
            await self._workers.stop()

    def _look_at(self, key: Key) -> None:
        """Ask for a turn of a definition, and of those that may have waited for its names."""
        name = key[1]
        if name in DEFINED_KINDS:
            return
        cached = self._definitions.get(name)
        if cached is None or cached.status.accepted_names == self._given.get(name):
            self._given.pop(name, None)
        self._workers.add(name)
        group = name.partition(".")[2]
        for other in self._definitions:
            if other.spec.group == group and not is_true(other.status.conditions, "NamesAccepted"):
                self._workers.add(other.name)

    def _look_at_owner(self, resource: str, _: Collection[Key]) -> None:
        """Objects came or went: ask for a turn of their definition, if that ends."""
        cached = self._definitions.get(resource)
        if cached is not None and cached.metadata.deletion_timestamp:
            self._workers.add(resource)

    async def reconcile(self, name: str) -> None:
        """Bring one definition to what it asks for."""
        await self._definitions.synced()
        definition = await self._client.find(CustomResourceDefinition, name)
        if definition is None or name in DEFINED_KINDS:
            return
        try:
            if definition.metadata.deletion_timestamp:
                await self._end(definition)
            else:
                await self._accept(definition)
        except NotFound:
            return  # gone meanwhile: nothing is left to do

    async def _accept(self, definition: CustomResourceDefinition) -> None:
        decision = self._decide(definition)
        self._given[definition.name] = decision.names
        await self._client.change_status(definition, lambda d: self._tell(d, decision))

    def _decide(self, definition: CustomResourceDefinition) -> Decision:
        served = sum(is_true(other.status.conditions, "Established") for other in self._definitions)
        established = is_true(definition.status.conditions, "Established")
        if not established and served >= DEFINITIONS_MAX + len(DEFINED_KINDS):
            none = CustomResourceDefinitionNames()
            return Decision(none, "TooManyDefinitions", f"no more than {DEFINITIONS_MAX} can be served", accepted=False)
        resources, kinds = self._taken(definition)
        return decide(definition, resources, kinds)

    def _taken(self, definition: CustomResourceDefinition) -> tuple[set[str], set[str]]:
        """Return the names of resources and of kinds that others have in a definition's group."""
        resources: set[str] = set()
        kinds: set[str] = set()
        for names in self._others(definition):
            resources |= {names.plural, names.singular or "", *(names.short_names or ())}
            kinds |= {names.kind, names.list_kind or ""}
        for kind in self._catalogue.built_in:
            if kind.group == definition.spec.group:
                resources |= {kind.plural, kind.singular, *kind.short_names}
                kinds |= {kind.kind, kind.list_kind}
        return resources - {""}, kinds - {""}

    def _others(self, definition: CustomResourceDefinition) -> Iterator[CustomResourceDefinitionNames]:
        for other in self._definitions:
            if other.name != definition.name and other.spec.group == definition.spec.group:
                if other.status.accepted_names:
                    yield other.status.accepted_names
                if other.name in self._given:
                    yield self._given[other.name]

    def _tell(self, definition: CustomResourceDefinition, decision: Decision) -> None:
        """Write a decision into a definition's status."""
        status = definition.status
        status.accepted_names = decision.names
        self._set(definition, "NamesAccepted", decision.accepted, (decision.reason, decision.message))
        if not is_true(status.conditions, "Established"):
            told = ("NotAccepted", "not all names are accepted")
            if decision.accepted:
                told = ("InitialNamesAccepted", "the initial names have been accepted")
            self._set(definition, "Established", decision.accepted, told)
        storage = next(version.name for version in definition.spec.versions if version.storage)
        if storage not in (status.stored_versions or ()):
            status.stored_versions = [*(status.stored_versions or ()), storage]

    def _set(
        self,
        definition: CustomResourceDefinition,
        condition_type: str,
        stands: bool,  # noqa: FBT001 - the condition's own value
        told: tuple[str, str],
    ) -> None:
        condition = Condition(
            type=condition_type,
            status="True" if stands else "False",
            last_transition_time=rfc3339(self._clock.now()),
            reason=told[0],
            message=told[1][:CONDITION_MESSAGE_CHARACTERS_MAX],
        )
        definition.status.conditions = with_condition(definition.status.conditions, condition)

    async def _end(self, definition: CustomResourceDefinition) -> None:
        """Delete all objects of a definition; let it go when none is left."""
        if CLEANUP_FINALIZER not in (definition.metadata.finalizers or ()):
            return
        remains = await self._empty(definition)
        if remains.objects:
            held = ", ".join(f"{name} in {count}" for name, count in sorted(remains.finalizers.items()))
            told = f"CustomResource deletion is in progress: {remains.objects.total()} objects remain"
            await self._say_ending(definition, told + (f", held by the finalizers {held}" if held else ""))
            if remains.failures:
                raise ContentFailedError(f"objects of {definition.name} can't be deleted: {remains.failures[0]}")
            log.info("definition ends, and is held back", definition=definition.name)
            return  # the end of each is a change that brings another turn
        kept = [name for name in definition.metadata.finalizers or () if name != CLEANUP_FINALIZER]
        target = Target(kind_of(CustomResourceDefinition), "", definition.name)
        patch = {"metadata": {"uid": definition.uid, "finalizers": kept}}
        await self._client.transport.merge_patch(target, patch)
        log.info("definition is let go, with all of its objects", definition=definition.name)

    async def _empty(self, definition: CustomResourceDefinition) -> Remains:
        """Delete the objects of a definition; those of a kind that Skerry brings were never its own."""
        kind = stored_kind(to_document(definition))
        if any(own.resource == kind.resource for own in self._catalogue.built_in):
            return Remains()
        return await delete_all(self._client.transport, (kind,))

    async def _say_ending(self, definition: CustomResourceDefinition, told: str) -> None:
        def tell(d: CustomResourceDefinition) -> None:
            self._set(d, "Terminating", stands=True, told=("InstanceDeletionInProgress", told))

        await self._client.change_status(definition, tell)


def decide(definition: CustomResourceDefinition, resources: set[str], kinds: set[str]) -> Decision:
    """Decide on the names of a definition, where others have some in its group; what is taken, it does not get.

    Args:
        definition: the definition.
        resources: plurals, singulars and short names of others.
        kinds: kinds and list kinds of others.
    """
    wanted = definition.spec.names
    had = definition.status.accepted_names or CustomResourceDefinitionNames()
    names = wanted.model_copy()
    conflicts: list[tuple[str, str]] = []
    for field, reason, taken in _NAMES:
        if getattr(wanted, field) in (resources if taken == "resources" else kinds):
            conflicts.append((reason, f'"{getattr(wanted, field)}" is already in use'))
            setattr(names, field, getattr(had, field))
    if clashing := [name for name in wanted.short_names or () if name in resources]:
        conflicts.append(("ShortNamesConflict", f'"{clashing[0]}" is already in use'))
        names.short_names = had.short_names
    if not conflicts:
        return Decision(names, "NoConflicts", "no conflicts found", accepted=True)
    reason = conflicts[-1][0]
    return Decision(names, reason, ", ".join(message for _, message in conflicts), accepted=False)


#: The single names of a definition, the reason of a conflict, and among which names it would be.
_NAMES = (
    ("plural", "PluralConflict", "resources"),
    ("singular", "SingularConflict", "resources"),
    ("kind", "KindConflict", "kinds"),
    ("list_kind", "ListKindConflict", "kinds"),
)
