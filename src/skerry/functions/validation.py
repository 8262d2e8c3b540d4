"""Checks input and output of functions against their JSON Schemas.

A schema is read as Swagger 2 reads it, which is draft 4, unless its `$schema` names draft 7 or 2020-12. It is compiled
once. Regular expressions are of the kind that takes linear time, as Go's are, and a `$ref` leads nowhere outside of
its schema; a schema is weighed, and a value that is too large for its weight is not checked: neither input nor schema
can hold up the process or make it connect to anything.

Source: Dispatch's Validator; the sentences are those of the validator that it uses, go-openapi.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol, TypeAlias

import jsonschema_rs
import orjson

from skerry.functions.entities import Schemas
from skerry.functions.errors import FunctionError, InputError, SchemaError
from skerry.functions.messages import Context, Middleware, Runnable
from skerry.functions.schema_weight import Weight, weight_of

#: A schema longer than this, as JSON, is refused.
SCHEMA_BYTES_MAX = 256 << 10
#: Compiled schemas that are kept, the least recently used going first.
COMPILED_SCHEMAS_MAX = 1024
#: How many of the things that are wrong are told.
FAILURES_TOLD_MAX = 100
#: Checks of one value: places in it, times those that its schema makes of one. One takes 35 ns.
CHECKS_MAX = 10_000_000
#: Likewise, counting a place once for each that holds it: the most where all that is wrong is told. A failure takes up
#: to 50 us, with what it is told of.
CHECKS_TOLD_MAX = 20_000
#: What counts as one more place of a long text, in characters.
_PLACE_CHARACTERS = 32

_Compiled: TypeAlias = (
    jsonschema_rs.Draft4Validator | jsonschema_rs.Draft7Validator | jsonschema_rs.Draft202012Validator
)
_DRAFTS: dict[str, type[_Compiled]] = {
    "http://json-schema.org/draft-04/schema": jsonschema_rs.Draft4Validator,
    "http://json-schema.org/schema": jsonschema_rs.Draft4Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}
_DEFAULT_DRAFT = "http://json-schema.org/draft-04/schema"
_FAILURES = "validation failure list:"


class Validator(Protocol):
    """Makes the middleware that checks one execution's input and output."""

    def get_middleware(self, schemas: Schemas) -> Middleware:
        """Give the middleware: bad input raises an InputError, bad output a FunctionError."""
        ...


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no schema, as a function is registered.

    Raises:
        SchemaError: what is wrong, and where in the schema; see also `weight_of`.
    """
    _compiled(_canonical(schema))


class JsonSchemaValidator:
    """The Validator of JSON Schema.

    >>> import asyncio
    >>> async def greet(context, payload):
    ...     return f"Hello, {payload['name']}"
    >>> schema = {"type": "object", "required": ["name"]}
    >>> checked = JsonSchemaValidator().get_middleware(Schemas(schema_in=schema))(greet)
    >>> asyncio.run(checked({}, {"name": "Jon"}))
    'Hello, Jon'
    >>> asyncio.run(checked({}, {}))
    Traceback (most recent call last):
    skerry.functions.errors.InputError: Input invalid against schema: validation failure list:
    .name in body is required
    """

    def get_middleware(self, schemas: Schemas) -> Middleware:
        """Give the middleware that checks input and output against a pair of schemas.

        Raises:
            SchemaError: one of them is no schema.
        """
        check_input = check_against(schemas.schema_in)
        check_output = check_against(schemas.schema_out)

        def validated(runnable: Runnable) -> Runnable:
            async def run(context: Context, payload: Any) -> Any:
                if failures := check_input(payload):
                    raise InputError(f"Input invalid against schema: {failures}")
                output = await runnable(context, payload)
                if failures := check_output(output):
                    raise FunctionError(f"Output invalid against schema: {failures}")
                return output

            return run

        return validated


def check_against(schema: Mapping[str, Any] | None) -> Callable[[Any], str]:
    """Give the function that lists what is wrong with a value, "" if nothing is.

    Raises:
        SchemaError: it is no schema.
    """
    if schema is None:
        return lambda _: ""
    validator, weight = _compiled(_canonical(schema))
    # Without a type, rules for objects say nothing of null; but Dispatch's functions rely on that no input at all
    # lacks what is required.
    null_is_empty = "type" not in schema and "required" in schema

    def check(value: Any) -> str:
        value = {} if value is None and null_is_empty else value
        most = CHECKS_MAX // weight.checks
        if _places(value, most) > most:
            return f"{_FAILURES}\nbody has more than {most} values, as many as a schema of this weight is checked with"
        try:
            if validator.is_valid(value):
                return ""
            return "\n".join((_FAILURES, *_sentences(validator, weight, value)))
        except ValueError as error:  # no JSON, or too deep
            return f"{_FAILURES}\nbody can't be checked: {error}"

    return check


def _canonical(schema: Mapping[str, Any]) -> bytes:
    try:
        text = orjson.dumps(dict(schema), option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"must be a JSON object: {error}") from error
    if len(text) > SCHEMA_BYTES_MAX:
        raise SchemaError(f"must be no longer than {SCHEMA_BYTES_MAX} bytes, and has {len(text)}")
    return text


@lru_cache(COMPILED_SCHEMAS_MAX)
def _compiled(text: bytes) -> tuple[_Compiled, Weight]:
    schema = orjson.loads(text)
    name = str(schema.get("$schema", _DEFAULT_DRAFT)).removesuffix("#")
    draft = _DRAFTS.get(name)
    if draft is None:
        raise SchemaError(f"$schema: must be one of {', '.join(sorted(_DRAFTS))}, and is {name}")
    try:
        made = draft(schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions(), offline=True)
        return made, weight_of(schema)
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(f"{_place(error) or 'schema'}: {error.message}") from error
    except ValueError as error:
        raise SchemaError(str(error)) from error


def _places(value: Any, most: int) -> int:
    """Return how many values a value has, itself and parts of long texts among them; beyond `most`, not all."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        count += 1
        match waiting.pop():
            case dict() as found:
                waiting += found.values()
            case list() as found:
                waiting += found
            case str() as found:
                count += len(found) // _PLACE_CHARACTERS
    return count


