"""What the verbs are asked and what they answer: plain data, no HTTP."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from skerry.api.kinds import Kind
from skerry.api.selectors import ANY_FIELDS, EVERYTHING, FieldSelector, LabelSelector
from skerry.server.auth import User
from skerry.server.verbs.stored import Stored
from skerry.store.records import Key

FieldValidation = Literal["Strict", "Warn", "Ignore"]
Propagation = Literal["Background", "Foreground", "Orphan"]
Subresource = Literal["", "status", "finalize"]
VersionMatch = Literal["", "Exact", "NotOlderThan"]


class Target(NamedTuple):
    """What a verb acts on.

    Attributes:
        kind: the kind of object.
        namespace: "" for a cluster-scoped kind; on collections also for all namespaces.
        name: "" for a collection.
        subresource: "", "status", or "finalize" of a namespace.
    """

    kind: Kind[Any]
    namespace: str = ""
    name: str = ""
    subresource: Subresource = ""

    @property
    def key(self) -> Key:
        """The object's key in the log."""
        return Key(self.kind.resource, self.namespace, self.name)

    @property
    def details(self) -> dict[str, Any]:
        """What a Status says about where it comes from."""
        found = {"name": self.name, "group": self.kind.group, "kind": self.kind.plural}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is done.

    Attributes:
        dry_run: do everything but store.
        field_validation: what happens to unknown and duplicate fields: refused, told, or dropped silently.
        manager: who writes, by the name that managedFields will carry.
        duplicates: paths of fields that stood twice in the body; the door that parsed it knows them.
        force: an apply takes fields from other managers instead of being refused.
        user: for whom; what they may grant is checked. None for Skerry's own writes.
    """

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    manager: str = "unknown"
    duplicates: tuple[str, ...] = ()
    force: bool = False
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a create, replace or patch.

    Attributes:
        object: the object as it is now (or would be, on a dry run).
        created: whether the write created it.
        warnings: sentences for the caller.
    """

    object: Stored
    created: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How an object is deleted.

    Attributes:
        dry_run: do everything but delete.
        uid: the object must have this uid.
        resource_version: the object must be at this version.
        propagation: what happens to its dependents; None for the default, Background.
    """

    dry_run: bool = False
    uid: str | None = None
    resource_version: str | None = None
    propagation: Propagation | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """The outcome of a delete.

    Attributes:
        object: the last state, or the present one where finalizers hold the object back.
        gone: whether it is removed.
    """

    object: Stored
    gone: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection are meant."""

    labels: LabelSelector = EVERYTHING
    fields: FieldSelector = ANY_FIELDS

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, kind: Kind[Any], stored: Stored) -> bool:
        """Tell whether an object is selected."""
        if self.labels.requirements and not self.labels.matches(stored.labels):
            return False
        return self.fields.matches(partial(stored.field, kind))


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What of a collection is listed, and as of when.

    Attributes:
        selection: which objects.
        limit: most objects in the answer; 0 for all.
        continue_token: of the page before.
        resource_version: "" for the newest state, "0" for any, else a revision.
        version_match: what the revision means: that very snapshot, or one not older.
    """

    selection: Selection = Selection()
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    version_match: VersionMatch = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a collection.

    Attributes:
        items: in the order of (namespace, name).
        revision: the snapshot that the page is of.
        continue_token: asks for the next page; "" after the last.
        remaining: how many objects follow; None where that is not known (with a selection).
    """

    items: tuple[Stored, ...]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What of a collection is watched, and since when.

    Attributes:
        selection: which objects.
        resource_version: "" and "0" begin with the present state, told as additions; else a revision.
        bookmarks: whether the caller wants to be told how far it has seen.
        initial_events: begin with the present state whatever the version, and mark its end with a bookmark.
    """

    selection: Selection = Selection()
    resource_version: str = ""
    bookmarks: bool = False
    initial_events: bool = False
