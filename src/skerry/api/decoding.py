"""From what a client sent to a complete, checked object: decode, prune, default, validate.

Owns the translation of pydantic's errors into Kubernetes' field errors. Does not own what a rule is: that stands
in the models, in each kind's `validate`, and in the schemas of custom kinds (`structural`).

Invariant: every structural error of an object is reported at once, and its name errors with them; the kind's own
rules need a sound structure, so they follow as the second and last round.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic

from pydantic import ValidationError

from skerry.api.errors import Invalid
from skerry.api.fields import (
    REDACTED,
    FieldError,
    forbidden,
    invalid,
    not_supported,
    path_of,
    required,
    too_long,
    too_many,
    type_invalid,
)
from skerry.api.kinds import Kind
from skerry.api.model import Document, R, from_document
from skerry.api.secret_fields import may_show
from skerry.api.structural.expressions import expression_errors
from skerry.api.structural.pruning import complete as complete_by_schema
from skerry.api.structural.pruning import prune
from skerry.api.structural.schema import MISSING, Schema
from skerry.api.structural.validation import validate
from skerry.api.times import time_errors

#: Problems of one object that are looked at one by one.
PROBLEMS_MAX = 10_000
#: Of an object that has more: the members of each list and object of which they are told, fewer where it is deep.
_BEGINNING_ITEMS = (50, 5, 1)

_OF_RESOURCES = frozenset({"apiVersion", "kind", "metadata"})
#: What pydantic calls a value of the wrong type, and the type that JSON has for what was wanted.
JSON_TYPES = {
    "string_type": "string",
    "int_type": "integer",
    "float_type": "number",
    "bool_type": "boolean",
    "list_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "int_from_float": "integer",
    "int_parsing": "integer",
    "bool_parsing": "boolean",
}


@dataclass(frozen=True, slots=True)
class Decoded(Generic[R]):
    """A structurally sound object.

    Attributes:
        object: the model, with its fields' defaults; not yet defaulted or validated by its kind.
        unknown: paths of fields that the kind does not have; they were dropped.
    """

    object: R
    unknown: tuple[str, ...]


def decode(kind: Kind[R], document: Document, old: Document | None = None) -> Decoded[R]:
    """Read a document as an object of `kind`.

    Args:
        kind: the kind.
        document: what a client sent, or made of a stored object.
        old: the stored object, on updates: what of it did not change is not held against a schema that did.

    Raises:
        Invalid: with every type error and broken field rule.
    """
    if kind.schema is not None:
        return _decode_by_schema(kind, kind.schema, document, old)
    given = without_nulls(document)
    for part, name in kind.verbatim:
        if isinstance(whole := document.get(part), dict) and whole.get(name) is not None:
            given[part][name] = whole[name]
    return _decode_by_model(kind, given, old)


def _decode_by_schema(kind: Kind[R], schema: Schema, document: Document, old: Document | None) -> Decoded[R]:
    content = {name: deepcopy(item) for name, item in document.items() if name not in _OF_RESOURCES}
    content = {name: item for name, item in content.items() if item is not None}
    unknown = prune(schema.root, content)
    if unknown and old is not None:
        # What a stored object has of a schema before is dropped in silence: the client may never have seen it.
        before = set(prune(schema.root, deepcopy(old)))
        unknown = [path for path in unknown if path not in before]
    complete_by_schema(schema.root, content)
    resource = {name: without_nulls(item) for name, item in document.items() if name in _OF_RESOURCES}
    errors: list[FieldError] = []
    try:
        read = _decode_by_model(kind, resource, old)
    except Invalid as error:
        errors = [FieldError(c["reason"], c["field"], c["message"]) for c in error.details["causes"]]
    whole = resource | content
    errors += validate(schema.root, whole, MISSING if old is None else old)
    if not errors:
        errors += expression_errors(schema.root, whole, MISSING if old is None else old)
    if errors:
        raise Invalid.of(kind.kind, kind.group, _name_of(document), errors)
    return Decoded(from_document(kind.model, whole), (*read.unknown, *unknown))


def _decode_by_model(kind: Kind[R], given: Document, old: Document | None) -> Decoded[R]:
    problems: list[Any] = []
    read = None
    try:
        read = from_document(kind.model, given)
    except ValidationError as error:
        if error.error_count() > PROBLEMS_MAX:
            raise _too_many_problems(kind, given, error.error_count()) from error
        problems = list(error.errors(include_url=False, include_context=True))
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    wrong = [_field_error(kind, problem) for problem in problems if problem["type"] != "extra_forbidden"]
    wrong += time_errors(kind.model, given, old)
    if wrong:
        raise Invalid.of(kind.kind, kind.group, _name_of(given), wrong)
    for location in unknown:
        _remove(given, location)
    return Decoded(read or from_document(kind.model, given), tuple(path_of(location) for location in unknown))


def _too_many_problems(kind: Kind[Any], given: Document, count: int) -> Invalid:
    """Return the error of an object with very many problems: those of its beginning, and their number.

    Each problem that is looked at takes some microseconds and a kilobyte, and a body has room for millions.
    """
    errors = [forbidden("", f"{count} fields are wrong or not known: {PROBLEMS_MAX} are looked at")]
    for items in _BEGINNING_ITEMS:
        try:
            from_document(kind.model, _beginning(given, items))
        except ValidationError as error:
            if error.error_count() <= PROBLEMS_MAX:
                problems = error.errors(include_url=False, include_context=True)
                errors += [_field_error(kind, problem) for problem in problems]
                break
    return Invalid.of(kind.kind, kind.group, _name_of(given), errors)


def _beginning(value: Any, items: int) -> Any:
    match value:
        case dict():
            return {name: _beginning(item, items) for name, item in islice(value.items(), items)}
        case list():
            return [_beginning(item, items) for item in value[:items]]
        case _:
            return value


def complete(kind: Kind[R], obj: R, old: R | None, more: Iterable[FieldError] = ()) -> None:
    """Default an object in place and check every rule of its kind.

    Args:
        kind: the object's kind.
        obj: the decoded object; completed in place.
        old: the stored object, on updates.
        more: errors that the caller has found already (of metadata), reported together with the kind's own.

    Raises:
        Invalid: with every broken rule.
    """
    if old is not None:
        kind.keep_withheld(obj, old)
    kind.default(obj)
    errors = [*more, *islice(kind.validate(obj, old), PROBLEMS_MAX)]
    if errors:
        raise Invalid.of(kind.kind, kind.group, obj.name, errors)


def without_nulls(value: Any) -> Any:
    """Copy a JSON value without the null fields of its objects: in Kubernetes' API null means absent."""
    match value:
        case dict():
            return {key: without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [without_nulls(item) for item in value]
        case _:
            return value


def _name_of(document: Document) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _remove(document: Any, location: Sequence[str | int]) -> None:
    for step in location[:-1]:
        document = document[step]
    del document[location[-1]]


def _field_error(kind: Kind[Any], problem: Any) -> FieldError:
    """Translate one error of pydantic, without the value where that is a secret."""
    if problem["type"] in {"missing", *JSON_TYPES} or may_show(kind, problem["loc"]):
        return _translated(problem)
    return invalid(path_of(problem["loc"]), REDACTED, "is not valid")


def _translated(problem: Any) -> FieldError:
    """Translate one error; the table of its types is at pydantic's "Validation Errors" page."""
    path, value, context = path_of(problem["loc"]), problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            return required(path)
        case kind if kind in JSON_TYPES:
            return type_invalid(path, value, JSON_TYPES[kind])
        case "literal_error" | "enum":
            return not_supported(path, value, _expected(context["expected"]))
        case "greater_than_equal":
            return invalid(path, value, f"should be greater than or equal to {context['ge']}")
        case "less_than_equal":
            return invalid(path, value, f"should be less than or equal to {context['le']}")
        case "string_pattern_mismatch":
            return invalid(path, value, f"should match '{context['pattern']}'")
        case "string_too_long":
            return too_long(path, context["max_length"], "characters")
        case "too_long":
            return too_many(path, len(value), context["max_length"])  # pydantic does not count those of a mapping
        case "value_error":
            return invalid(path, value, str(context["error"]))
        case _:
            return invalid(path, value, problem["msg"][:1].lower() + problem["msg"][1:])


def _expected(text: str) -> list[str]:
    """Read pydantic's `'a', 'b' or 'c'`."""
    return [part.strip().strip("'") for part in text.replace(" or ", ", ").split(",")]
