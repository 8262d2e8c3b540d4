r"""JSONPath as far as definitions of kinds use it: for columns, selectable fields and the scale subresource.

`.spec.host`, `.status.conditions[?(@.type=="Ready")].status`, `.spec.ports[0].name`, `.spec.rules[*].host`,
`.metadata.labels['app.kubernetes.io/name']`, `.metadata.labels.app\.kubernetes\.io/name`. Negative indices count
from the end. Slices, unions and recursive descent are refused. Pure; a path is parsed once.
Rules: k8s.io/client-go, util/jsonpath.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

#: Characters of a path; the longest in common use have a tenth of it.
PATH_CHARACTERS_MAX = 1024

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_NAME = re.compile(r"\.((?:\\.|[^.\[\]\\])+)")
_QUOTED = re.compile(r"\[(?:'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\")\]")
_INDEX = re.compile(r"\[(-?\d{1,9})\]")
#: Each part ends where the next one begins, so a path is read in linear time; spaces around a literal are its own.
_FILTER = re.compile(
    r"\[\?\(\s*@(?P<path>(?:\.[^.\s=!<>()\[\]]+)+)\s*(?:(?P<operator>==|!=|<=|>=|<|>)(?P<literal>[^()]*))?\)\]"
)
_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"|(-?\d+(?:\.\d+)?)|(true|false)")


@dataclass(frozen=True, slots=True)
class _Filter:
    """Items of a list for which a field compares as asked; without a comparison, those that have the field."""

    path: tuple[str, ...]
    operator: str
    literal: Any

    def selects(self, item: Any) -> bool:
        for name in self.path:
            if not isinstance(item, dict) or name not in item:
                return False
            item = item[name]
        if not self.operator:
            return True
        try:
            return _COMPARISONS[self.operator](item, self.literal)
        except TypeError:
            return False


class _All:
    """Every item of a list, or value of an object."""


_Step = str | int | _Filter | _All


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path; called with a document, it returns the first value that it finds, or None.

    Attributes:
        text: the path as it was written.
        steps: what it is made of.
    """

    text: str
    steps: tuple[_Step, ...]

    def __call__(self, document: Any) -> Any:
        """Return the first value, or None where there is none."""
        return next(self.values(document), None)

    def values(self, document: Any) -> Iterator[Any]:
        """Yield every value that the path leads to."""
        found: Iterator[Any] = iter((document,))
        for step in self.steps:
            found = _follow(found, step)
        return found

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of a path of nothing but fields; None for others."""
        names = tuple(step for step in self.steps if isinstance(step, str))
        return names if len(names) == len(self.steps) else None


def json_path(text: str) -> JsonPath:
    """Parse a path; raises ValueError, which says where it is not understood."""
    if len(text) > PATH_CHARACTERS_MAX:
        raise ValueError(f"is longer than {PATH_CHARACTERS_MAX} characters")
    body = text.removeprefix("{").removesuffix("}").removeprefix("$")
    if body and body[0] not in ".[":
        body = f".{body}"
    steps: list[_Step] = []
    at = 0
    while at < len(body):
        step, at = _step(body, at)
        steps.append(step)
    if not steps:
        raise ValueError("names no field")
    return JsonPath(text, tuple(steps))


def _step(body: str, at: int) -> tuple[_Step, int]:
    for wildcard in ("[*]", ".*", ".[*]"):
        if body.startswith(wildcard, at):
            return _All(), at + len(wildcard)
    if found := _NAME.match(body, at):
        return re.sub(r"\\(.)", r"\1", found[1]), found.end()
    if found := _QUOTED.match(body, at):
        return re.sub(r"\\(.)", r"\1", found[1] if found[1] is not None else found[2]), found.end()
    if found := _INDEX.match(body, at):
        return int(found[1]), found.end()
    if found := _FILTER.match(body, at):
        names = tuple(found["path"].strip(".").split("."))
        return _Filter(names, found["operator"] or "", _literal(found["literal"])), found.end()
    raise ValueError(f"is not understood from {body[at : at + 40]!r} on")


def _literal(text: str | None) -> Any:
    if text is None:
        return None
    text = text.strip()
    found = _LITERAL.fullmatch(text)
    if found is None:
        raise ValueError(f"compares with {text!r}, which is no text, number or boolean")
    single, double, number, boolean = found.groups()
    if number is not None:
        return float(number) if "." in number else int(number)
    if boolean is not None:
        return boolean == "true"
    return single if single is not None else double


def _follow(values: Iterator[Any], step: _Step) -> Iterator[Any]:
    for value in values:
        match step, value:
            case str(), dict() if step in value:
                yield value[step]
            case int(), list() if -len(value) <= step < len(value):
                yield value[step]
            case _Filter(), list():
                yield from (item for item in value if step.selects(item))
            case _All(), list():
                yield from value
            case _All(), dict():
                yield from value.values()
            case _:
                continue
