"""Objects are held to their schemas: every error, its path, its words."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.structural.schema import MISSING, compiled
from skerry.api.structural.validation import ERRORS_MAX, same, validate


def errors(schema: dict[str, Any], value: Any, old: Any = MISSING) -> list[tuple[str, str, str]]:
    return [(error.reason, error.path, error.message) for error in validate(compiled(schema), value, old)]


def of(spec: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": spec}}


@pytest.mark.parametrize(
    ("schema", "value", "reason", "message"),
    [
        ({"type": "integer"}, "a", "FieldValueTypeInvalid",
         'Invalid value: "string": x in body must be of type integer: "string"'),
        ({"type": "string"}, None, "FieldValueTypeInvalid",
         'Invalid value: "null": x in body must be of type string: "null"'),
        ({"type": "boolean"}, 1, "FieldValueTypeInvalid",
         'Invalid value: "integer": x in body must be of type boolean: "integer"'),
        ({"type": "integer"}, True, "FieldValueTypeInvalid",
         'Invalid value: "boolean": x in body must be of type integer: "boolean"'),
        ({"x-kubernetes-int-or-string": True}, 1.5, "FieldValueTypeInvalid",
         'Invalid value: "number": x in body must be of type integer,string: "number"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", "FieldValueNotSupported",
         'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "maxLength": 2}, "abc", "FieldValueTooLong", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "minLength": 2}, "é", "FieldValueInvalid",
         'Invalid value: "é": x in body should be at least 2 chars long'),
        ({"type": "string", "pattern": "^a+$"}, "b", "FieldValueInvalid",
         "Invalid value: \"b\": x in body should match '^a+$'"),
        ({"type": "integer", "maximum": 3}, 4, "FieldValueInvalid",
         "Invalid value: 4: x in body should be less than or equal to 3"),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 3, "FieldValueInvalid",
         "Invalid value: 3: x in body should be greater than 3"),
        ({"type": "number", "multipleOf": 0.5}, 0.7, "FieldValueInvalid",
         "Invalid value: 0.7: x in body should be a multiple of 0.5"),
        ({"type": "integer", "format": "int32"}, 2**31, "FieldValueInvalid",
         "Invalid value: 2147483648: x in body must be of type int32: 2147483648"),
        ({"type": "string", "format": "ipv4"}, "1.2.3", "FieldValueInvalid",
         'Invalid value: "1.2.3": x in body must be of type ipv4: "1.2.3"'),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], "FieldValueTooMany",
         "Too many: 2: must have at most 1 item"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [], "FieldValueInvalid",
         "Invalid value: 0: x in body should have at least 1 items"),
        ({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}, {}, "FieldValueInvalid",
         "Invalid value: 0: x in body should have at least 1 properties"),
        ({"type": "integer", "not": {"enum": [5]}}, 5, "FieldValueInvalid",
         'Invalid value: 5: "x" must not validate the schema (not)'),
        ({"type": "integer", "anyOf": [{"minimum": 9}, {"maximum": 1}]}, 5, "FieldValueInvalid",
         'Invalid value: 5: "x" must validate at least one schema (anyOf)'),
        ({"type": "integer", "oneOf": [{"minimum": 1}, {"maximum": 9}]}, 5, "FieldValueInvalid",
         'Invalid value: 5: "x" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_in_the_words_of_kubernetes(schema: Any, value: Any, reason: str, message: str):
    assert errors(of(schema), {"x": value}) == [(reason, "x", message)]


def test_every_error_of_an_object_is_told_with_its_path():
    item = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema = of({"type": "object", "properties": {
        "list": {"type": "array", "items": item},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    }})  # fmt: skip
    found = errors(schema, {"x": {"list": [{}, {"name": 1}], "map": {"a.b": "no"}}})
    assert [path for _, path, _ in found] == ["x.list[0].name", "x.list[1].name", "x.map.a.b"]


def test_errors_of_one_object_are_bounded():
    schema = of({"type": "array", "items": {"type": "string"}})
    assert len(errors(schema, {"x": [1] * 1000})) == ERRORS_MAX


def test_items_of_sets_and_maps_must_differ():
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
             "items": {"type": "object", "properties": {"a": {}, "b": {}}}}  # fmt: skip
    assert errors(of(keyed), {"x": [{"a": 1, "b": 1}, {"a": 2}, {"a": 1}]}) == [
        ("FieldValueDuplicate", "x[2]", 'Duplicate value: {"a":1}')
    ]
    distinct = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    assert errors(of(distinct), {"x": ["a", "b", "a"]}) == [("FieldValueDuplicate", "x[2]", 'Duplicate value: "a"')]


def test_null_is_a_value_where_the_schema_says_so():
    assert errors(of({"type": "string", "nullable": True, "enum": ["a"]}), {"x": None}) == []


def test_an_embedded_object_must_say_what_it_is():
    schema = of(
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    )
    found = errors(schema, {"x": {"apiVersion": "v1", "metadata": {"labels": {"a": 1}}}})
    assert [(reason, path) for reason, path, _ in found] == [
        ("FieldValueRequired", "x.kind"),
        ("FieldValueInvalid", "x.metadata"),
    ]


def test_what_did_not_change_is_not_held_against_an_update():
    item = {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer", "maximum": 1}}}
    schema = {"type": "object", "required": ["new"], "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string", "maxLength": 1},
        "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item},
    }}  # fmt: skip
    old = {"a": "long", "l": [{"k": "x", "n": 9}]}
    assert errors(schema, old, old) == []
    changed = {**old, "b": "long", "l": [{"k": "y", "n": 8}, {"k": "x", "n": 9}]}
    assert [path for _, path, _ in errors(schema, changed, old)] == ["new", "l[0].n", "b"]


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ([1], [True]), ({"a": 1}, {"a": True}), ("1", 1)])
def test_values_of_other_types_are_not_the_same(one: Any, other: Any):
    assert not same(one, other)
    assert same(1, 1.0)


NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([0.5, 1.0, 2.5])
    | st.sampled_from(["", "a", "bb", "é"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
CHECKS = st.fixed_dictionaries({}, optional={
    "maximum": st.integers(-3, 3), "minimum": st.integers(-3, 3), "multipleOf": st.sampled_from([1, 2]),
    "maxLength": st.integers(0, 2), "minLength": st.integers(0, 2), "pattern": st.sampled_from(["^a", "b+", "^$"]),
    "maxItems": st.integers(0, 2), "minItems": st.integers(0, 2),
    "maxProperties": st.integers(0, 2), "minProperties": st.integers(0, 2),
    "required": st.lists(NAMES, max_size=2, unique=True), "enum": st.lists(SCALARS, min_size=1, max_size=3),
})  # fmt: skip


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    def extend(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        nested = CHECKS.map(dict)
        shapes = st.one_of(
            st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=2)}),
            st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
            st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        )
        junctors = st.fixed_dictionaries({}, optional={
            "allOf": st.lists(nested, min_size=1, max_size=2), "anyOf": st.lists(nested, min_size=1, max_size=2),
            "oneOf": st.lists(nested, min_size=1, max_size=2), "not": nested,
        })  # fmt: skip
        return st.tuples(shapes, CHECKS, junctors).map(lambda parts: {**parts[0], **parts[1], **parts[2]})

    types = st.sampled_from(["string", "integer", "number", "boolean"])
    leaves = st.tuples(types, CHECKS, st.booleans()).map(lambda p: {"type": p[0], **p[1], "nullable": p[2]})
    return st.recursive(leaves, extend, max_leaves=5)


def standard(schema: Any) -> Any:
    """The same schema for a validator of JSON Schema: null is a type there."""
    if not isinstance(schema, dict):
        return [standard(item) for item in schema] if isinstance(schema, list) else schema
    plain = {}
    for name, item in schema.items():
        if name == "properties":
            plain[name] = {field: standard(inner) for field, inner in item.items()}
        elif name in {"enum", "required"}:
            plain[name] = item
        elif name != "nullable":
            plain[name] = standard(item)
    if schema.get("nullable"):
        return {"anyOf": [{"type": "null"}, plain]}
    return plain


@given(schemas(), VALUES)
def test_objects_are_judged_as_by_json_schema(schema: dict[str, Any], value: Any):
    reference = jsonschema_rs.validator_for(standard(schema))
    assert (validate(compiled(schema), value) == []) == reference.is_valid(value)


@given(schemas(), VALUES, VALUES)
def test_an_update_is_never_judged_harder_than_a_new_object(schema: dict[str, Any], value: Any, old: Any):
    node = compiled(schema)
    fresh = {(error.path, error.message) for error in validate(node, value)}
    assert {(error.path, error.message) for error in validate(node, value, old)} <= fresh
    assert validate(node, value, value) == []
