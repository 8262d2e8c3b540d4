"""From objects to sets of fields: what an object holds, what was applied, and what differs between two objects.

Only what differs is walked: equal parts are skipped by one comparison, so that a write costs what it changes.
Rules: sigs.k8s.io/structured-merge-diff, typed/compare.go and typed/tofieldset.go.
"""

from dataclasses import dataclass
from typing import Any

from skerry.api.model import Document
from skerry.server.verbs.apply.fieldpath import SELF, FieldSet
from skerry.server.verbs.apply.schema import ATOMIC, ListMap, ListSet, Map, Shape, Struct, elements


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fields in which a new object differs from an old one.

    Attributes:
        changed: fields that are new or have another value.
        removed: fields that are gone.
    """

    changed: FieldSet
    removed: FieldSet


Children = dict[str, tuple[Any, Shape]]


def children(value: Any, shape: Shape) -> Children | None:
    """Return what lies directly in a value, by path element, with its shape; None where it is owned as a whole."""
    if isinstance(value, dict):
        if isinstance(shape, Struct):
            fields, others = shape.fields, shape.others or ATOMIC
            return {f"f:{name}": (item, fields.get(name, others)) for name, item in value.items()}
        if isinstance(shape, Map):
            inner = shape.values or shape
            return {f"f:{name}": (item, inner) for name, item in value.items()}
    elif isinstance(value, list) and isinstance(shape, ListMap | ListSet):
        inner = shape.items if isinstance(shape, ListMap) else ATOMIC
        return {element: (item, inner) for element, item in elements(shape, value).items()}
    return None


def everything(value: Any, shape: Shape) -> FieldSet:
    """Return the node of a value that came or went: every field of it, the containers too."""
    inside = children(value, shape) if isinstance(value, dict | list) else None
    if not inside:
        return {}
    return {SELF: {}, **{element: everything(*item) for element, item in inside.items()}}


def applied(value: Any, shape: Shape) -> FieldSet:
    """Return the set of an applied object: its leaves, empty containers, and the items of lists and maps.

    A struct is not in the set for its fields' sake: several managers may each own some of them.
    """
    inside = children(value, shape) if isinstance(value, dict | list) else None
    if not inside:
        return {}
    fields = {element: applied(*item) for element, item in inside.items()}
    if isinstance(shape, Struct):
        return fields
    return {element: _with_self(below) for element, below in fields.items()}


def _with_self(below: FieldSet) -> FieldSet:
    return {SELF: {}, **below} if below else below


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """Compare two objects of one shape."""
    changed, removed = _compare(old, new, shape)
    return Comparison(changed or {}, removed or {})


def _compare(old: Any, new: Any, shape: Shape) -> tuple[FieldSet | None, FieldSet | None]:
    """Return the nodes of what changed and what was removed between two values that are not equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        old, new = _differing(old, new), _differing(new, old)
    before, after = children(old, shape), children(new, shape)
    if after is None:
        return {}, {element: everything(*item) for element, item in before.items()} if before else None
    if before is None:
        return everything(new, shape), None
    changed: FieldSet = {}
    removed: FieldSet = {}
    for element, (item, inner) in after.items():
        if element not in before:
            changed[element] = everything(item, inner)
        elif (was := before[element][0]) != item:
            below_changed, below_removed = _compare(was, item, inner)
            if below_changed is not None:
                changed[element] = below_changed
            if below_removed is not None:
                removed[element] = below_removed
    for element in before.keys() - after.keys():
        removed[element] = everything(*before[element])
    return changed or None, removed or None


def _differing(one: Document, other: Document) -> Document:
    """Return the fields of an object that another one does not have equally."""
    return {name: item for name, item in one.items() if name not in other or other[name] != item}