def _held_places(value: Any, most: int) -> int:
    """Return as `_places`, each counted once for itself and once for each value that holds it."""
    count, waiting = 0, [(value, 1)]
    while waiting and count <= most:
        found, level = waiting.pop()
        count += level
        match found:
            case dict():
                waiting += [(each, level + 1) for each in found.values()]
            case list():
                waiting += [(each, level + 1) for each in found]
            case str():
                count += level * (len(found) // _PLACE_CHARACTERS)
    return count


def _failures(validator: _Compiled, weight: Weight, value: Any) -> Iterator[jsonschema_rs.ValidationError | None]:
    """Yield what is wrong; None for that something is, besides what was told.

    The library makes all failures before it gives the first, each with a copy of what failed, and those of each
    alternative with it; so they are asked for only where they can't be too many.
    """
    most = CHECKS_TOLD_MAX // weight.checks
    if _held_places(value, most) <= most:
        yield from validator.iter_errors(value)
        return
    if not weight.alternatives:
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as failure:
            yield failure
    yield None


def _sentences(validator: _Compiled, weight: Weight, value: Any) -> Iterator[str]:
    told = islice(_failures(validator, weight, value), FAILURES_TOLD_MAX + 1)
    for count, failure in enumerate(told):
        if count == FAILURES_TOLD_MAX:
            yield "and more"
            return
        if failure is None:
            yield "body is too large for all that is wrong to be told"
            return
        yield from _sentence(failure)


def _place(failure: jsonschema_rs.ValidationError) -> str:
    return ".".join(str(step) for step in failure.instance_path)


_RULES: dict[str, str] = {
    "maxLength": "should be at most {value} chars long",
    "minLength": "should be at least {value} chars long",
    "pattern": "should match '{value}'",
    "enum": "should be one of {value}",
    "multipleOf": "should be a multiple of {value}",
    "maximum": "should be less than or equal to {value}",
    "exclusiveMaximum": "should be less than {value}",
    "minimum": "should be greater than or equal to {value}",
    "exclusiveMinimum": "should be greater than {value}",
    "uniqueItems": "shouldn't contain duplicates",
    "maxItems": "should have at most {value} items",
    "minItems": "should have at least {value} items",
    "maxProperties": "should have at most {value} properties",
    "minProperties": "should have at least {value} properties",
}


def _sentence(failure: jsonschema_rs.ValidationError) -> Iterator[str]:
    place, rule, value = _place(failure), failure.kind.name, failure.kind.value
    where = f"{place} in body" if place else "body"
    if rule == "required":
        yield f"{place}.{value} in body is required"
    elif rule == "additionalProperties":
        for name in value:
            yield f"{place}.{name} in body is a forbidden property"
    elif rule == "type":
        yield f'{where} must be of type {", ".join(value)}: "{_type_name(failure.instance)}"'
    elif rule == "format":
        yield f'{where} must be of type {value}: "{failure.instance}"'
    elif rule in _RULES:
        yield f"{where} {_RULES[rule].format(value=value)}"
    else:
        yield f"{where}: {failure.message}"


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "number"
