"""Which nodes of an application run another one instead, as a rollout lets them in. Pure.

A node is in as its group is: by its labels, or by a number that follows from its name and the rollout, so that the same
nodes stay in as the share grows, and a node that joins meanwhile has its place.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from skerry.api.selectors import LabelSelector

#: Where nodes stand, as shares of 100 count them.
_PLACES = 100


@dataclass(frozen=True, slots=True)
class Shift:
    """Which nodes of an application run another one instead.

    Attributes:
        application: the one that they would run.
        target: what they run.
        salt: tells the order of nodes of one rollout from that of another.
        selectors: of the groups that are in.
        percentage: the share that is in.
        everyone: whether all nodes are in.
    """

    application: str
    target: str
    salt: str
    selectors: tuple[LabelSelector, ...] = field(default=())
    percentage: int = 0
    everyone: bool = False

    def admits(self, node: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a node is let in."""
        if self.everyone or any(selector.matches(labels) for selector in self.selectors):
            return True
        return self.percentage > 0 and place_of(self.salt, node) < self.percentage


def place_of(salt: str, node: str) -> int:
    """Return where a node stands among `_PLACES`; the same for ever, and even over all nodes."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{node}".encode()).digest()[:8]) % _PLACES
