"""What a schema of a definition must be, so that objects can be pruned, defaulted, validated and merged by it.

Yields every broken rule with the path in the definition, in the words of Kubernetes. The keywords and the types of
their values are checked before, by the model `JSONSchemaProps`. Pure.
Rules: k8s.io/apiextensions-apiserver, pkg/apiserver/schema/validation.go; pkg/apis/apiextensions/validation.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Literal

from skerry.api.fields import FieldError, forbidden, invalid, not_supported, required
from skerry.api.model import Document
from skerry.api.structural.expressions import rule_errors
from skerry.api.structural.patterns import pattern
from skerry.api.structural.pruning import prune
from skerry.api.structural.schema import MISSING, Node, compiled
from skerry.api.structural.validation import validate

#: Levels of a schema, and schemas in one: the largest in common use (a pod's template) have 20 and 3,000.
SCHEMA_DEPTH_MAX = 64
SCHEMA_NODES_MAX = 20_000
#: Broken rules told of one schema.
ERRORS_MAX = 100

Level = Literal["root", "item", "field"]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("$ref", "id", "additionalItems", "patternProperties", "definitions", "dependencies")
_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
#: What may not stand under a junctor, and how Kubernetes says so.
_STRUCTURAL_ONLY = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def schema_errors(schema: Document, path: str) -> list[FieldError]:
    """Return the broken rules of a schema at `path`, at most `ERRORS_MAX`."""
    if size := _size_error(schema, path):
        return [size]
    walks = (_structural_errors(schema, path, "root"), _root_errors(schema, path))
    found = [error for walk in walks for error, _ in zip(walk, range(ERRORS_MAX), strict=False)][:ERRORS_MAX]
    # A default is checked by the schema itself, which has to be sound for that.
    return found or list(_default_errors(compiled(schema), path))[:ERRORS_MAX]


def _size_error(schema: Document, path: str) -> FieldError | None:
    level, count = [schema], 0
    for _ in range(SCHEMA_DEPTH_MAX):
        count += len(level)
        if count > SCHEMA_NODES_MAX:
            return forbidden(path, f"has more than {SCHEMA_NODES_MAX} schemas in it")
        level = [inner for node in level for _, inner in _inner(node)]
        if not level:
            return None
    return forbidden(path, f"is nested deeper than {SCHEMA_DEPTH_MAX} levels")


def _inner(schema: Document) -> Iterator[tuple[str, Document]]:
    """Yield every schema directly in a schema, with the path to it."""
    for name, inner in (schema.get("properties") or {}).items():
        yield f"properties[{name}]", inner
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict):
            yield name, schema[name]
    for name in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(name) or ()):
            yield f"{name}[{index}]", inner


def _root_errors(schema: Document, path: str) -> Iterator[FieldError]:
    if schema.get("type", "object") != "object":
        yield invalid(f"{path}.type", schema["type"], "must be object at the root")
    if "additionalProperties" in schema:
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    metadata = (schema.get("properties") or {}).get("metadata")
    if metadata is not None:
        named = set(metadata.get("properties") or {}) <= {"name", "generateName"}
        if not named or not set(metadata) <= {"type", "properties", "description"}:
            told = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield forbidden(f"{path}.properties[metadata]", told)


def _structural_errors(schema: Document, path: str, level: Level) -> Iterator[FieldError]:
    yield from _keyword_errors(schema, path)
    yield from _type_errors(schema, path, level)
    yield from _extension_errors(schema, path)
    yield from _object_errors(schema, path)
    yield from _list_errors(schema, path)
    yield from rule_errors(schema.get("x-kubernetes-validations") or (), f"{path}.x-kubernetes-validations")
    for name, inner in _inner(schema):
        if name == "items":
            yield from _structural_errors(inner, f"{path}.items", "item")
        elif name.startswith(("properties", "additionalProperties")):
            yield from _structural_errors(inner, f"{path}.{name}", "field")
    yield from _junctor_errors(schema, schema, path, path)


def _keyword_errors(schema: Document, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with one level, wherever it stands."""
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if schema.get("uniqueItems"):
        told = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", told)
    if schema.get("pattern"):
        try:
            pattern(schema["pattern"])
        except ValueError as error:
            told = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(f"{path}.pattern", schema["pattern"], told)
    if schema.get("multipleOf") is not None and schema["multipleOf"] <= 0:
        yield invalid(f"{path}.multipleOf", schema["multipleOf"], "must be greater than 0")


