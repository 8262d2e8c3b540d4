"""`x-kubernetes-validations`: rules in the Common Expression Language, checked with their definition, run on writes.

The language is a library's (in Rust, linear regular expressions); ours are the functions that Kubernetes adds and it
lacks, what `self` looks like (fields escaped, times and durations typed), and the bounds. A rule that uses what is not
there is refused with its definition, never passed over. Nothing but reading objects can be done in a rule.

Bound: a rule's steps are at most the longest list to the power of its nested loops; above `STEPS_MAX`, or where all
rules of an object come to more than `OBJECT_STEPS_MAX`, it is refused, as Kubernetes does by its cost budget.
Source: k8s.io/apiserver, pkg/cel; k8s.io/apiextensions-apiserver, pkg/apiserver/schema/cel.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from skerry.api.fields import FieldError, Reason, forbidden, invalid, required
from skerry.api.model import Document
from skerry.api.structural.functions import FUNCTIONS, NATIVE
from skerry.api.structural.schema import MISSING, Node, Rule
from skerry.api.structural.validation import ERRORS_MAX

if TYPE_CHECKING:
    from types import ModuleType

    from cel import Program

RULE_CHARACTERS_MAX = 4096
RULES_MAX = 100
#: Loops inside of loops in one rule, and steps of one evaluation (about a microsecond each).
LOOPS_NESTED_MAX = 3
STEPS_MAX = 500_000
#: Steps of all evaluations of one object, each of which takes a few more to begin, and one for each value that it sees.
OBJECT_STEPS_MAX = 1_000_000
_BEGINNING_STEPS = 4
#: Programs kept compiled; others are compiled again, at some 100 µs each.
PROGRAMS_MAX = 4096

#: Reasons that a rule may give, as in Kubernetes.
_REASONS: dict[str, Reason] = {
    "": "FieldValueInvalid",
    "FieldValueInvalid": "FieldValueInvalid",
    "FieldValueForbidden": "FieldValueForbidden",
    "FieldValueRequired": "FieldValueRequired",
    "FieldValueDuplicate": "FieldValueDuplicate",
}
_WORDS = {
    "FieldValueInvalid": "Invalid value: ",
    "FieldValueForbidden": "Forbidden: ",
    "FieldValueRequired": "Required value: ",
    "FieldValueDuplicate": "Duplicate value: ",
}
#: Namespaces of functions that are not here; the library would read them as variables.
_LIBRARIES = {"sets", "math", "lists", "cel", "base64", "strings", "format", "ip", "cidr"}
_KNOWN = NATIVE.union(FUNCTIONS)
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_TEXT = re.compile(r"[rRbB]*(\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')")
_RESERVED = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
))  # fmt: skip
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


@cache
def _cel() -> "ModuleType":
    import cel  # here, for it takes half a second, which only those pay who use rules

    return cel


@dataclass(frozen=True, slots=True)
class _Expression:
    """A compiled expression, and what it asks for: handing in more costs more than running it."""

    program: "Program"
    variables: frozenset[str]
    functions: Mapping[str, Callable[..., Any]]

    def run(self, variables: Mapping[str, Any]) -> Any:
        """Return the value; raises whatever the expression stumbles over."""
        return self.program.execute(_cel().Context(dict(variables), dict(self.functions)))


@lru_cache(maxsize=PROGRAMS_MAX)
def _compiled(expression: str) -> _Expression:
    """Compile an expression; raises ValueError."""
    program = _cel().compile(expression)
    names = program.references()
    asked = {name: FUNCTIONS[name] for name in names["functions"] if name in FUNCTIONS}
    return _Expression(program, frozenset(names["variables"]), asked)


def rule_errors(rules: Sequence[Document], path: str) -> Iterator[FieldError]:
    """Yield what is wrong with the rules of one level of a schema."""
    if len(rules) > RULES_MAX:
        yield invalid(path, len(rules), f"must have at most {RULES_MAX} rules")
    for index, rule in enumerate(rules[:RULES_MAX]):
        at = f"{path}[{index}]"
        if not rule.get("rule", "").strip():
            yield required(f"{at}.rule", "rule is not specified")
            continue
        for name in ("rule", "messageExpression"):
            if rule.get(name) and (wrong := _compile_error(rule[name])):
                yield invalid(f"{at}.{name}", rule[name], f"compilation failed: {wrong}")
        if rule.get("reason", "") not in _REASONS:
            yield invalid(f"{at}.reason", rule["reason"], f"must be one of {', '.join(filter(None, _REASONS))}")


def _compile_error(expression: str) -> str:
    """Return why an expression can't be run; "" where it can."""
    if len(expression) > RULE_CHARACTERS_MAX:
        return f"the rule is longer than {RULE_CHARACTERS_MAX} characters"
    if _loops_nested(expression) > LOOPS_NESTED_MAX:
        return f"loops are nested deeper than {LOOPS_NESTED_MAX} levels"
    try:
        names = _compiled(expression).program.references()
    except ValueError as error:
        return str(error).partition("\n")[0]
    missing = [name for name in names["functions"] if name[0].isalpha() and name not in _KNOWN]
    missing += _LIBRARIES.intersection(names["variables"])
    if missing:
        return f"not supported here: {', '.join(sorted(missing))}; supported are {', '.join(sorted(_KNOWN))}"
    return "" if {"self", "oldSelf"}.intersection(names["variables"]) else "the rule looks at neither self nor oldSelf"


