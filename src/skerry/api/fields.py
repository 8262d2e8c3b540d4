"""What can be wrong with a field, in Kubernetes' words.

One `FieldError` is one line of a 422: the path as a user would write it, what was given, what is accepted.
Texts and reasons are those of k8s.io/apimachinery's field errors, which kubectl prints one bullet each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Reason = Literal[
    "FieldValueRequired",
    "FieldValueInvalid",
    "FieldValueNotSupported",
    "FieldValueForbidden",
    "FieldValueDuplicate",
    "FieldValueTooLong",
    "FieldValueTypeInvalid",
    "FieldValueTooMany",
]

#: A given value is quoted in an error up to this many characters.
QUOTED_CHARACTERS_MAX = 200
#: Stands for a given value that is a secret.
REDACTED = "<redacted>"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field.

    Attributes:
        reason: the cause's reason in a Status.
        path: such as `spec.template.code.jsSource.assets.files[0].path`.
        message: what was given and what is accepted, without the path.
    """

    reason: Reason
    path: str
    message: str

    def __str__(self) -> str:
        """Path and message, as a Status joins them."""
        return f"{self.path}: {self.message}"


def quote(value: Any) -> str:
    """Write a given value as JSON, cut at `QUOTED_CHARACTERS_MAX`."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= QUOTED_CHARACTERS_MAX else text[: QUOTED_CHARACTERS_MAX - 1] + "…"


def required(path: str, detail: str = "") -> FieldError:
    """The field must be given."""
    return FieldError("FieldValueRequired", path, f"Required value: {detail}" if detail else "Required value")


def invalid(path: str, value: Any, detail: str) -> FieldError:
    """The value breaks a rule."""
    return FieldError("FieldValueInvalid", path, f"Invalid value: {quote(value)}: {detail}")


def type_invalid(path: str, value: Any, wanted: str) -> FieldError:
    """The value has the wrong JSON type."""
    found = json_type(value)
    return FieldError(
        "FieldValueTypeInvalid",
        path,
        f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"',
    )


def not_supported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is none of a closed list."""
    listed = ", ".join(quote(item) for item in supported)
    return FieldError("FieldValueNotSupported", path, f"Unsupported value: {quote(value)}: supported values: {listed}")


def forbidden(path: str, detail: str) -> FieldError:
    """The field may not be given here."""
    return FieldError("FieldValueForbidden", path, f"Forbidden: {detail}")


def duplicate(path: str, value: Any) -> FieldError:
    """The value stands twice where it must be unique."""
    return FieldError("FieldValueDuplicate", path, f"Duplicate value: {quote(value)}")


def too_long(path: str, limit: int, unit: str = "bytes") -> FieldError:
    """The value is over a size limit."""
    return FieldError("FieldValueTooLong", path, f"Too long: may not be more than {limit} {unit}")


def too_many(path: str, given: int, limit: int) -> FieldError:
    """The list has too many items."""
    return FieldError(
        "FieldValueTooMany", path, f"Too many: {given}: must have at most {limit} item{'s' * (limit != 1)}"
    )


def path_of(location: Sequence[str | int], *, prefix: str = "") -> str:
    """Write a location as Kubernetes does: names joined by dots, indices and odd keys in brackets."""
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif path:
            path += f".{part}"
        else:
            path = part
    return path


def json_type(value: Any) -> str:
    """Return the name of a value's JSON type, as OpenAPI spells it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case _:
            return "object"


def repeated(items: Iterable[Any], path: str, key: str) -> Iterator[FieldError]:
    """Yield an error for each item of a list whose `key` (a path such as `name`) stood in it before."""
    seen = set()
    for index, value in enumerate(items):
        if value in seen:
            yield duplicate(f"{path}[{index}].{key}", value)
        seen.add(value)
