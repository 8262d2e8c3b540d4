"""Bounds of what goes into the log, whichever door it comes through."""

from typing import Any

from skerry.api.errors import BadRequest, RequestEntityTooLarge

#: The largest body and the largest stored object. etcd's own bound is 1.5 MiB; Kubernetes names this one.
OBJECT_BYTES_MAX = 3 * 1024 * 1024
#: Levels of nesting in one document; no kind needs a tenth of it, and Python's stack carries several times as many.
DEPTH_MAX = 200


def too_large() -> RequestEntityTooLarge:
    """A body or object is over `OBJECT_BYTES_MAX`."""
    return RequestEntityTooLarge(f"Request entity too large: limit is {OBJECT_BYTES_MAX}")


def too_deep() -> BadRequest:
    """A document is nested deeper than `DEPTH_MAX`."""
    return BadRequest(f"the document is nested deeper than {DEPTH_MAX} levels")


def check_depth(document: Any) -> None:
    """Refuse (BadRequest) a document that recursive code could not walk."""
    level = [document]
    for _ in range(DEPTH_MAX):
        level = [item for value in level for item in _items(value)]
        if not level:
            return
    raise too_deep()


def _items(value: Any) -> list[Any]:
    """Return the objects and lists directly inside of a value."""
    match value:
        case dict():
            inner = list(value.values())
        case list():
            inner = value
        case _:
            return []
    return [item for item in inner if isinstance(item, dict | list)]
