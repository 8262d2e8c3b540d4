"""How many checks a schema makes of a value is told before one is made."""

from functools import reduce
from typing import Any

import pytest

from skerry.functions import SchemaError, check_against, check_schema
from skerry.functions.schema_weight import SUBSCHEMAS_MAX, WEIGHT_MAX, Weight, weight_of

TREE = {
    "type": "object",
    "properties": {
        "left": {"$ref": "#"},
        "right": {"$ref": "#"},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "additionalProperties": {"$ref": "#"},
}
TWICE_BELOW = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}
NAMED = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "http://example.test/root.json",
    "properties": {"a": {"$ref": "item.json"}, "b": {"$ref": "#/definitions/x~1y"}, "c": {"$ref": "#c"}},
    "definitions": {
        "item": {
            "$id": "item.json",
            "properties": {"d": {"$ref": "#/definitions/own"}},
            "definitions": {"own": {"type": "string"}},
        },
        "x/y": True,
        "c": {"$id": "#c", "type": "null"},
    },
}


def doubling(levels: int) -> dict[str, Any]:
    """Return a schema of definitions that each refer to the next one twice."""
    definitions: dict[str, Any] = {"0": {"type": "object"}}
    for level in range(1, levels + 1):
        definitions[str(level)] = {"allOf": [{"$ref": f"#/definitions/{level - 1}"}] * 2}
    return {"definitions": definitions, "allOf": [{"$ref": f"#/definitions/{levels}"}]}


def unevaluated(levels: int) -> dict[str, Any]:
    """Return a schema that has what it has looked at looked at again, at each level."""
    start: dict[str, Any] = {"type": "object"}
    nested = reduce(lambda inner, _: {"allOf": [inner], "unevaluatedProperties": False}, range(levels), start)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **nested}


@pytest.mark.parametrize(
    ("schema", "checks"),
    [
        ({}, 1),
        ({"type": "object", "required": ["a"]}, 3),
        ({"properties": {"a": {"type": "string", "maxLength": 1, "pattern": "a"}, "b": {}}}, 4),
        ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, 2 + 2 + 2),
        ({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, 2 + 2 + 2),
        ({"items": [{"type": "string"}, {"type": "null"}], "additionalItems": {"enum": [1, 2]}}, 3),
        ({"enum": [{"a": 1}, 2]}, 2 + 30),
        (TREE, 4 + 2),
        (NAMED, 2 + 4),
        (doubling(1), 3 + 2 + 2 + 2 * 2 + 2 * 2),
    ],
)
def test_the_checks_of_one_value_are_counted(schema: dict[str, Any], checks: int) -> None:
    check_schema(schema)
    assert weight_of(schema).checks == checks


def test_what_has_alternatives_is_told() -> None:
    assert weight_of({"properties": {"a": {"oneOf": [{}]}}}) == Weight(3, alternatives=True)
    assert weight_of({"properties": {"a": {"allOf": [{}]}}}) == Weight(3, alternatives=False)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (doubling(40), f"over {WEIGHT_MAX} checks"),
        (TWICE_BELOW, f"over {WEIGHT_MAX} checks"),
        (unevaluated(16), f"over {WEIGHT_MAX} checks"),
        ({"allOf": [{"$ref": "#"}]}, "without going deeper"),
        ({"allOf": [{} for _ in range(SUBSCHEMAS_MAX)]}, f"more than {SUBSCHEMAS_MAX} subschemas"),
        ({"$ref": "http://json-schema.org/draft-04/schema#"}, "must lead to a place in this schema"),
        ({"id": "http://example.test/", "default": {"id": "http://[x"}}, "URL"),
        (
            {
                "allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#/definitions/more"}}],
                "definitions": {"more": {"items": {"$ref": "#/definitions/more"}}},
            },
            "too entangled",
        ),
    ],
    ids=["doubling", "twice-below", "unevaluated", "itself", "large", "elsewhere", "no-url", "entangled"],
)
def test_a_schema_that_could_keep_the_process_busy_is_refused(schema: dict[str, Any], told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        check_schema(schema)


def test_a_value_that_is_too_large_for_the_weight_of_its_schema_is_not_checked() -> None:
    check = check_against(doubling(10))
    assert check({"a": ["fits"] * 100}) == ""
    assert "body has more than 1220 values" in check(["fits"] * 1220)
    assert "body has more than 1220 values" in check("long" * 10_000)


def test_of_a_large_value_the_first_failure_is_told_and_of_alternatives_none() -> None:
    numbers = [1] * 20_000
    lines = check_against({"type": "array", "items": {"type": "string"}})(numbers).split("\n")
    more = "body is too large for all that is wrong to be told"
    assert lines[1:] == ['0 in body must be of type string: "number"', more]
    lines = check_against({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}})(numbers).split("\n")
    assert lines[1:] == [more]
    lines = check_against({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}})([1]).split("\n")
    assert "anyOf" in lines[1]
