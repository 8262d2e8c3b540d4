"""What a schema makes of an object before it is validated: unknown fields go, defaults come.

Owns the order of Kubernetes: unknown fields are pruned, then nulls that are no values, then defaults are filled in.
`apiVersion`, `kind` and `metadata`, of the object and of every embedded one, are left alone. Pure but for the document,
which is changed in place.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from skerry.api.errors import RequestEntityTooLarge
from skerry.api.fields import path_of
from skerry.api.model import Document
from skerry.api.structural.schema import MISSING, Node

_OF_RESOURCES = frozenset({"apiVersion", "kind", "metadata"})

#: What the defaults of one object may add to it: a list of a million empty items is small before they do.
DEFAULTED_BYTES_MAX = 3 * 1024 * 1024

Location = tuple[str | int, ...]


def prune(node: Node, document: Document) -> list[str]:
    """Drop what a root schema does not know, in place; return the paths of what was dropped."""
    unknown: list[Location] = []
    _prune(node, document, (), unknown, is_resource=True)
    return [path_of(location) for location in unknown]


def _prune(node: Node, value: Any, at: Location, unknown: list[Location], *, is_resource: bool) -> None:
    if isinstance(value, list):
        if node.items is not None:
            for index, item in enumerate(value):
                _prune(node.items, item, (*at, index), unknown, is_resource=node.items.embedded)
    elif isinstance(value, dict):
        for name in list(value):
            if is_resource and name in _OF_RESOURCES:
                continue
            inner = node.properties.get(name, node.values)
            if inner is not None:
                _prune(inner, value[name], (*at, name), unknown, is_resource=inner.embedded)
            elif not (node.preserves or node.any_values):
                unknown.append((*at, name))
                del value[name]


def complete(node: Node, value: Any) -> None:
    """Drop nulls that are no values, and fill in defaults, in place.

    Raises:
        RequestEntityTooLarge: the defaults come to more than `DEFAULTED_BYTES_MAX`.
    """
    _complete(node, value, _Room(DEFAULTED_BYTES_MAX))


@dataclass(slots=True)
class _Room:
    """What is left for defaults."""

    left_bytes: int

    def take(self, taken_bytes: int) -> None:
        self.left_bytes -= taken_bytes
        if self.left_bytes < 0:
            told = f"the defaults that the schema gives to this object come to more than {DEFAULTED_BYTES_MAX} bytes"
            raise RequestEntityTooLarge(f"{told}: send fewer items")


def _complete(node: Node, value: Any, room: _Room) -> None:
    if isinstance(value, list):
        if node.items is not None:
            for item in value:
                _complete(node.items, item, room)
    elif isinstance(value, dict):
        _drop_nulls(node, value)
        for name, inner in node.properties.items():
            if inner.default is not MISSING and name not in value:
                room.take(inner.default_bytes)
                value[name] = deepcopy(inner.default)
        for name, item in value.items():
            below = node.properties.get(name, node.values)
            if below is not None:
                _complete(below, item, room)


def _drop_nulls(node: Node, value: Document) -> None:
    for name in [name for name, item in value.items() if item is None]:
        inner = node.properties.get(name, node.values)
        if inner is not None and not inner.nullable:
            del value[name]
