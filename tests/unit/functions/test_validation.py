"""What is told of values that are against a schema, and of schemas that are none."""

from typing import Any

import pytest

from skerry.functions import InputError, JsonSchemaValidator, SchemaError, Schemas, check_schema
from skerry.functions.messages import Context


async def _pass(context: Context, payload: Any) -> Any:  # noqa: ARG001
    return payload


async def failures(schema: dict[str, Any], value: Any) -> list[str]:
    run = JsonSchemaValidator().get_middleware(Schemas(schema))(_pass)
    try:
        await run({}, value)
    except InputError as error:
        first, *rest = error.message.split("\n")
        assert first == "Input invalid against schema: validation failure list:"
        return rest
    return []


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"name": value}
    return value


PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 5, "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "exclusiveMaximum": True},
        "tags": {"type": "array", "maxItems": 2, "uniqueItems": True, "items": {"type": "string", "enum": ["a", "b"]}},
        "home": {"type": "object", "required": ["city"], "minProperties": 1},
        "when": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"name": "Jon"}, []),
        ({}, [".name in body is required"]),
        ("Jon", ['body must be of type object: "string"']),
        (None, ['body must be of type object: "null"']),
        ({"name": 1}, ['name in body must be of type string: "number"']),
        ({"name": "Daenerys"}, ["name in body should be at most 5 chars long"]),
        ({"name": "jon"}, ["name in body should match '^[A-Z]'"]),
        ({"name": "Jon", "age": -1}, ["age in body should be greater than or equal to 0"]),
        ({"name": "Jon", "age": 150}, ["age in body should be less than 150"]),
        ({"name": "Jon", "tags": ["a", "c"]}, ["tags.1 in body should be one of ['a', 'b']"]),
        ({"name": "Jon", "tags": ["a", "a"]}, ["tags in body shouldn't contain duplicates"]),
        ({"name": "Jon", "home": {"x": 1}}, ["home.city in body is required"]),
        ({"name": "Jon", "when": "now"}, ['when in body must be of type date-time: "now"']),
        ({"name": "Jon", "x": 1, "y": 2}, [".x in body is a forbidden property", ".y in body is a forbidden property"]),
        ({"age": "x"}, ['age in body must be of type integer: "string"', ".name in body is required"]),
    ],
)
async def test_everything_that_is_wrong_is_told_with_its_place(value: Any, told: list[str]) -> None:
    assert sorted(await failures(PERSON, value)) == sorted(told)


async def test_no_schema_says_which_draft_and_it_is_the_one_of_swagger_2() -> None:
    assert await failures({"const": 1, "properties": {"a": {"exclusiveMinimum": True, "minimum": 1}}}, {"a": 1}) == [
        "a in body should be greater than 1"
    ], "const is unknown to draft 4, exclusiveMinimum a boolean"


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
async def test_a_schema_may_name_a_newer_draft(draft: str) -> None:
    assert await failures({"$schema": draft, "exclusiveMinimum": 1}, 1) == ["body should be greater than 1"]


async def test_how_much_is_told_is_bounded() -> None:
    told = await failures({"items": {"type": "string"}}, list(range(1000)))
    assert len(told) == 101
    assert told[-1] == "and more"


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "strin"}, "type"),
        ({"properties": {"a": {"required": "x"}}}, "properties.a.required"),
        ({"pattern": "("}, "pattern"),
        ({"pattern": r"(a)\1"}, "pattern|regex"),
        ({"$ref": "http://localhost:1/schema"}, "localhost"),
        ({"$schema": "http://json-schema.org/draft-03/schema"}, r"\$schema: must be one of"),
        ({"enum": ["x" * 300_000]}, "no longer than 262144 bytes"),
        ({"default": {1, 2}}, "JSON"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_place(schema: dict[str, Any], told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        check_schema(schema)


async def test_a_regular_expression_takes_linear_time() -> None:
    assert await failures({"pattern": "^(a+)+$"}, "a" * 100_000 + "b") == ["body should match '^(a+)+$'"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"name": "\ud83d"}, "surrogates not allowed"),
        ({"name": {1, 2}}, "Unsupported type: 'set'"),
        ({1: 2}, "Dict key must be str"),
        (nested(1000), "Recursion limit reached"),
    ],
    ids=["half a pair", "set", "key", "deep"],
)
async def test_what_is_no_json_or_too_deep_is_against_every_schema(value: Any, told: str) -> None:
    (sentence,) = await failures(PERSON, value)
    assert sentence.startswith("body can't be checked: ")
    assert told in sentence
