"""Whether an object is what its schema says: every error at once, with paths and words of Kubernetes.

On updates what did not change is not held against an object (ratcheting): a schema that became stricter stops nobody
from writing the rest. Lists are compared item by item where they have map keys, else as a whole. Pure.
Words: k8s.io/kube-openapi, pkg/validation/errors; k8s.io/apiextensions-apiserver, pkg/apiserver/validation.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from pydantic import ValidationError

from skerry.api.fields import FieldError, duplicate, invalid, json_type, not_supported, required, too_long, too_many
from skerry.api.model import ObjectMeta
from skerry.api.structural.formats import FORMATS, INTEGER_FORMATS
from skerry.api.structural.schema import MISSING, Node

#: Errors told of one object; a list of thousands helps nobody.
ERRORS_MAX = 100


def validate(node: Node, value: Any, old: Any = MISSING, *, at: str = "") -> list[FieldError]:
    """Return what is wrong with a value, at most `ERRORS_MAX`.

    Args:
        node: its schema.
        value: the value.
        old: the stored one, on updates.
        at: where the value is; "" for a whole object.
    """
    found = _first(_errors(node, value, at))
    if found and old is not MISSING:
        found = _first(_changed_errors(node, value, at, old))
    return found


def _first(errors: Iterator[FieldError]) -> list[FieldError]:
    return [error for error, _ in zip(errors, range(ERRORS_MAX), strict=False)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same; Python alone takes true for 1."""
    match one, other:
        case (bool(), _) | (_, bool()):
            return one is other
        case dict(), dict():
            return one.keys() == other.keys() and all(same(item, other[name]) for name, item in one.items())
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case _:
            return bool(one == other)


def _written(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _changed_errors(node: Node, value: Any, path: str, old: Any) -> Iterator[FieldError]:
    """Yield the errors of what differs from the stored value."""
    if old is not MISSING and same(value, old):
        return
    if old is MISSING or _type_error(node, value, path):
        yield from _errors(node, value, path)
    elif isinstance(value, dict) and isinstance(old, dict):
        yield from _own_errors(node, value, path)
        for name, item, inner in _fields(node, value):
            yield from _changed_errors(inner, item, _below(path, name), old.get(name, MISSING))
    elif isinstance(value, list) and isinstance(old, list) and node.list_type == "map" and node.items is not None:
        yield from _own_errors(node, value, path)
        before = {_identity(item, node): item for item in old}
        for index, item in enumerate(value):
            yield from _changed_errors(node.items, item, f"{path}[{index}]", before.get(_identity(item, node), MISSING))
    else:
        yield from _errors(node, value, path)


def _errors(node: Node, value: Any, path: str) -> Iterator[FieldError]:
    if value is None and node.nullable:
        return
    if wrong := _type_error(node, value, path):
        yield wrong
        return
    yield from _own_errors(node, value, path)
    if isinstance(value, dict):
        for name, item, inner in _fields(node, value):
            yield from _errors(inner, item, _below(path, name))
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            yield from _errors(node.items, item, f"{path}[{index}]")


def _fields(node: Node, value: dict[str, Any]) -> Iterator[tuple[str, Any, Node]]:
    for name, item in value.items():
        inner = node.properties.get(name, node.values)
        if inner is not None:
            yield name, item, inner


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
}


def _type_error(node: Node, value: Any, path: str) -> FieldError | None:
    if node.int_or_string:
        wanted, fits = "integer,string", _TYPES["integer"](value) or isinstance(value, str)
    elif node.type:
        wanted, fits = node.type, _TYPES[node.type](value)
    else:
        return None
    if fits:
        return None
    found = json_type(value)
    message = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return FieldError("FieldValueTypeInvalid", path, message)


