"""The functions of rules: which ones the language brings, and those of Kubernetes' libraries that are added here.

Each is bounded by the size of its arguments. `replace` and `join`, which could multiply it, have a bound of their own.
Source: kubernetes.io, Common Expression Language in Kubernetes (string, list and regular expression libraries).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from skerry.api.structural.patterns import pattern

#: Characters of a text that a rule makes.
TEXT_CHARACTERS_MAX = 1_000_000

#: What the language itself brings.
NATIVE = frozenset((
    "bytes", "contains", "double", "duration", "dyn", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek",
    "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds",
    "hasValue", "int", "matches", "orValue", "size", "startsWith", "string", "timestamp", "type", "uint",
    "value",
))  # fmt: skip


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _index_of(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        return value.find(wanted)
    return value.index(wanted) if wanted in value else -1


def _last_index_of(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        return value.rfind(wanted)
    return len(value) - 1 - value[::-1].index(wanted) if wanted in value else -1


def _find(text: str, expression: str) -> str:
    found: Any = pattern(expression).search(text)
    return found.group(0) if found else ""


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        return list(text)
    return text.split(separator, limit - 1) if limit > 0 else text.split(separator)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    if (len(text) + 1) * (len(new) + 1) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"replace makes a text longer than {TEXT_CHARACTERS_MAX} characters")
    return text.replace(old, new, limit)


def _join(items: list[str], separator: str = "") -> str:
    if sum(map(len, items)) + len(items) * len(separator) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"join makes a text longer than {TEXT_CHARACTERS_MAX} characters")
    return separator.join(items)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"substring: {start} to {end} is out of range")
    return text[start:end]


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise ValueError(f"charAt: {index} is out of range")
    return text[index : index + 1]


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(change(c) if c.isascii() else c for c in text)


#: Functions by their names; called as methods, the object is the first argument.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "charAt": _char_at,
    "find": _find,
    "indexOf": _index_of,
    "isSorted": _is_sorted,
    "join": _join,
    "lastIndexOf": _last_index_of,
    "lowerAscii": _ascii(str.lower),
    "max": max,
    "min": min,
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "sum": sum,
    "trim": str.strip,
    "upperAscii": _ascii(str.upper),
}
