"""What an object passes through before it is stored: a literal chain of steps, in the order in which they run.

A step completes the object in place, collects field errors and warnings, or refuses by raising an `ApiError`.
The kind's own defaults and rules come last, because they need sound metadata, and report every error found on
the way in one answer. To add a step: write it beside its equals and put it into a chain below.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.custom_kinds import CustomResource
from skerry.api.decoding import complete
from skerry.api.fields import FieldError
from skerry.api.model import Resource
from skerry.api.registry import DEFINED_KINDS
from skerry.kit.clock import Clock
from skerry.kit.ids import Ids
from skerry.server.auth import User
from skerry.server.verbs import metadata
from skerry.server.verbs.answers import forbidden
from skerry.server.verbs.requests import Target
from skerry.store.records import Entry, Key

#: Namespaces that always exist; they are made at start.
SYSTEM_NAMESPACES = ("default", "kube-system")
#: Namespaces that can't be deleted, as in Kubernetes.
IMMORTAL_NAMESPACES = (*SYSTEM_NAMESPACES, "kube-public")


class ReadsLog(Protocol):
    """What a step may ask of the log."""

    async def get(self, key: Key) -> Entry | None:
        """Return the present entry of a key."""
        ...


@dataclass(slots=True)
class Change:
    """An object on its way into the log.

    Attributes:
        operation: what is being done.
        target: where the object goes.
        object: its new state, completed step by step.
        old: its stored state, on updates.
        user: who asks for it; None for Skerry itself.
        errors: what is wrong with fields, to be answered together.
        warnings: sentences for the caller.
    """

    operation: Literal["create", "update"]
    target: Target
    object: Any
    old: Resource | None = None
    user: User | None = None
    errors: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def named_target(self) -> Target:
        """The target by the object's name, which a create may have only now."""
        return Target(self.target.kind, self.object.namespace, self.object.name)


class Policy(Protocol):
    """What stored objects say about who may write, and the care that they are obeyed at once."""

    def check(self, change: Change) -> None:
        """Check a change whose object is complete and valid; raises Forbidden or NotFound."""
        ...

    def check_delete(self, target: Target) -> None:
        """Check that nothing needs an object that is to go; raises Forbidden."""
        ...

    async def in_force(self, target: Target, revision: int) -> None:
        """Wait until a write that is stored is obeyed by every later request; raises Timeout."""
        ...


class NoPolicy:
    """For a log whose objects decide nothing."""

    def check(self, change: Change) -> None:
        """Let every change pass."""

    def check_delete(self, target: Target) -> None:
        """Let every object go."""

    async def in_force(self, target: Target, revision: int) -> None:
        """Return at once."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Several as one: each may refuse, and all are waited for."""

    each: tuple[Policy, ...]

    def check(self, change: Change) -> None:
        """Check a change; see `Policy`."""
        for policy in self.each:
            policy.check(change)

    def check_delete(self, target: Target) -> None:
        """Check a deletion; see `Policy`."""
        for policy in self.each:
            policy.check_delete(target)

    async def in_force(self, target: Target, revision: int) -> None:
        """Wait until a write is obeyed; see `Policy`."""
        for policy in self.each:
            await policy.in_force(target, revision)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What steps need besides the object."""

    log: ReadsLog
    clock: Clock
    ids: Ids
    policy: Policy


Step = Callable[[Change, Surroundings], Awaitable[None]]


async def enter_kind(change: Change, surroundings: Surroundings) -> None:
    """Refuse new objects of a custom kind whose definition is ending or gone.

    The log is asked, not the kind: a body may take long to arrive, and its kind may end meanwhile. Nobody would ever
    look at the object again, but a later definition of the same name would show it.
    """
    if issubclass(change.target.kind.model, CustomResource):
        await metadata.require_active_definition(change.target, surroundings.log.get)


async def enter_namespace(change: Change, surroundings: Surroundings) -> None:
    """Refuse new objects in a namespace that does not exist or is ending."""
    if change.target.kind.namespaced:
        await metadata.require_active_namespace(change.target, surroundings.log.get)


async def give_identity(change: Change, surroundings: Surroundings) -> None:
    """Fill what makes a new object one of its own: name, uid, time, generation."""
    metadata.give_identity(change.object.metadata, change.target, surroundings.clock, surroundings.ids)


async def prepare(change: Change, _: Surroundings) -> None:
    """Let the kind fill the fields that the server owns."""
    change.target.kind.prepare_create(change.object)


async def keep_identity(change: Change, _: Surroundings) -> None:
    """Carry over what a client can't change."""
    if change.old is not None:
        metadata.keep_identity(change.object.metadata, change.old.metadata)


async def check_metadata(change: Change, _: Surroundings) -> None:
    """Check names, labels, annotations, owners, finalizers."""
    old = change.old.metadata if change.old else None
    change.errors += metadata.errors(change.object.metadata, old, change.target.kind)


async def complete_and_validate(change: Change, _: Surroundings) -> None:
    """Apply the kind's defaults and rules; answer every error found so far together."""
    complete(change.target.kind, change.object, change.old, change.errors)


async def ask_policy(change: Change, surroundings: Surroundings) -> None:
    """Refuse what the caller may not give to others."""
    surroundings.policy.check(change)


async def warn(change: Change, _: Surroundings) -> None:
    """Collect what the kind wants to tell the caller."""
    change.warnings += change.target.kind.warnings(change.object)


ON_CREATE: tuple[Step, ...] = (
    enter_kind,
    enter_namespace,
    give_identity,
    prepare,
    check_metadata,
    complete_and_validate,
    ask_policy,
    warn,
)
ON_UPDATE: tuple[Step, ...] = (keep_identity, check_metadata, complete_and_validate, ask_policy, warn)


async def admit(change: Change, surroundings: Surroundings) -> None:
    """Send a change through its chain; raises what a step refuses with."""
    for step in ON_CREATE if change.operation == "create" else ON_UPDATE:
        await step(change, surroundings)


def refuse_built_in(target: Target) -> None:
    """Refuse to change the definition of a kind that Skerry brings."""
    if target.kind is CUSTOM_RESOURCE_DEFINITION and target.name in DEFINED_KINDS:
        raise forbidden(target, "it describes a kind that is built into Skerry, and can't be changed or deleted")


def refuse_undeletable(target: Target) -> None:
    """Refuse to delete what Skerry itself stands on."""
    if target.kind.resource == "namespaces" and target.name in IMMORTAL_NAMESPACES:
        raise forbidden(target, "this namespace may not be deleted")
