"""Which objects of a list a request asks for: by tags, and by time."""

from collections.abc import Sequence
from typing import Any

from skerry.api.dispatch_v1 import Tag
from skerry.api.errors import BadRequest

_APPLICATION_KEYS = ("application", "app")


def wanted_applications(tags: Sequence[str]) -> frozenset[str]:
    """Read the query's tags, each `Application=value`: the only key that Dispatch selects by.

    Raises:
        BadRequest: one has no such form.
    """
    found = set()
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not equals or "=" in value:
            raise BadRequest(f"error parsing tag '{tag}': invalid format")
        if key.lower() not in _APPLICATION_KEYS:
            raise BadRequest(f"error parsing tag '{tag}': key '{key}' not exist")
        found.add(value)
    return frozenset(found)


def has_application(tags: Sequence[Tag] | None, wanted: frozenset[str]) -> bool:
    """Tell whether tags are among those asked for; any are where none was."""
    mine: Any = {tag.value for tag in tags or () if tag.key.lower() in _APPLICATION_KEYS}
    return not wanted or bool(wanted & mine)


def since_seconds(given: str) -> float:
    """Read `since`, seconds since 1970; anything before where it is not given.

    Raises:
        BadRequest: it is no number.
    """
    try:
        return float(given or "-inf")
    except ValueError:
        raise BadRequest(f"since must be seconds since 1970, and is {given!r}") from None
