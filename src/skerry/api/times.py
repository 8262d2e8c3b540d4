"""Which fields of a kind are times, and which of them hold none. Pure.

Decoding asks this of what is written, so that who reads it finds a time. Of what is read nothing is asked: an object
that was stored before this was a rule can be read, and be changed in other fields.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from skerry.api.fields import FieldError, invalid, path_of
from skerry.api.marked_fields import ANY, marked
from skerry.api.model import Document, Model, TimeField
from skerry.kit.clock import from_rfc3339

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,30})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_CHARACTERS_MAX = 60
#: Of an object with more wrong times, the others are not told.
_TOLD_MAX = 100
#: Times whose check is at hand: of what is written, most is of now.
_REMEMBERED = 256

#: The fields below a place that are times ({}), or have some below them.
_Tree = dict[str, "_Tree"]
_Place = tuple[str | int, ...]


def time_errors(model: type[Model], document: Document, old: Document | None) -> list[FieldError]:
    """Return what is wrong with the times of an object, the first `_TOLD_MAX` of them.

    Args:
        model: of its kind.
        document: the object; it need not fit the model.
        old: as it is stored; what it has of this stands.
    """
    tree = _tree_of(model)
    if _is_sound(tree, document):
        return []
    stands = set() if old is None else set(_wrong(tree, old, ()))
    wrong = islice((each for each in _wrong(tree, document, ()) if each not in stands), _TOLD_MAX)
    accepted = "must be a time of RFC 3339, such as 2030-01-31T12:00:00Z"
    return [invalid(path_of(place), text, accepted) for place, text in wrong]


@lru_cache(_REMEMBERED)
def _is_time(text: str) -> bool:
    try:
        from_rfc3339(text)
    except ValueError:
        return False
    return _RFC_3339.fullmatch(text) is not None


def _may_stand(value: Any) -> bool:
    """Tell whether a value is a time that readers understand; of what is no text, others say that it may not be."""
    return not isinstance(value, str) or (len(value) <= _CHARACTERS_MAX and _is_time(value))


def _is_sound(tree: _Tree, value: Any) -> bool:
    """Tell whether `_wrong` finds nothing, in a fifth of its time: every write asks this."""
    if ANY in tree:
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return all(_is_sound(tree[ANY], item) for item in items)
    if not isinstance(value, dict):
        return True
    for name, below in tree.items():
        if name in value:
            item = value[name]
            if not (_is_sound(below, item) if below else _may_stand(item)):
                return False
    return True


def _wrong(tree: _Tree, value: Any, place: _Place) -> Iterator[tuple[_Place, str]]:
    if not tree:
        if not _may_stand(value):
            yield place, value
        return
    for name, below in tree.items():
        for step, item in _items(name, value):
            yield from _wrong(below, item, (*place, step))


def _items(name: str, value: Any) -> list[tuple[str | int, Any]]:
    """Return what stands at a step of a path, or at each of a list or an object with free names."""
    match value:
        case dict():
            return list(value.items()) if name == ANY else [(name, value[name])] if name in value else []
        case list():
            return list(enumerate(value)) if name == ANY else []
        case _:
            return []


@cache
def _tree_of(model: type[Model]) -> _Tree:
    tree: _Tree = {}
    for path in marked(model, TimeField()):
        below = tree
        for step in path:
            below = below.setdefault(step, {})
    return tree