def _type_errors(schema: Document, path: str, level: Level) -> Iterator[FieldError]:
    given = schema.get("type", "")
    values = schema.get("additionalProperties")
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("x-kubernetes-embedded-resource"):
        if not given:
            yield required(f"{path}.type", "must be object if x-kubernetes-embedded-resource is true")
        elif given != "object":
            yield invalid(f"{path}.type", given, "must be object if x-kubernetes-embedded-resource is true")
    elif not given and not free:
        yield required(f"{path}.type", _EMPTY_TYPE[level])
    if given == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif given and given not in _TYPES:
        yield not_supported(f"{path}.type", given, _TYPES)
    if given == "array" and schema.get("items") is None:
        yield required(f"{path}.items", "must be specified")
    if values is False:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    elif values and schema.get("properties"):
        told = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", told)


def _extension_errors(schema: Document, path: str) -> Iterator[FieldError]:
    preserves = "x-kubernetes-preserve-unknown-fields"
    embedded = "x-kubernetes-embedded-resource"
    if schema.get(preserves) is False:
        yield invalid(f"{path}.{preserves}", value=False, detail="must be true or undefined")
    if schema.get("x-kubernetes-int-or-string"):
        for name in (preserves, embedded):
            if schema.get(name):
                told = "must be false if x-kubernetes-int-or-string is true"
                yield invalid(f"{path}.{name}", schema[name], told)
        if schema.get("type"):
            told = "must be empty if x-kubernetes-int-or-string is true"
            yield invalid(f"{path}.type", schema["type"], told)


def _object_errors(schema: Document, path: str) -> Iterator[FieldError]:
    preserves = "x-kubernetes-preserve-unknown-fields"
    embedded = "x-kubernetes-embedded-resource"
    if schema.get(embedded):
        if schema.get("additionalProperties"):
            told = f"must not be used if {embedded} is set"
            yield forbidden(f"{path}.additionalProperties", told)
        if not schema.get(preserves) and not schema.get("properties"):
            told = f"must not be empty if {embedded} is true without {preserves}"
            yield required(f"{path}.properties", told)
    if (merges := schema.get("x-kubernetes-map-type")) is not None:
        if merges not in {"granular", "atomic"}:
            yield not_supported(f"{path}.x-kubernetes-map-type", merges, ("granular", "atomic"))
        if schema.get("type") != "object":
            told = "must be object if x-kubernetes-map-type is specified"
            yield invalid(f"{path}.type", schema.get("type", ""), told)


def _list_errors(schema: Document, path: str) -> Iterator[FieldError]:
    merges, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or ()
    if merges not in {None, "atomic", "set", "map"}:
        yield not_supported(f"{path}.x-kubernetes-list-type", merges, ("atomic", "map", "set"))
    if merges and schema.get("type") != "array":
        told = "must be array if x-kubernetes-list-type is specified"
        yield invalid(f"{path}.type", schema.get("type", ""), told)
    if keys and merges != "map":
        told = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield invalid(f"{path}.x-kubernetes-list-type", merges or "", told)
    items = schema.get("items")
    if not isinstance(items, dict):
        return
    if merges == "map":
        yield from _map_errors(items, keys, path)
    elif merges == "set":
        yield from _set_errors(items, f"{path}.items")


