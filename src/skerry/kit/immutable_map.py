"""A mapping that never changes, and whose changed copies share with it what they did not change.

For values that are handed on from one round to the next while little of them changes: to copy one with a change, and
to find what two have in common, takes as long as what differs, not as long as the whole (and a small constant, the
number of leaves). Known as a persistent map; this one is a hash table of one level over plain dicts.

Invariant: a leaf is never written after it is in a map, so that the same leaf in two maps is the same content.
"""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: Entries are spread over so many by their hash. A change copies one leaf, and this many references to leaves.
LEAVES = 256
_EMPTY_LEAF: dict[Any, Any] = {}
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Changes(Generic[K, V]):
    """What makes one map of another.

    Attributes:
        present: entries that are new, or not equal to what was there.
        gone: keys that are not there any more.
    """

    present: Mapping[K, V]
    gone: frozenset[K]

    @property
    def keys(self) -> frozenset[K]:
        """Every key whose entry differs."""
        return self.gone | self.present.keys()


class ImmutableMap(Mapping[K, V]):
    """The mapping; its order is not defined.

    Args:
        entries: what it holds.
    """

    __slots__ = ("_leaves", "_size")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        leaves: list[dict[K, V]] = [_EMPTY_LEAF] * LEAVES
        for key, value in dict(entries).items():
            place = hash(key) % LEAVES
            if leaves[place] is _EMPTY_LEAF:
                leaves[place] = {}
            leaves[place][key] = value
        self._leaves = tuple(leaves)
        self._size = sum(map(len, leaves))

    def with_changes(self, present: Mapping[K, V], gone: Iterable[K] = ()) -> "ImmutableMap[K, V]":
        """Return the map with these entries set, and those of `gone` left out; itself where that changes nothing.

        What is equal to what was there stays the very same object.
        """
        changed: dict[int, dict[K, V]] = {}
        for key, value in present.items():
            place = hash(key) % LEAVES
            before = self._leaves[place].get(key, _MISSING)
            if before is not value and before != value:
                self._leaf_to_write(changed, place)[key] = value
        for key in gone:
            place = hash(key) % LEAVES
            if key in self._leaves[place] and key not in present:
                del self._leaf_to_write(changed, place)[key]
        if not changed:
            return self
        leaves = list(self._leaves)
        for place, leaf in changed.items():
            leaves[place] = leaf or _EMPTY_LEAF
        made: ImmutableMap[K, V] = ImmutableMap.__new__(ImmutableMap)
        made._leaves = tuple(leaves)
        made._size = self._size + sum([len(leaf) - len(self._leaves[place]) for place, leaf in changed.items()])
        return made

    def _leaf_to_write(self, changed: dict[int, dict[K, V]], place: int) -> dict[K, V]:
        if place not in changed:
            changed[place] = self._leaves[place].copy()
        return changed[place]

    def changes_since(self, before: "ImmutableMap[K, V]") -> Changes[K, V]:
        """Return what makes this map of another one."""
        present: dict[K, V] = {}
        gone: set[K] = set()
        for ours, theirs in zip(self._leaves, before.leaves(), strict=True):
            if ours is not theirs:
                others = ((key, value) for key, value in ours.items() if theirs.get(key, _MISSING) is not value)
                present.update((key, value) for key, value in others if key not in theirs or theirs[key] != value)
                gone |= theirs.keys() - ours.keys()
        return Changes(present, frozenset(gone))

    def __getitem__(self, key: K) -> V:
        """Return a value; raises KeyError."""
        return self._leaves[hash(key) % LEAVES][key]

    def get(self, key: K, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self._leaves[hash(key) % LEAVES].get(key, default)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is an entry of a key."""
        return key in self._leaves[hash(key) % LEAVES]

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys."""
        return chain.from_iterable(self._leaves)

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._size

    def values(self) -> ValuesView[V]:
        """Return the values, leaf by leaf: no key is looked up."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """Return the entries, leaf by leaf."""
        return _Items(self)

    def leaves(self) -> tuple[Mapping[K, V], ...]:
        """Return the leaves; nobody may write one."""
        return self._leaves

    def __eq__(self, other: object) -> bool:
        """Tell whether both hold equal entries; leaves that they share are not looked at."""
        if isinstance(other, ImmutableMap):
            return self._leaves == other._leaves
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values may be of any kind

    def __repr__(self) -> str:
        """Show the entries."""
        return f"ImmutableMap({dict(self)!r})"


class _Values(ValuesView[V]):
    _mapping: ImmutableMap[Any, V]

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(leaf.values() for leaf in self._mapping.leaves())


class _Items(ItemsView[K, V]):
    _mapping: ImmutableMap[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return chain.from_iterable(leaf.items() for leaf in self._mapping.leaves())


__all__ = ["LEAVES", "Changes", "ImmutableMap"]
