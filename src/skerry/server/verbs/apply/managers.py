"""managedFields: which manager owns which fields of an object, and how each write changes that.

An object is seen here without what nobody owns: its type, its identity, and what the endpoint of the write does not
write (`scope`). Invariant: a field belongs to several managers only if they agree on its value.
Rules: k8s.io/apimachinery, pkg/util/managedfields; structured-merge-diff, merge/update.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.verbs.apply import fieldpath
from skerry.server.verbs.apply.comparing import Comparison, applied, compare
from skerry.server.verbs.apply.fieldpath import FieldSet, difference, intersection, union
from skerry.server.verbs.apply.merging import merge, prune
from skerry.server.verbs.apply.schema import Struct, shape_of

#: Entries of updates that one object keeps; the oldest beyond are merged into one. Kubernetes' own number.
UPDATE_MANAGERS_MAX = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"

Operation = Literal["Apply", "Update"]
Subresource = Literal["", "status", "finalize"]

_OPERATIONS = ("Apply", "Update")
_NEVER_OWNED = frozenset(
    ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")
)
#: What of metadata every object keeps, whoever stops to apply it.
_ALWAYS_KEPT: FieldSet = {"f:metadata": {"f:name": {}}}


class Manager(NamedTuple):
    """Who owns fields: a name, the way it writes, and the endpoint it writes to."""

    operation: Operation
    name: str
    subresource: Subresource = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns.

    Attributes:
        fields: the set.
        time: of the manager's last change, RFC 3339; "" where it is not known.
    """

    fields: FieldSet
    time: str


Owners = dict[Manager, Owned]


@dataclass(frozen=True, slots=True)
class Write:
    """One write, as far as ownership cares.

    Attributes:
        kind: the object's kind.
        manager: who writes.
        time: now, RFC 3339.
    """

    kind: Kind[Any]
    manager: Manager
    time: str

    @property
    def shape(self) -> Struct:
        """The shape of the kind's objects."""
        return shape_of(self.kind)

    def scope(self, document: Document) -> Document:
        """Return what of an object this write's endpoint can own."""
        if self.manager.subresource == "status":
            return {"status": document["status"]} if "status" in document else {}
        left = {name: item for name, item in document.items() if name not in {"apiVersion", "kind"}}
        if self.kind.has_status:
            left.pop("status", None)
        metadata = document.get("metadata") or {}
        left["metadata"] = {name: item for name, item in metadata.items() if name not in _NEVER_OWNED}
        return left


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that an apply would change and another manager owns."""

    manager: Manager
    path: tuple[str, ...]


class FieldConflicts(Exception):
    """An apply without force would change what others own.

    Attributes:
        conflicts: by manager, each in the order of its paths.
    """

    def __init__(self, conflicts: Sequence[FieldConflict]) -> None:
        super().__init__(f"{len(conflicts)} conflicts")
        self.conflicts = tuple(conflicts)


def read(raw: Sequence[Document] | None, api_version: str) -> Owners:
    """Read managedFields as they are stored.

    Entries of versions that are not served any more are dropped, as in Kubernetes.
    """
    return {
        Manager(entry["operation"], entry["manager"], entry.get("subresource", "")): Owned(
            entry["fieldsV1"], entry.get("time", "")
        )
        for entry in raw or ()
        if entry["apiVersion"] == api_version
    }


def given(raw: list[Document] | None, live: Sequence[Document] | None, api_version: str) -> Owners:
    """Return the owners that a client's managedFields mean, where an object has the `live` ones.

    An empty list, or one with one empty entry, resets them. What is absent or malformed leaves the live ones, so
    that clients that do not understand managedFields can't lose them.
    """
    if raw is None or raw == live:
        return read(live, api_version)
    if raw in ([], [{}]):
        return {}
    try:
        owners: Owners = {}
        for entry in raw:
            owners.update(_read_entry(entry, api_version))
    except (ValueError, TypeError, KeyError):
        return read(live, api_version)
    return owners or read(live, api_version)


def _read_entry(entry: Document, api_version: str) -> Owners:
    operation: Operation = entry["operation"]
    subresource: Subresource = entry.get("subresource") or ""
    if entry["fieldsType"] != "FieldsV1" or operation not in _OPERATIONS or subresource not in get_args(Subresource):
        raise ValueError("no entry of managedFields")
    name, time = entry.get("manager") or "", entry.get("time") or ""
    if not isinstance(name, str) or not isinstance(time, str):
        raise TypeError("manager and time must be text")
    fields = fieldpath.read(entry.get("fieldsV1") or {})
    if entry["apiVersion"] != api_version or not fields:
        return {}
    return {Manager(operation, name, subresource): Owned(fields, time)}


def write(owners: Owners, api_version: str) -> list[Document]:
    """Return managedFields as they are stored and sent, in Kubernetes' order."""
    ordered = sorted(owners.items(), key=lambda item: (item[0].operation, item[1].time, item[0]))
    return [_written(manager, owned, api_version) for manager, owned in ordered]