def _own_errors(node: Node, value: Any, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with a value itself, whatever is in it."""
    limits = node.limits
    if "enum" in limits and not any(same(value, choice) for choice in limits["enum"]):
        choices = [choice if isinstance(choice, str) else orjson.dumps(choice).decode() for choice in limits["enum"]]
        yield not_supported(path, value, choices)
    match value:
        case bool() | None:
            pass
        case str():
            yield from _text_errors(node, value, path)
        case int() | float():
            yield from _number_errors(node, value, path)
        case list():
            yield from _list_errors(node, value, path)
        case dict():
            yield from _object_errors(node, value, path)
    for name, branches in node.junctors.items():
        yield from _junctor_errors(name, branches, value, path)


def _text_errors(node: Node, value: str, path: str) -> Iterator[FieldError]:
    limits = node.limits
    if len(value) > limits.get("maxLength", len(value)):
        yield too_long(path, limits["maxLength"])
    if len(value) < limits.get("minLength", 0):
        yield invalid(path, value, f"{path} in body should be at least {limits['minLength']} chars long")
    if node.pattern is not None and node.pattern.search(value) is None:
        yield invalid(path, value, f"{path} in body should match '{node.pattern.pattern}'")
    fits = FORMATS.get(limits.get("format", ""))
    if fits is not None and not fits(value):
        yield invalid(path, value, f'{path} in body must be of type {limits["format"]}: "{value}"')


def _number_errors(node: Node, value: float, path: str) -> Iterator[FieldError]:
    limits = node.limits
    if "maximum" in limits:
        bound, exclusive = limits["maximum"], limits.get("exclusiveMaximum", False)
        if value > bound or (exclusive and value == bound):
            yield invalid(path, value, f"{path} in body should be less than {'or equal to ' * (not exclusive)}{bound}")
    if "minimum" in limits:
        bound, exclusive = limits["minimum"], limits.get("exclusiveMinimum", False)
        if value < bound or (exclusive and value == bound):
            told = f"should be greater than {'or equal to ' * (not exclusive)}{bound}"
            yield invalid(path, value, f"{path} in body {told}")
    if "multipleOf" in limits and not _is_multiple(value, limits["multipleOf"]):
        yield invalid(path, value, f"{path} in body should be a multiple of {limits['multipleOf']}")
    low, high = INTEGER_FORMATS.get(limits.get("format", ""), (value, value))
    if not low <= value <= high and node.type in {"integer", "number"}:
        yield invalid(path, value, f"{path} in body must be of type {limits['format']}: {value}")


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    return (value / factor).is_integer()


def _list_errors(node: Node, value: list[Any], path: str) -> Iterator[FieldError]:
    limits = node.limits
    if len(value) > limits.get("maxItems", len(value)):
        yield too_many(path, len(value), limits["maxItems"])
    if len(value) < limits.get("minItems", 0):
        yield invalid(path, len(value), f"{path} in body should have at least {limits['minItems']} items")
    if node.list_type not in {"set", "map"}:
        return
    seen: set[bytes] = set()
    for index, item in enumerate(value):
        identity = _identity(item, node)
        if identity in seen:
            shown = {name: item.get(name) for name in node.map_keys} if isinstance(item, dict) else item
            yield duplicate(f"{path}[{index}]", shown)
        seen.add(identity)


def _identity(item: Any, node: Node) -> bytes:
    """Return what tells an item of a list apart: its keys in a map, itself in a set."""
    if node.list_type == "map" and isinstance(item, dict):
        return _written([item.get(name) for name in node.map_keys])
    return _written(item)


def _object_errors(node: Node, value: dict[str, Any], path: str) -> Iterator[FieldError]:
    limits = node.limits
    if len(value) > limits.get("maxProperties", len(value)):
        yield too_many(path, len(value), limits["maxProperties"])
    if len(value) < limits.get("minProperties", 0):
        yield invalid(path, len(value), f"{path} in body should have at least {limits['minProperties']} properties")
    for name in node.required:
        if name not in value:
            yield required(_below(path, name))
    if node.embedded:
        yield from _embedded_errors(value, path)


def _embedded_errors(value: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            yield required(_below(path, name), "must not be empty")
    try:
        ObjectMeta.model_validate(value.get("metadata") or {}, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        yield invalid(_below(path, "metadata"), value["metadata"], f"{first['loc']}: {first['msg']}")


def _junctor_errors(name: str, branches: tuple[Node, ...], value: Any, path: str) -> Iterator[FieldError]:
    quoted = f'"{path}"'
    if name == "allOf":
        for branch in branches:
            yield from _errors(branch, value, path)
        return
    fitting = sum(next(_errors(branch, value, path), None) is None for branch in branches)
    if name == "not" and fitting:
        yield invalid(path, value, f"{quoted} must not validate the schema (not)")
    elif name == "anyOf" and not fitting:
        yield invalid(path, value, f"{quoted} must validate at least one schema (anyOf)")
    elif name == "oneOf" and fitting != 1:
        found = "none valid" if not fitting else f"{fitting} valid alternatives"
        yield invalid(path, value, f"{quoted} must validate one and only one schema (oneOf). Found {found}")
