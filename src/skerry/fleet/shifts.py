"""Which nodes of an application run another one instead, as a rollout lets them in. Pure.

A node is in as its group is: by its labels, or by a number that follows from its name and the rollout, so that the same
nodes stay in as the share grows, and a node that joins meanwhile has its place.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from skerry.api.selectors import LabelSelector

#: Where nodes stand, as shares of 100 count them.
_PLACES = 100
#: Where they stand among those that are let in one after the other: finer, so that few of many come at a time.
ARRIVAL_PLACES = 10_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who is in.

    Attributes:
        selectors: of groups.
        percentage: the share of all nodes.
        everyone: whether all are.
    """

    selectors: tuple[LabelSelector, ...] = ()
    percentage: int = 0
    everyone: bool = False

    def admits(self, salt: str, node: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a node is in."""
        if self.everyone or any(selector.matches(labels) for selector in self.selectors):
            return True
        return self.percentage > 0 and place_of(salt, node) < self.percentage


NOBODY = Admitted()


@dataclass(frozen=True, slots=True)
class Shift:
    """Which nodes of an application run another one instead.

    Attributes:
        application: the one that they would run.
        target: what they run.
        salt: tells the order of nodes of one rollout from that of another.
        whole: who is in, but for the group that was let in last.
        last: that group.
        arrived: how many of it are in already, of `ARRIVAL_PLACES`.
    """

    application: str
    target: str
    salt: str
    whole: Admitted = NOBODY
    last: Admitted = NOBODY
    arrived: int = ARRIVAL_PLACES

    def admits(self, node: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a node is let in."""
        if self.whole.admits(self.salt, node, labels):
            return True
        return self.last.admits(self.salt, node, labels) and self._has_arrived(node)

    def arrives(self, node: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a node comes with the last group."""
        return self.last.admits(self.salt, node, labels) and not self.whole.admits(self.salt, node, labels)

    def _has_arrived(self, node: str) -> bool:
        return self.arrived >= ARRIVAL_PLACES or place_of(f"{self.salt}/arrival", node, ARRIVAL_PLACES) < self.arrived


def place_of(salt: str, node: str, places: int = _PLACES) -> int:
    """Return where a node stands among some places; the same for ever, and even over all nodes."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{node}".encode()).digest()[:8]) % places
