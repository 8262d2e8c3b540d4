"""How deep a JSON value may be, and of how many objects and lists: what walks it afterwards costs that, not its bytes.

Every door that reads a body reads it here, before a model, or anything recursive, sees it. An empty object takes three
bytes of a body, and as an item of a typed list some microseconds and a kilobyte: a body of 2 MiB took seconds of the
event loop, and most of a gigabyte.
"""

from typing import Any

import orjson

from skerry.api.errors import BadRequest, RequestEntityTooLarge
from skerry.api.fields import path_of

#: Levels of nesting in one document; no kind needs a tenth of it, and Python's stack carries several times as many.
DEPTH_MAX = 200
#: Objects and lists in one document. The schemas of the largest custom kinds have a third of it; what else is as long
#: is numbers and texts, which are not counted.
CONTAINERS_MAX = 100_000

#: Of what is too long, that are told; a name in a body may have its length.
PATH_CHARACTERS_MAX = 500

_Path = tuple[str | int, ...]


def read_json(raw: bytes) -> Any:
    """Parse a body.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
        BadRequest: it is nested deeper than `DEPTH_MAX` levels.
        RequestEntityTooLarge: it has more than `CONTAINERS_MAX` objects and lists.
    """
    value = orjson.loads(raw)
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:  # fewer can be neither too many nor too deep
        check_shape(value)
    return value


def check_shape(value: Any, depth_max: int = DEPTH_MAX) -> None:
    """Refuse (as `read_json`) a document that is costly to walk, or too deep for recursive code."""
    levels = [[value]]
    count = 1
    for _ in range(depth_max):
        level = [item for each in levels[-1] for item in _members(each) if isinstance(item, dict | list)]
        if not level:
            return
        levels.append(level)
        count += len(level)
        if count > CONTAINERS_MAX:
            raise _too_many(levels)
    raise too_deep(depth_max)


def too_deep(depth_max: int = DEPTH_MAX) -> BadRequest:
    """A document is nested deeper than it may be."""
    return BadRequest(f"the document is nested deeper than {depth_max} levels")


def _members(value: Any) -> Any:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()


def _too_many(levels: list[list[Any]]) -> RequestEntityTooLarge:
    """Name the longest of what is too many: nearly always it is one list."""
    length, depth = max((max(map(len, level)), depth) for depth, level in enumerate(levels))
    path = path_of(_path(levels[: depth + 1], next(each for each in levels[depth] if len(each) == length)))
    path = path[:PATH_CHARACTERS_MAX]
    where = f"{path}: has {length} items" if path else f"the body has {length} members"
    return RequestEntityTooLarge(f"{where}, and a document may have at most {CONTAINERS_MAX} objects and lists in all")


def _path(levels: list[list[Any]], found: Any) -> _Path:
    """Return where an object or list of the last level is, from the first one."""
    path: list[str | int] = []
    for level in reversed(levels[:-1]):
        for parent in level:
            members = parent.items() if isinstance(parent, dict) else enumerate(parent)
            name = next((name for name, each in members if each is found), None)
            if name is not None:
                path.insert(0, name)
                found = parent
                break
    return tuple(path)
