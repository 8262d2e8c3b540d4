"""A structural schema, compiled: what a custom kind's objects are made of.

A schema comes as the JSON document of `spec.versions[].schema.openAPIV3Schema`, checked by `rules` before. Compiled it
is a tree of nodes that pruning, defaults, validation and server-side apply walk. Nodes under `allOf`, `anyOf`, `oneOf`
and `not` are the same, without types. Compiling is put off to the first write, so that a start with hundreds of
definitions costs nothing. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from skerry.api.model import Document
from skerry.api.structural.patterns import Pattern, pattern

ListType = Literal["", "atomic", "set", "map"]

#: Stands for what is not there, where null is a value.
MISSING: Any = object()


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of `x-kubernetes-validations`, as it is written; `expressions` runs it."""

    expression: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One level of a schema.

    Attributes:
        type: the JSON type; "" for any.
        properties: known fields of an object.
        values: the schema of an object's values where its names are data; None where that is not said.
        any_values: whether such values may be anything.
        items: the schema of a list's items.
        nullable: whether null is a value.
        preserves: whether unknown fields are kept.
        embedded: whether the object has apiVersion, kind and metadata of its own.
        int_or_string: whether it is an integer or text.
        default: the value of a field that is left out; MISSING for none.
        default_bytes: what the default comes to as JSON.
        list_type, map_keys: how the list merges, and what tells its items apart.
        atomic_map: whether an object merges as a whole.
        required: names that must be there.
        pattern: what text must match.
        limits: further keywords with their values, such as `maxLength`.
        junctors: `allOf`, `anyOf`, `oneOf` and `not`, each with its nodes.
        rules: expressions that must hold.
        has_rules: whether there are any, here or below.
    """

    type: str = ""
    properties: Mapping[str, "Node"] = field(default_factory=dict)
    values: "Node | None" = None
    any_values: bool = False
    items: "Node | None" = None
    nullable: bool = False
    preserves: bool = False
    embedded: bool = False
    int_or_string: bool = False
    default: Any = MISSING
    default_bytes: int = 0
    list_type: ListType = ""
    map_keys: tuple[str, ...] = ()
    atomic_map: bool = False
    required: tuple[str, ...] = ()
    pattern: Pattern | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    junctors: Mapping[str, tuple["Node", ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    has_rules: bool = False


#: Keywords that `validation` checks by name; `required` and `pattern` have places of their own.
LIMITS = (
    "enum", "format", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "multipleOf", "maxLength",
    "minLength", "maxItems", "minItems", "maxProperties", "minProperties",
)  # fmt: skip


class Schema:
    """The schema of one version of a custom kind.

    Args:
        document: the JSON document; published as it is.
    """

    def __init__(self, document: Document) -> None:
        self.document = document

    @cached_property
    def root(self) -> Node:
        """The compiled tree."""
        return compiled(self.document)


def compiled(schema: Document) -> Node:
    """Compile a schema that `rules` found sound."""
    junctors = {name: tuple(map(compiled, schema[name])) for name in ("allOf", "anyOf", "oneOf") if schema.get(name)}
    if schema.get("not") is not None:
        junctors["not"] = (compiled(schema["not"]),)
    given_values, given_items = schema.get("additionalProperties"), schema.get("items")
    properties = {name: compiled(inner) for name, inner in (schema.get("properties") or {}).items()}
    values = compiled(given_values) if isinstance(given_values, dict) else None
    items = compiled(given_items) if isinstance(given_items, dict) else None
    rules = tuple(map(_rule, schema.get("x-kubernetes-validations") or ()))
    below = [*properties.values(), *(node for node in (values, items) if node is not None)]
    return Node(
        type=schema.get("type", ""),
        properties=properties,
        values=values,
        any_values=given_values is True,
        items=items,
        nullable=schema.get("nullable", False),
        preserves=schema.get("x-kubernetes-preserve-unknown-fields", False),
        embedded=schema.get("x-kubernetes-embedded-resource", False),
        int_or_string=schema.get("x-kubernetes-int-or-string", False),
        default=schema.get("default", MISSING),
        default_bytes=len(orjson.dumps(schema["default"])) if "default" in schema else 0,
        list_type=schema.get("x-kubernetes-list-type", ""),
        map_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        atomic_map=schema.get("x-kubernetes-map-type") == "atomic",
        required=tuple(schema.get("required") or ()),
        pattern=pattern(schema["pattern"]) if schema.get("pattern") else None,
        limits={name: schema[name] for name in LIMITS if schema.get(name) is not None},
        junctors=junctors,
        rules=rules,
        has_rules=bool(rules) or any(node.has_rules for node in below),
    )


def _rule(rule: Document) -> Rule:
    return Rule(
        rule["rule"],
        rule.get("message", ""),
        rule.get("messageExpression", ""),
        rule.get("reason", ""),
        rule.get("fieldPath", ""),
        rule.get("optionalOldSelf", False),
    )