def _written(manager: Manager, owned: Owned, api_version: str) -> Document:
    entry: Document = {"manager": manager.name, "operation": manager.operation, "apiVersion": api_version}
    if owned.time:
        entry["time"] = owned.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned.fields}
    return entry | {"subresource": manager.subresource} if manager.subresource else entry


def same(old: Sequence[Document] | None, new: Sequence[Document]) -> bool:
    """Tell whether two stored managedFields say the same but for their times, which order them too."""
    return old == new or _timeless(old) == _timeless(new)


def _timeless(raw: Sequence[Document] | None) -> list[Document]:
    entries = [{name: item for name, item in entry.items() if name != "time"} for entry in raw or ()]
    return sorted(entries, key=lambda entry: (entry["operation"], entry["manager"], entry.get("subresource", "")))


def updated(owners: Owners, by: Write, old: Document | None, new: Document) -> Owners:
    """Return the owners after an update: the writer owns what it changed, and nobody else does.

    Args:
        owners: those before; with none, an object that exists stays untracked until it is first applied.
        by: the write.
        old: the object before, None for a new one.
        new: the object as it will be stored.
    """
    if old is not None and not owners:
        return owners
    difference_made = compare(by.scope(old or {"metadata": {}}), by.scope(new), by.shape)
    left = _without(owners, difference_made)
    if difference_made.changed:
        before = left.get(by.manager)
        fields = union(before.fields, difference_made.changed) if before else difference_made.changed
        left[by.manager] = Owned(fields, by.time)
    return _capped(left)


def _without(owners: Owners, comparison: Comparison) -> Owners:
    """Return the owners without what a write changed or removed."""
    left: Owners = {}
    for manager, owned in owners.items():
        fields = difference(difference(owned.fields, comparison.changed), comparison.removed)
        if fields:
            left[manager] = owned if fields is owned.fields else replace(owned, fields=fields)
    return left


def _capped(owners: Owners) -> Owners:
    """Merge the oldest entries of updates until no more than `UPDATE_MANAGERS_MAX` are left."""
    updaters = [manager for manager in owners if manager.operation == "Update"]
    excess = len(updaters) - UPDATE_MANAGERS_MAX
    if excess <= 0:
        return owners
    updaters.sort(key=lambda manager: (owners[manager].time, manager))
    bucket = Manager("Update", ANCIENT)
    merged = dict(owners)
    # Merging n entries into one makes them fewer by n-1, unless the bucket is among them or exists already.
    oldest = updaters[: excess + 1] if bucket not in owners else [m for m in updaters if m != bucket][:excess]
    fields: FieldSet = merged[bucket].fields if bucket in merged else {}
    for manager in oldest:
        fields = union(fields, merged.pop(manager).fields)
    merged[bucket] = Owned(fields, owners[oldest[-1]].time)
    return merged


def apply(
    owners: Owners, by: Write, live: Document | None, config: Document, *, force: bool
) -> tuple[Document, Owners]:
    """Merge an applied configuration into an object.

    Args:
        owners: those of the live object.
        by: the write; its manager's operation is Apply.
        live: the object as it is, None where it is to be created.
        config: the configuration: known fields only, nothing outside of the endpoint but its type and identity.
        force: take fields from other managers instead of refusing.

    Returns:
        The object, not defaulted or checked yet, and its owners.

    Raises:
        FieldConflicts: other managers own fields that would change, and `force` is not set.
    """
    before: Document = live or {"metadata": {}}
    if live is not None and not owners:
        owners = _before_first_apply(by, live)
    mine = applied(by.scope(config), by.shape)
    mine = {element: below for element, below in mine.items() if (element, below) != ("f:metadata", {})}
    others = {manager: owned for manager, owned in owners.items() if manager != by.manager}
    merged: Document = merge(before, config, by.shape)
    if previous := owners.get(by.manager):
        kept = union(mine, _ALWAYS_KEPT)
        for owned in others.values():
            kept = union(kept, owned.fields)
        merged = prune(merged, previous.fields, kept, by.shape)
    made = compare(by.scope(before), by.scope(merged), by.shape)
    if not force and (conflicts := _conflicts(others, made.changed)):
        raise FieldConflicts(conflicts)
    left = _without(others, made)
    if mine:
        left[by.manager] = Owned(mine, by.time)
    return merged, left


def _before_first_apply(by: Write, live: Document) -> Owners:
    """Return the owners of an object that was not tracked: one entry for all that is there."""
    before = Manager("Update", BEFORE_FIRST_APPLY, by.manager.subresource)
    return updated({}, replace(by, manager=before), None, live)


def _conflicts(owners: Owners, changed: FieldSet) -> list[FieldConflict]:
    return [
        FieldConflict(manager, path)
        for manager in sorted(owners, key=lambda manager: (manager.name, manager.operation, manager.subresource))
        for path in fieldpath.leaves(intersection(owners[manager].fields, changed))
    ]
