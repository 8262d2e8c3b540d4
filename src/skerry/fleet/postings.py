"""Inverted indexes between labels and selectors, of one namespace. Pure.

`LabelPostings` finds the nodes that a selector may match, `SelectorPostings` the selectors that may match labels. Both
answer with candidates, and whoever asks tries each: a posting holds one requirement of a selector, not all of them.

Invariant: no match is ever left out. That one requirement is enough follows from all of them having to hold.
"""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from skerry.api.selectors import LabelSelector, Requirement

Label = tuple[str, str | None]
"""A label's key and value; the value None stands for any."""

T = TypeVar("T")
_NONE: frozenset[str] = frozenset()


class LabelPostings:
    """Names of nodes by their labels."""

    def __init__(self) -> None:
        self._by_label: dict[Label, set[str]] = {}
        self._all: set[str] = set()

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        """Take a node that is not held."""
        self._all.add(name)
        for label in _labels(labels):
            self._by_label.setdefault(label, set()).add(name)

    def remove(self, name: str, labels: Mapping[str, str]) -> None:
        """Forget a node, by the labels with which it was added."""
        self._all.discard(name)
        for label in _labels(labels):
            _discard(self._by_label, label, name)

    def candidates(self, selector: LabelSelector) -> Iterable[str]:
        """Return the nodes that a selector may match, by the requirement that leaves the fewest."""
        anchors = [anchor for requirement in selector.requirements if (anchor := _anchor(requirement))]
        if not anchors:
            return self._all
        fewest = min(anchors, key=lambda labels: sum(len(self._by_label.get(label, _NONE)) for label in labels))
        return (name for label in fewest for name in self._by_label.get(label, _NONE))

    def __len__(self) -> int:
        """Return how many nodes are held."""
        return len(self._all)


class SelectorPostings(Generic[T]):
    """Whatever has a selector, by one requirement of that."""

    def __init__(self) -> None:
        self._by_label: dict[Label, set[T]] = {}
        #: Of selectors that ask only for what labels must not be.
        self._unanchored: set[T] = set()

    def add(self, item: T, selector: LabelSelector) -> None:
        """Take an item; one whose selector is empty matches nothing."""
        anchor = _narrowest(selector)
        for label in anchor or ():
            self._by_label.setdefault(label, set()).add(item)
        if anchor is None and selector:
            self._unanchored.add(item)

    def remove(self, item: T, selector: LabelSelector) -> None:
        """Forget an item, by the selector with which it was added."""
        self._unanchored.discard(item)
        for label in _narrowest(selector) or ():
            _discard(self._by_label, label, item)

    def candidates(self, labels: Mapping[str, str]) -> set[T]:
        """Return the items whose selectors may match labels."""
        found = set(self._unanchored)
        for label in _labels(labels):
            found |= self._by_label.get(label, set())
        return found


def _labels(labels: Mapping[str, str]) -> Iterable[Label]:
    for key, value in labels.items():
        yield key, value
        yield key, None


def _anchor(requirement: Requirement) -> list[Label] | None:
    """Return labels of which a node that fulfils a requirement has one; None where it need not have any."""
    match requirement.operator:
        case "in":
            return [(requirement.key, value) for value in requirement.values]
        case "exists" | ">" | "<":
            return [(requirement.key, None)]
        case "notin" | "!":
            return None


def _narrowest(selector: LabelSelector) -> list[Label] | None:
    """Return the anchor of a selector under which it is kept: of fewest labels, and of exact ones before any."""
    anchors = [anchor for requirement in selector.requirements if (anchor := _anchor(requirement))]
    return min(anchors, key=lambda labels: (labels[0][1] is None, len(labels)), default=None)


def _discard(postings: dict[Label, set[T]], label: Label, item: T) -> None:
    held = postings.get(label)
    if held is not None:
        held.discard(item)
        if not held:
            del postings[label]
