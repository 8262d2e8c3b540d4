"""`spec.template.runtime.limits`: how much one function may use. Skerry's addition to Apoxy's API.

Owns the fields, their defaults and the rules for them. Does not own who enforces them (the engine), nor the most that
an installation allows, which is set (`kinds_within`). Defaults and reasons: docs/reference/edge-function.md.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, invalid
from skerry.api.kinds import Kind
from skerry.api.model import Int64, Model
from skerry.api.quantities import Quantity, parse_bytes, write_bytes

MIB = 1024 * 1024
_LIMITED = "edgefunctions.extensions.apoxy.dev"


class EdgeFunctionLimits(Model):
    """How much a function may use. What is not given has a default."""

    memory: Quantity | None = None
    """Memory of one instance, a quantity such as 128Mi. Defaults to 128Mi; at least 32Mi."""
    cpu_time: str | None = None
    """How long one request may compute, waiting aside, such as 500ms. Defaults to 10s."""
    request_body: Quantity | None = None
    """Longest body of a request, a quantity. Defaults to 10Mi; a longer one is answered 413."""
    response_body: Quantity | None = None
    """Longest body of a response, a quantity. Defaults to 32Mi."""
    subrequests: Int64 | None = None
    """How many fetches one request may cause. Defaults to 1000."""
    concurrency: Int64 | None = None
    """How many requests run at once in one engine worker. Defaults to 16; above it they wait, then 429."""


@dataclass(frozen=True, slots=True)
class FunctionLimits:
    """The limits of a function as numbers."""

    memory_bytes: int = 128 * MIB
    cpu_seconds: float = 10.0
    request_body_bytes: int = 10 * MIB
    response_body_bytes: int = 32 * MIB
    subrequests: int = 1_000
    concurrency: int = 16

    def within(self, most: "FunctionLimits") -> "FunctionLimits":
        """Return these limits, none of them above `most`."""
        return FunctionLimits(*(min(getattr(self, f.name), getattr(most, f.name)) for f in fields(self)))


#: Below this, nothing could be done.
LEAST = FunctionLimits(32 * MIB, 0.001, 1, 1, 0, 1)
#: The most that an installation allows where nothing else is set; Cloudflare's limits, where it has such.
MOST = FunctionLimits(512 * MIB, 300.0, 100 * MIB, 100 * MIB, 10_000, 64)


@dataclass(frozen=True, slots=True)
class _Field:
    """One limit: where it is given, where it goes, how it is read and written."""

    given: str
    path: str
    number: str
    read: Callable[[Any], Any]
    write: Callable[[Any], str]


def _write_seconds(seconds: float) -> str:
    return f"{seconds:g}s"


_FIELDS = (
    _Field("memory", "memory", "memory_bytes", parse_bytes, write_bytes),
    _Field("cpu_time", "cpuTime", "cpu_seconds", parse_seconds, _write_seconds),
    _Field("request_body", "requestBody", "request_body_bytes", parse_bytes, write_bytes),
    _Field("response_body", "responseBody", "response_body_bytes", parse_bytes, write_bytes),
    _Field("subrequests", "subrequests", "subrequests", int, str),
    _Field("concurrency", "concurrency", "concurrency", int, str),
)


def limits_of(given: EdgeFunctionLimits | None) -> FunctionLimits:
    """Return valid limits as numbers, defaults filled in."""
    values = {f.number: f.read(value) for f in _FIELDS if (value := getattr(given, f.given, None)) is not None}
    return FunctionLimits(**values)


def validate_limits(given: EdgeFunctionLimits | None, path: str) -> Iterator[FieldError]:
    """Yield every limit that can't be read, or that would leave nothing to do."""
    for field in _FIELDS:
        value = getattr(given, field.given, None)
        if value is None:
            continue
        try:
            number = field.read(value)
        except ValueError as error:
            yield invalid(f"{path}.{field.path}", value, str(error))
            continue
        least = getattr(LEAST, field.number)
        if number < least:
            yield invalid(f"{path}.{field.path}", value, f"must be at least {field.write(least)}")


def over(given: EdgeFunctionLimits | None, most: FunctionLimits, path: str) -> Iterator[FieldError]:
    """Yield every limit that is more than an installation allows; those that can't be read are not ours."""
    for field in _FIELDS:
        value = getattr(given, field.given, None)
        limit = getattr(most, field.number)
        try:
            is_over = value is not None and field.read(value) > limit
        except ValueError:
            continue
        if is_over:
            allowed = f"must be at most {field.write(limit)} here (setting function_{field.number}_max)"
            yield invalid(f"{path}.{field.path}", value, allowed)


def kinds_within(kinds: Iterable[Kind[Any]], most: FunctionLimits) -> tuple[Kind[Any], ...]:
    """Return the kinds, with EdgeFunctions held to the most that an installation allows."""
    return tuple(
        _within(kind, most) if kind.resource == "edgefunctions.extensions.apoxy.dev" else kind for kind in kinds
    )


def _within(kind: Kind[Any], most: FunctionLimits) -> Kind[Any]:
    def validate(function: Any, old: Any) -> Iterator[FieldError]:
        yield from kind.validate(function, old)
        runtime = function.spec.template.runtime
        yield from over(runtime.limits if runtime else None, most, "spec.template.runtime.limits")

    return replace(kind, validate=validate)