def _loops_nested(expression: str) -> int:
    """Return how deep the loops of an expression are nested."""
    plain = _TEXT.sub("''", expression)
    opening = {found.end() - 1 for found in _LOOP.finditer(plain)}
    stack: list[bool] = []
    deepest = 0
    for at, character in enumerate(plain):
        if character == "(":
            stack.append(at in opening)
            deepest = max(deepest, sum(stack))
        elif character == ")" and stack:
            stack.pop()
    return deepest


class _TooCostlyError(Exception):
    """All rules of an object take too many steps; the argument is where they ran out."""


@dataclass(slots=True)
class _Steps:
    """What is left for the rules of one object."""

    left: int = OBJECT_STEPS_MAX

    def take(self, number: int, path: str) -> None:
        self.left -= number
        if self.left < 0:
            raise _TooCostlyError(path)


def expression_errors(node: Node, value: Any, old: Any = MISSING) -> Iterator[FieldError]:
    """Yield the rules that an object breaks, at most `ERRORS_MAX`; `old` is the stored one, on updates."""
    if not node.has_rules:
        return
    try:
        yield from islice(_errors(node, (value, old), "", _Steps()), ERRORS_MAX)
    except _TooCostlyError as error:
        told = f"the rules of its schema cost too much for an object of this size (limit {OBJECT_STEPS_MAX} steps)"
        yield forbidden(error.args[0], told)


def _errors(node: Node, states: tuple[Any, Any], path: str, steps: _Steps) -> Iterator[FieldError]:
    """Yield the broken rules of a value and its stored state, and of what is in it."""
    value, old = states
    if node.rules:
        longest, count = _size(value)
        for rule in node.rules:
            shown = longest ** max(1, _loops_nested(rule.expression))
            steps.take(min(shown, STEPS_MAX) + count + _BEGINNING_STEPS, path)
            yield from _run(rule, node, states, path) if shown <= STEPS_MAX else [_costly(rule, shown, value, path)]
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            inner = node.properties.get(name, node.values)
            if inner is not None and inner.has_rules:
                below = f"{path}.{name}" if path else name
                yield from _errors(inner, (item, before.get(name, MISSING)), below, steps)
    elif isinstance(value, list) and node.items is not None and node.items.has_rules:
        keys = node.map_keys if node.list_type == "map" else ()
        stored = {_key(item, keys): item for item in old} if keys and isinstance(old, list) else {}
        for index, item in enumerate(value):
            yield from _errors(node.items, (item, stored.get(_key(item, keys), MISSING)), f"{path}[{index}]", steps)


