"""Label and field selectors: parsed once, matched often. Pure.

The grammar is that of k8s.io/apimachinery (pkg/labels, pkg/fields): `a=b, a==b, a!=b, a in (x,y), a notin (x,y),
a, !a, a>1, a<1`, all requirements of a selector joined by "and". `a!=b` and `notin` also match an object that lacks
the key.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from skerry.api.names import label_key_error, label_value_error

LabelOperator = Literal["in", "notin", "exists", "!", ">", "<"]

#: Characters of one selector; a request line holds no more.
SELECTOR_CHARACTERS_MAX = 16 * 1024


class SelectorError(ValueError):
    """A selector that can't be read; the message says where and what is accepted."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Attributes:
        key: the label's key.
        operator: `in` and `notin` compare with `values`, `exists` and `!` take none, `>` and `<` one integer.
        values: what is compared with.
    """

    key: str
    operator: LabelOperator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels of an object fulfil this."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case ">" | "<":
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not _INTEGER.fullmatch(value):
            return False
        (bound,) = self.values
        return int(value) > int(bound) if self.operator == ">" else int(value) < int(bound)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements on labels, all of which must hold; without any, it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One comparison of one field with one text."""

    path: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Requirements on fields, all of which must hold; without any, it selects everything."""

    requirements: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def matches(self, read: Callable[[str], str]) -> bool:
        """Tell whether an object is selected, whose fields `read` returns by their path."""
        for requirement in self.requirements:  # a loop, as every change is asked of every selection
            if (read(requirement.path) == requirement.value) != requirement.equal:
                return False
        return True

    def value_of(self, path: str) -> str | None:
        """Return the text that a field must equal, or None where it is free."""
        return next((r.value for r in self.requirements if r.path == path and r.equal), None)


EVERYTHING = LabelSelector()
ANY_FIELDS = FieldSelector()

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_TOKEN = re.compile(r"\s*(?:(?P<symbol>==|!=|[=!(),<>])|(?P<word>[^\s=!(),<>]+))")


def parse_label_selector(text: str) -> LabelSelector:
    """Read a label selector; raises SelectorError."""
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise SelectorError(f"a selector may not be longer than {SELECTOR_CHARACTERS_MAX} characters")
    if not text.strip():
        return EVERYTHING
    return LabelSelector(tuple(_Parser(text).requirements()))


def label_selector(
    match_labels: Mapping[str, str] | None, match_expressions: Sequence[tuple[str, str, Collection[str]]] = ()
) -> LabelSelector:
    """Build a selector from the object form that resources carry.

    Args:
        match_labels: keys and the values that they must have.
        match_expressions: (key, operator, values) with the operators In, NotIn, Exists and DoesNotExist.

    Raises:
        SelectorError: an operator is unknown, or its number of values is wrong.
    """
    found = [_checked(key, "in", (value,)) for key, value in (match_labels or {}).items()]
    for key, operator, values in match_expressions:
        if operator not in _OBJECT_OPERATORS:
            raise SelectorError(f'operator "{operator}": supported are {", ".join(_OBJECT_OPERATORS)}')
        found.append(_checked(key, _OBJECT_OPERATORS[operator], values))
    return LabelSelector(tuple(found))


_OBJECT_OPERATORS: dict[str, LabelOperator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class _Parser:
    """Reads `requirement {"," requirement}`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def requirements(self) -> Iterator[Requirement]:
        yield self._requirement()
        while self._peek() is not None:
            self._take(",")
            if self._peek() is None:
                raise self._error("a requirement after ','")
            yield self._requirement()

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take("!")
            return _checked(self._word("a label key after '!'"), "!", ())
        key = self._word("a label key")
        match self._peek():
            case None | ",":
                return _checked(key, "exists", ())
            case "=" | "==" | "!=" as symbol:
                self._take(symbol)
                return _checked(key, "notin" if symbol == "!=" else "in", (self._optional_word(),))
            case "in" | "notin" as operator:
                self._take(operator)
                return _checked(key, "in" if operator == "in" else "notin", self._values())
            case ">" | "<" as comparison:
                self._take(comparison)
                return _checked(key, ">" if comparison == ">" else "<", (self._word("an integer"),))
            case _:
                raise self._error("one of =, ==, !=, in, notin, <, >")

    def _values(self) -> list[str]:
        self._take("(")
        values = [self._optional_word()]
        while self._peek() == ",":
            self._take(",")
            values.append(self._optional_word())
        self._take(")")
        return values

    def _peek(self) -> str | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise self._error(f"'{wanted}'")
        self._next += 1

    def _word(self, wanted: str) -> str:
        word = self._peek()
        if word is None or _is_symbol(word):
            raise self._error(wanted)
        self._next += 1
        return word

    def _optional_word(self) -> str:
        word = self._peek()
        if word is None or _is_symbol(word):
            return ""
        self._next += 1
        return word

    def _error(self, wanted: str) -> SelectorError:
        found = self._peek()
        where = "at its end" if found is None else f"at '{found}'"
        return SelectorError(f"unable to parse the label selector '{self._text}': {where}, expected {wanted}")


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text.rstrip()):
        yield match["symbol"] or match["word"]


def _is_symbol(token: str) -> bool:
    return token[0] in "=!(),<>"


def _checked(key: str, operator: LabelOperator, values: Collection[str]) -> Requirement:
    if wrong := label_key_error(key):
        raise SelectorError(f"label key '{key}': {wrong}")
    for value in values:
        if operator in {">", "<"} and not _INTEGER.fullmatch(value):
            raise SelectorError(f"label '{key}': for '{operator}' the value must be an integer, not '{value}'")
        if wrong := label_value_error(value):
            raise SelectorError(f"label '{key}', value '{value}': {wrong}")
    if operator in {"in", "notin"} and not values:
        raise SelectorError(f"label '{key}': for '{operator}' at least one value must be given")
    if operator in {"exists", "!"} and values:
        raise SelectorError(f"label '{key}': for '{operator}' no values may be given")
    return Requirement(key, operator, frozenset(values))


def parse_field_selector(text: str) -> FieldSelector:
    r"""Read a field selector: `path=value`, `==` or `!=`, joined by commas; `\` escapes `,`, `=` and itself.

    Raises:
        SelectorError: a term has no operator, or an escape is wrong.
    """
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise SelectorError(f"a selector may not be longer than {SELECTOR_CHARACTERS_MAX} characters")
    return FieldSelector(tuple(_field_requirement(term, text) for term in _TERM.findall(text) if term))


_TERM = re.compile(r"(?:\\.|[^,\\]|\\$)+", re.DOTALL)
_FIELD = re.compile(r"(?P<path>(?:\\.|[^\\=!])*)(?P<operator>==|!=|=)(?P<value>(?:\\[\\,=]|[^\\,=])*)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\,=])")


def _field_requirement(term: str, text: str) -> FieldRequirement:
    match = _FIELD.fullmatch(term)
    if not match:
        raise SelectorError(f"invalid field selector '{text}': can't understand '{term}', expected path=value")
    return FieldRequirement(match["path"].strip(), match["operator"] != "!=", _ESCAPE.sub(r"\1", match["value"]))
