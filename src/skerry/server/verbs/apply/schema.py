"""A kind's models as merging sees them: what has fields of its own to be owned, and what is owned as a whole.

A list is atomic unless its annotation says map or set (`api.model.list_map`, `LIST_SET`). Free-form objects are maps
to any depth, and lists in them are atomic, as in Kubernetes for untyped data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from skerry.api.model import Model
from skerry.server.verbs.apply import fieldpath


@dataclass(frozen=True, slots=True)
class Atomic:
    """A scalar, or a list or object that is owned as a whole."""


@dataclass(frozen=True)
class Struct:
    """An object with known fields."""

    model: type[Model]

    @cached_property
    def fields(self) -> dict[str, "Shape"]:
        """The shapes of the fields, by their names on the wire. Computed late, as models may contain themselves."""
        return {info.alias or name: _shape_of_field(info) for name, info in self.model.model_fields.items()}


@dataclass(frozen=True, slots=True)
class Map:
    """An object whose names are data; `values` is None for free-form data, where every object is such a map."""

    values: "Shape | None"


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list of objects told apart by the values of some of their fields."""

    keys: tuple[str, ...]
    items: "Shape"


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of distinct values."""


Shape = Atomic | Struct | Map | ListMap | ListSet

ATOMIC = Atomic()
FREE = Map(None)


def struct(model: type[Model]) -> Struct:
    """Return the shape of a model, made once."""
    return _struct(model)


@cache
def _struct(model: type[Model]) -> Struct:
    return Struct(model)


def child(shape: Struct | Map, name: str) -> Shape:
    """Return the shape of one field; ATOMIC for one that the model does not know."""
    match shape:
        case Struct():
            return shape.fields.get(name, ATOMIC)
        case Map(None):
            return FREE
        case Map(values):
            return values or FREE


def elements(shape: ListMap | ListSet, items: list[Any]) -> dict[str, Any]:
    """Return the items of a list by their path elements, in order; of equal ones the first.

    An item without its keys is left to the validation, which refuses it.
    """
    found: dict[str, Any] = {}
    for element, item in _elements(shape, items):
        found.setdefault(element, item)
    return found


def _elements(shape: ListMap | ListSet, items: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        match shape:
            case ListSet():
                yield fieldpath.value(item), item
            case ListMap(keys) if isinstance(item, dict):
                yield fieldpath.key({name: item.get(name) for name in keys}), item
            case _:
                yield fieldpath.value(item), item


def _shape_of_field(info: FieldInfo) -> Shape:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    if extra.get("x-kubernetes-map-type") == "atomic":
        return ATOMIC
    return _shape(info.annotation, extra)


def _shape(annotation: Any, extra: Any) -> Shape:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        inner = annotation.model_config.get("json_schema_extra")
        atomic = isinstance(inner, dict) and inner.get("x-kubernetes-map-type") == "atomic"
        return ATOMIC if atomic else struct(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0], extra)
    if origin in {Union, UnionType}:
        left = [part for part in arguments if part is not type(None)]
        return _shape(left[0], extra) if len(left) == 1 else ATOMIC
    if origin is dict:
        return FREE if arguments[1] is Any else Map(_shape(arguments[1], {}))
    if origin is list:
        return _list_shape(arguments[0], extra)
    return ATOMIC


def _list_shape(item: Any, extra: Any) -> Shape:
    match extra.get("x-kubernetes-list-type"):
        case "map":
            return ListMap(tuple(extra["x-kubernetes-list-map-keys"]), _shape(item, {}))
        case "set":
            return ListSet()
        case _:
            return ATOMIC