def _costly(rule: Rule, steps: int, value: Any, path: str) -> FieldError:
    told = f"rule costs too much for an object of this size ({steps} steps, limit {STEPS_MAX}): {rule.expression}"
    return invalid(path, _kind_of(value), told)


def _key(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(str(item.get(key)) for key in keys) if isinstance(item, dict) else ()


def _run(rule: Rule, node: Node, states: tuple[Any, Any], path: str) -> Iterator[FieldError]:
    """Evaluate one rule on a value and its stored state."""
    value, old = states
    expression = _compiled(rule.expression)
    about_change = "oldSelf" in expression.variables
    if about_change and old is MISSING and not rule.optional_old_self:
        return
    variables = {"self": _typed(node, value)}
    if about_change:
        before = MISSING if old is MISSING else _typed(node, old)
        variables["oldSelf"] = _optional(before) if rule.optional_old_self else before
    try:
        holds = expression.run(variables)
    except Exception as error:  # noqa: BLE001 - whatever a rule stumbles over refuses the object, and is told
        yield invalid(path, _kind_of(value), f"rule evaluation error: {error}: {rule.expression}")
        return
    if holds is not True:
        yield _broken(rule, variables, value, path)


def _optional(value: Any) -> Any:
    return _cel().OptionalValue.none() if value is MISSING else _cel().OptionalValue.of(value)


def _broken(rule: Rule, variables: dict[str, Any], value: Any, path: str) -> FieldError:
    message = rule.message.strip()
    if rule.message_expression:
        try:
            told = _compiled(rule.message_expression).run(variables)
            message = told if isinstance(told, str) and told.strip() else message
        except Exception as error:  # noqa: BLE001 - the message alone is lost; the plain one and the cause are told
            message = message or f"{rule.expression} ({error})"
    reason = _REASONS[rule.reason]
    quoted = _kind_of(value) if reason in {"FieldValueInvalid", "FieldValueDuplicate"} else ""
    words = f'{_WORDS[reason]}"{quoted}": ' if quoted else _WORDS[reason]
    at = f"{path}{rule.field_path}" if path else rule.field_path.removeprefix(".")
    return FieldError(reason, at, f"{words}{message or f'failed rule: {rule.expression}'}")


def _kind_of(value: Any) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return str(value)[:200]


def _size(value: Any) -> tuple[int, int]:
    """Return the length of the longest list or object in a value, at least 1, and how many values are in it."""
    longest, count, level = 1, 0, [value]
    while level:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict | list):
                longest = max(longest, len(one))
                count += len(one)
                inner += one.values() if isinstance(one, dict) else one
        level = inner
    return longest, count


def _typed(node: Node, value: Any) -> Any:
    """Return a value as rules see it."""
    if isinstance(value, dict):
        if node.values is not None:
            return {name: _typed(node.values, item) for name, item in value.items()}
        return {
            (_escaped(name) if name in node.properties else name): _typed(node.properties.get(name, _ANYTHING), item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_typed(node.items or _ANYTHING, item) for item in value]
    return _scalar(node, value)


_ANYTHING = Node()


def _scalar(node: Node, value: Any) -> Any:
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if node.type == "integer" and isinstance(value, float):
        return int(value)
    if isinstance(value, str) and (read := _READ.get(node.limits.get("format", ""))):
        try:
            return read(value)
        except ValueError:
            return value
    return value


def _duration(text: str) -> dt.timedelta:
    unit = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    seconds = sum(float(number) * unit[name] for number, name in parts)
    return dt.timedelta(seconds=-seconds if text.startswith("-") else seconds)


def _day(text: str) -> dt.datetime:
    return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)


_READ: dict[str, Callable[[str], Any]] = {
    "date-time": dt.datetime.fromisoformat,
    "date": _day,
    "duration": _duration,
}


def _escaped(name: str) -> str:
    """Return a field's name as an identifier of the language (k8s.io/apiserver, cel.Escape)."""
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub("__|[./-]", lambda found: _ESCAPES[found[0]], name)
