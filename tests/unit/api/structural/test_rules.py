"""A schema must be structural; what is not is told with Kubernetes' words."""

from typing import Any

import pytest

from skerry.api.structural.rules import SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, schema_errors


def errors(schema: dict[str, Any]) -> list[str]:
    return [str(error) for error in schema_errors(schema, "s")]


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


ITEM = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "o": {"type": "object"}}}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({}, "s.type: Required value: must not be empty at the root"),
        ({"type": "array", "items": {"type": "string"}}, 's.type: Invalid value: "array": must be object at the root'),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            "s.additionalProperties: Forbidden: must not be used at the root",
        ),
        (of(a={}), "s.properties[a].type: Required value: must not be empty for specified object fields"),
        (
            of(a={"type": "text"}),
            (
                's.properties[a].type: Unsupported value: "text": supported values: "array", '
                '"boolean", "integer", "number", "object", "string"'
            ),
        ),
        (
            of(a={"type": "null"}),
            "s.properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative",
        ),
        (of(a={"type": "array"}), "s.properties[a].items: Required value: must be specified"),
        (
            of(a={"type": "array", "items": {}}),
            "s.properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            of(a={"type": "string", "uniqueItems": True}),
            (
                "s.properties[a].uniqueItems: Forbidden: uniqueItems cannot "
                "be set to true since the runtime complexity becomes quadratic"
            ),
        ),
        (
            of(
                a={
                    "type": "object",
                    "properties": {"b": {"type": "string"}},
                    "additionalProperties": {"type": "string"},
                }
            ),
            "s.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            of(a={"type": "object", "additionalProperties": False}),
            "s.properties[a].additionalProperties: Forbidden: additionalProperties cannot be set to false",
        ),
        (
            of(a={"type": "string", "pattern": "a("}),
            (
                's.properties[a].pattern: Invalid value: "a(": must be a valid '
                "regular expression, but isn't: missing ): a("
            ),
        ),
        (
            of(a={"type": "string", "pattern": "(?=a)"}),
            (
                's.properties[a].pattern: Invalid value: "(?=a)": must be a '
                "valid regular expression, but isn't: invalid perl operator: (?="
            ),
        ),
        (of(a={"type": "string", "$ref": "#/b"}), "s.properties[a].$ref: Forbidden: $ref is not supported"),
        (
            of(a={"type": "string", "x-kubernetes-int-or-string": True}),
            ('s.properties[a].type: Invalid value: "string": must be empty if x-kubernetes-int-or-string is true'),
        ),
        (
            of(a={"type": "object", "x-kubernetes-embedded-resource": True}),
            (
                "s.properties[a].properties: Required "
                "value: must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            ),
        ),
        (
            of(metadata={"type": "object", "properties": {"labels": {"type": "object"}}}),
            (
                "s.properties[metadata]: "
                "Forbidden: must not specify anything other than name and generateName, "
                "but metadata is implicitly specified"
            ),
        ),
        (
            of(a={"type": "string", "anyOf": [{"type": "string"}]}),
            "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"b": {"minLength": 1}}}]},
            "s.properties[b]: Required value: because it is defined in s.anyOf[0].properties[b]",
        ),
        (
            of(a={"type": "array", "items": ITEM, "x-kubernetes-list-type": "map"}),
            (
                "s.properties[a]."
                "x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
            ),
        ),
        (
            of(
                a={"type": "array", "items": ITEM, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["z"]}
            ),
            (
                's.properties[a].x-kubernetes-list-map-keys[0]: Invalid value: "z": entries must all be names of item '
                "properties"
            ),
        ),
        (
            of(
                a={
                    "type": "array",
                    "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                }
            ),
            (
                "s.properties[a].items.properties[k].default: Required value: this property is in "
                "x-kubernetes-list-map-keys, so it must have a default or be a required property"
            ),
        ),
        (
            of(a={"type": "string", "default": 1}),
            (
                's.properties[a].default: Invalid value: "integer": '
                "s.properties[a].default in "
                'body must be of type string: "integer"'
            ),
        ),
        (
            of(a={"type": "object", "properties": {}, "default": {"x": 1}}),
            's.properties[a].default: Invalid value: {"x":1}: must not have unknown fields: x',
        ),
    ],
)
def test_what_is_not_structural_is_refused(schema: Any, told: str):
    assert errors(schema) == [told]


@pytest.mark.parametrize(
    "schema",
    [
        of(a={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        of(
            a={
                "x-kubernetes-int-or-string": True,
                "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^a"}],
            }
        ),
        of(a={"x-kubernetes-preserve-unknown-fields": True}),
        of(a=ITEM | {"oneOf": [{"required": ["k"]}, {"properties": {"k": {"minLength": 1}}}]}),
        of(metadata={"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}),
        of(anyOf={"type": "string"}, type={"type": "string"}, properties={"type": "object"}),
    ],
)
def test_what_generators_write_is_accepted(schema: Any):
    assert errors(schema) == []


def test_a_schema_is_bounded_in_depth_and_size():
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(SCHEMA_DEPTH_MAX):
        deep = {"type": "array", "items": deep}
    assert errors(of(a=deep)) == [f"s: Forbidden: is nested deeper than {SCHEMA_DEPTH_MAX} levels"]
    wide = {f"f{number}": {"type": "string"} for number in range(SCHEMA_NODES_MAX)}
    assert errors(of(**wide)) == [f"s: Forbidden: has more than {SCHEMA_NODES_MAX} schemas in it"]
