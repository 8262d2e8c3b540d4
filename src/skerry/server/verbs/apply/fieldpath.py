r"""Sets of fields, in the form in which managedFields carry them (FieldsV1), and the algebra over them.

A set is a tree: `{"f:spec": {"f:code": {}, "f:listeners": {"k:{\"name\":\"a\"}": {".": {}, "f:port": {}}}}}`. An
element is `f:` and a field's name, `k:` and the keys of a list's item, or `v:` and the item itself. A node is a
member of the set if it is empty or holds `"."`; otherwise it only leads to members. The root is never a member, so
`{}` at the root is the empty set.

Working on the stored form spares a conversion on every write. Sets share their branches: no function here changes
one in place, and no caller may. Format: sigs.k8s.io/structured-merge-diff, fieldpath/serialize.go.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

FieldSet = dict[str, Any]
"""A set of fields as FieldsV1 JSON; see the module."""

#: The element that makes a node with children a member itself.
SELF = "."


def field(name: str) -> str:
    """Return the element of a named field."""
    return f"f:{name}"


def key(keys: Mapping[str, Any]) -> str:
    """Return the element of a list's item that is told apart by some of its fields."""
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def value(item: Any) -> str:
    """Return the element of a set's item."""
    return "v:" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()


def node(*, member: bool, below: FieldSet) -> FieldSet | None:
    """Return the node over some children, None where nothing is left to tell."""
    if not below:
        return {} if member else None
    return {SELF: {}, **below} if member else below


def is_member(fields: FieldSet) -> bool:
    """Tell whether a node (not the root) is in the set itself."""
    return not fields or SELF in fields


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in either set."""
    return _union(one, other) if one and other else one or other


def _union(one: FieldSet, other: FieldSet) -> FieldSet:
    merged = dict(one)
    for element, below in other.items():
        mine = merged.get(element)
        merged[element] = below if mine is None else _union(mine, below)
    if merged and not (one and other):  # one of the two was a member without children
        merged[SELF] = {}
    return merged


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in `one` and not in `other`; children of a member of `other` stay."""
    return _difference(one, other) or {} if one and other else one


def _difference(one: FieldSet, other: FieldSet) -> FieldSet | None:
    below = dict(one)
    below.pop(SELF, None)
    for element, theirs in other.items():
        if element in below:
            left = _difference(below[element], theirs)
            if left is None:
                del below[element]
            else:
                below[element] = left
    return node(member=is_member(one) and not is_member(other), below=below)


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return what is in both sets."""
    return _intersection(one, other) or {} if one and other else {}


def _intersection(one: FieldSet, other: FieldSet) -> FieldSet | None:
    below = {}
    for element, mine in one.items():
        theirs = other.get(element) if element != SELF else None
        if theirs is not None and (common := _intersection(mine, theirs)) is not None:
            below[element] = common
    return node(member=is_member(one) and is_member(other), below=below)


def leaves(fields: FieldSet) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the members that no other member lies below, as Kubernetes orders them."""
    for element in sorted(fields):
        if element != SELF and not fields[element]:
            yield (element,)
    for element in sorted(fields):
        for path in leaves(fields[element]):
            yield (element, *path)


def from_path(path: tuple[str, ...]) -> FieldSet:
    """Return the set of one path."""
    fields: FieldSet = {}
    for element in reversed(path):
        fields = {element: fields}
    return fields


def text(path: tuple[str, ...]) -> str:
    """Write a path for people: `.spec.listeners[name="a"].port`, `.spec.tags[="x"]`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    mark, _, rest = element.partition(":")
    if mark == "f":
        return f".{rest}"
    if mark == "k":
        return "[" + ",".join(f"{name}={_json(item)}" for name, item in orjson.loads(rest).items()) + "]"
    return f"[={rest}]" if mark == "v" else f"[{rest}]"


def _json(item: Any) -> str:
    return orjson.dumps(item).decode()


def read(raw: Any) -> FieldSet:
    """Read FieldsV1 that a client sent, into the one spelling that sets are compared in.

    Raises:
        ValueError: it is no set of fields.
    """
    try:
        return _read(raw, root=True) or {}
    except ValueError as error:
        raise ValueError(f"no set of fields: {error}") from error


def _read(raw: Any, *, root: bool = False) -> FieldSet | None:
    if not isinstance(raw, dict):
        raise ValueError("fields must be objects")  # noqa: TRY004 - one error for every malformed set
    below: FieldSet = {}
    for element, item in raw.items():
        if element == SELF:
            continue
        inner = _read(item)
        if inner is not None:
            below[_canonical(element)] = inner
    return node(member=not root and is_member(raw), below=below)


def _canonical(element: str) -> str:
    mark, _, rest = element.partition(":")
    match mark:
        case "f":
            return element
        case "v":
            return value(orjson.loads(rest))
        case "k":
            keys = orjson.loads(rest)
            if not isinstance(keys, dict) or not keys:
                raise ValueError("a key must name fields")
            return key(keys)
        case "i":
            return f"i:{int(rest)}"
        case _:
            raise ValueError(f"unknown path element {element!r}")