def _map_errors(items: Document, keys: Sequence[str], path: str) -> Iterator[FieldError]:
    at = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield required(at, "must not be empty if x-kubernetes-list-type is map")
    if len(set(keys)) < len(keys):
        yield invalid(at, keys, "must not contain duplicate entries")
    if items.get("type") != "object":
        told = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type", ""), told)
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        inner, here = properties.get(key), f"{path}.items.properties[{key}]"
        if inner is None:
            yield invalid(f"{at}[{index}]", key, "entries must all be names of item properties")
            continue
        if inner.get("type") in {"array", "object"}:
            told = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{here}.type", inner["type"], told)
        told = "this property is in x-kubernetes-list-map-keys, so it"
        if "default" not in inner and key not in (items.get("required") or ()):
            yield required(f"{here}.default", f"{told} must have a default or be a required property")
        if inner.get("nullable"):
            yield forbidden(f"{here}.nullable", f"{told} cannot be nullable")


def _set_errors(items: Document, at: str) -> Iterator[FieldError]:
    for given, mark in (("object", "x-kubernetes-map-type"), ("array", "x-kubernetes-list-type")):
        if items.get("type") == given and items.get(mark, "atomic" * (given == "array")) != "atomic":
            told = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield invalid(f"{at}.{mark}", items.get(mark), told)
    if items.get("nullable"):
        yield forbidden(f"{at}.nullable", "cannot be nullable when x-kubernetes-list-type is set")


def _junctor_errors(schema: Document, known: Document, path: str, known_path: str) -> Iterator[FieldError]:
    """Yield what is wrong under the junctors of a schema, whose fields `known` must have as well."""
    for name, inner in _inner(schema):
        if not name.startswith(("allOf", "anyOf", "oneOf", "not")):
            continue
        if name.startswith(("anyOf", "allOf[0]")) and _is_int_or_string(schema, inner):
            continue
        yield from _nested_errors(inner, known, f"{path}.{name}", known_path)


def _is_int_or_string(schema: Document, inner: Document) -> bool:
    """Tell whether this is how Kubernetes' own generators write an integer or text."""
    return _INT_OR_STRING in (schema.get("anyOf"), inner.get("anyOf"))


def _nested_errors(schema: Document, known: Document, path: str, known_path: str) -> Iterator[FieldError]:
    yield from _keyword_errors(schema, path)
    for name, told in _STRUCTURAL_ONLY.items():
        if schema.get(name) or (name == "default" and name in schema):
            yield forbidden(f"{path}.{name}", told)
    if "metadata" in (schema.get("properties") or {}):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")
    for name, inner in _inner(schema):
        if not name.startswith(("properties", "items")):
            continue
        below = _known_below(known, name)
        if below is None:
            yield required(f"{known_path}.{name}", f"because it is defined in {path}.{name}")
        else:
            yield from _nested_errors(inner, below, f"{path}.{name}", f"{known_path}.{name}")
    yield from _junctor_errors(schema, known, path, known_path)


def _known_below(known: Document, name: str) -> Document | None:
    """Return the schema that a field under a junctor has outside of it; None where it has none."""
    if name == "items":
        items = known.get("items")
        return items if isinstance(items, dict) else None
    found = (known.get("properties") or {}).get(name.removeprefix("properties[").removesuffix("]"))
    values = known.get("additionalProperties")
    return found if found is not None else values if isinstance(values, dict) else None


def _default_errors(node: Node, path: str) -> Iterator[FieldError]:
    for name, inner in node.properties.items():
        yield from _default_errors(inner, f"{path}.properties[{name}]")
    if node.items is not None:
        yield from _default_errors(node.items, f"{path}.items")
    if node.values is not None:
        yield from _default_errors(node.values, f"{path}.additionalProperties")
    if node.default is MISSING:
        return
    if isinstance(node.default, dict):
        for unknown in prune(node, deepcopy(node.default)):
            yield invalid(f"{path}.default", node.default, f"must not have unknown fields: {unknown}")
    yield from validate(node, node.default, at=f"{path}.default")
