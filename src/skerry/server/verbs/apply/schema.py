"""A kind as merging sees it: what has fields of its own to be owned, and what is owned as a whole.

Shapes come from a kind's models, or from its structural schema. A list is atomic unless its annotation says map or set
(`api.model.list_map`, `LIST_SET`; `x-kubernetes-list-type`). Free-form objects are maps to any depth, and lists in
them are atomic, as in Kubernetes for untyped data.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from skerry.api.kinds import Kind
from skerry.api.model import Model, Resource
from skerry.api.structural.schema import MISSING, Node, Schema
from skerry.server.verbs.apply import fieldpath


@dataclass(frozen=True, slots=True)
class Atomic:
    """A scalar, or a list or object that is owned as a whole."""


@dataclass(frozen=True)
class Struct:
    """An object with known fields.

    Attributes:
        read: returns the shapes of the fields, by their names on the wire.
        others: the shape of fields that are not known; None where there can't be any.
    """

    read: Callable[[], dict[str, "Shape"]]
    others: "Shape | None" = None

    @cached_property
    def fields(self) -> dict[str, "Shape"]:
        """The shapes of the fields. Computed late, as models may contain themselves."""
        return self.read()


@dataclass(frozen=True, slots=True)
class Map:
    """An object whose names are data; `values` is None for free-form data, where every object is such a map."""

    values: "Shape | None"


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list of objects told apart by the values of some of their fields."""

    keys: tuple[str, ...]
    items: "Shape"
    #: The values of keys that an item leaves out, where the schema has defaults for them.
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def identity(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return what tells an item apart."""
        return {name: item[name] if name in item else self.defaults.get(name) for name in self.keys}

    def missing(self, item: dict[str, Any]) -> list[str]:
        """Return the keys that an item has to have and does not."""
        return [name for name in self.keys if name not in item and name not in self.defaults]


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of distinct values."""


Shape = Atomic | Struct | Map | ListMap | ListSet

#: Schemas whose shapes are kept; others are made again at a write.
SCHEMAS_MAX = 1024

ATOMIC = Atomic()
FREE = Map(None)


def shape_of(kind: Kind[Any]) -> Struct:
    """Return the shape of a kind's objects, made once."""
    return struct(kind.model) if kind.schema is None else _of_schema(kind.schema)


def struct(model: type[Model]) -> Struct:
    """Return the shape of a model, made once."""
    return _struct(model)


@cache
def _struct(model: type[Model]) -> Struct:
    return Struct(partial(_model_fields, model))


def _model_fields(model: type[Model]) -> dict[str, Shape]:
    return {info.alias or name: _shape_of_field(info) for name, info in model.model_fields.items()}


@lru_cache(maxsize=SCHEMAS_MAX)
def _of_schema(schema: Schema) -> Struct:
    return Struct(lambda: _schema_fields(schema.root) | struct(Resource).fields, _unknown(schema.root))


def _schema_fields(node: Node) -> dict[str, Shape]:
    return {name: _node_shape(inner) for name, inner in node.properties.items()}


def _unknown(node: Node) -> Shape | None:
    return FREE if node.preserves or node.any_values else None


def _node_shape(node: Node) -> Shape:
    if node.atomic_map:
        return ATOMIC
    match node.type:
        case "array":
            return _node_list(node)
        case "object" if node.values is not None:
            return Map(_node_shape(node.values))
        case "object" if node.embedded:
            return Struct(lambda: _schema_fields(node) | struct(Resource).fields, _unknown(node))
        case "object" if node.properties or not (node.preserves or node.any_values):
            return Struct(lambda: _schema_fields(node), _unknown(node))
        case "object":
            return FREE
        case _:
            return FREE if node.preserves else ATOMIC


def _node_list(node: Node) -> Shape:
    if node.list_type == "map" and node.items is not None:
        properties = node.items.properties
        defaults = {key: properties[key].default for key in node.map_keys if properties[key].default is not MISSING}
        return ListMap(node.map_keys, _node_shape(node.items), defaults)
    return ListSet() if node.list_type == "set" else ATOMIC


def child(shape: Struct | Map, name: str) -> Shape:
    """Return the shape of one field; ATOMIC for one that the model does not know."""
    match shape:
        case Struct():
            return shape.fields.get(name, shape.others or ATOMIC)
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
            case ListMap() if isinstance(item, dict):
                yield fieldpath.key(shape.identity(item)), item
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
    return FREE if annotation is Any else ATOMIC


def _list_shape(item: Any, extra: Any) -> Shape:
    match extra.get("x-kubernetes-list-type"):
        case "map":
            return ListMap(tuple(extra["x-kubernetes-list-map-keys"]), _shape(item, {}))
        case "set":
            return ListSet()
        case _:
            return ATOMIC
