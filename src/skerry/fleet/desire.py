"""What a node is to run, and what it is told of that. Pure.

A version of an application is a revision of the log: the newest among its own and those of all that it mounts. So it
rises with every change that a node has to fetch, and no replica can give the same number to two states.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """One application of a desire.

    Attributes:
        name: of the application.
        version: a revision of the log; 0 where something that it mounts is missing. Such an application can't be
            fetched: a node that has it keeps what it has, and no other node gets it.
    """

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Desire:
    """What a node is to run, by name.

    Attributes:
        apps: applications of users.
        sysapps: the parts of Baetyl itself.
        gateways: names of Gateways, of the node's own namespace.
    """

    apps: tuple[Wanted, ...] = ()
    sysapps: tuple[Wanted, ...] = ()
    gateways: tuple[str, ...] = ()


NOTHING = Desire()


def told(wanted: Iterable[Wanted], reported: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return one part of a desire as a node is told it: names with versions.

    Args:
        wanted: the part.
        reported: what the node has of it: versions by name.
    """
    listed = []
    for each in wanted:
        if each.version:
            listed.append((each.name, str(each.version)))
        elif each.name in reported:
            listed.append((each.name, reported[each.name]))
    return listed


def is_behind(wanted: Iterable[Wanted], reported: Mapping[str, str]) -> bool:
    """Tell whether a node has a newer version of something than is wanted of it.

    Versions never fall, so whoever worked out the desire has not read all of the log yet, or the node made it up.
    """
    return any(each.version and each.version < number(reported.get(each.name, "")) for each in wanted)


def number(version: str) -> int:
    """Read a version; 0 for what is none."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else 0
