"""Results of one round, for the next: what follows from equal inputs is not worked out again.

For loops that work everything out anew at each change, from values: most of what they need is as it was, and so is
its result. Collections are `ImmutableMap`s, which tell what changed without a look at the rest; single values are
compared, and Python compares what tuples and dicts hold by identity first. So whoever hands out the same objects until
they change makes this quick, and whoever does not makes it slower, but never wrong. Results are handed out as the same
objects too, so that the next step is as quick.

Invariant: nothing is held but the inputs and results of the last round.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from skerry.kit.immutable_map import ImmutableMap

K = TypeVar("K")
I = TypeVar("I")  # noqa: E741 - the type of an item
L = TypeVar("L")
V = TypeVar("V")


class Memo(Generic[V]):
    """The last result of one function."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Any, ...], V] | None = None

    def get(self, inputs: tuple[Any, ...], make: Callable[[], V]) -> V:
        """Return the last result if its inputs were equal to these, else what `make` returns.

        Args:
            inputs: everything that the result follows from; values that nobody changes.
            make: works it out.
        """
        result = make() if self._last is None or self._last[0] != inputs else self._last[1]
        # Of equal inputs the newest are kept: it is those that the next round is likely to bring again.
        self._last = (inputs, result)
        return result


class MemoMap(Generic[K, I, V]):
    """The last results of a function of each item of a collection; a round takes as long as what changed."""

    def __init__(self) -> None:
        self._common: tuple[Any, ...] = ()
        self._items: ImmutableMap[K, I] = ImmutableMap()
        self._results: ImmutableMap[K, V] = ImmutableMap()

    def map(
        self, items: ImmutableMap[K, I], make: Callable[[I], V], *, common: tuple[Any, ...] = ()
    ) -> ImmutableMap[K, V]:
        """Return the result of each item, by its key; one that is equal to the one before is the very same object.

        Args:
            items: the collection; values that nobody changes.
            make: works out the result of an item.
            common: what every result follows from, besides its item.
        """
        if common != self._common:
            self._common, self._items = common, ImmutableMap()
        changes = items.changes_since(self._items)
        made = {key: make(item) for key, item in changes.present.items()}
        gone = changes.gone if self._items else self._results.keys() - items.keys()
        self._results = self._results.with_changes(made, gone)
        self._items = items
        return self._results


class MemoEntries(Generic[K, I, L, V]):
    """The last results of a function that makes entries of each item of a collection, under keys of their own."""

    def __init__(self) -> None:
        self._items: ImmutableMap[K, I] = ImmutableMap()
        self._results: ImmutableMap[L, V] = ImmutableMap()

    def map(self, items: ImmutableMap[K, I], make: Callable[[I], Mapping[L, V]]) -> ImmutableMap[L, V]:
        """Return the entries of all items; no two items have an entry of the same key.

        Args:
            items: the collection; values that nobody changes.
            make: returns the entries of an item; always the same function.
        """
        changes = items.changes_since(self._items)
        before = (self._items[key] for key in changes.keys if key in self._items)
        gone = {key for item in before for key in make(item)}
        made = {key: value for item in changes.present.values() for key, value in make(item).items()}
        self._results = self._results.with_changes(made, gone)
        self._items = items
        return self._results


class MemoUnion(Generic[K, V]):
    """The entries of several collections as one."""

    def __init__(self) -> None:
        self._parts: tuple[ImmutableMap[K, V], ...] = ()
        self._result: ImmutableMap[K, V] = ImmutableMap()

    def of(self, *parts: ImmutableMap[K, V]) -> ImmutableMap[K, V]:
        """Return the entries of all parts, always as many, of which no two have an entry of the same key."""
        before = self._parts or tuple(ImmutableMap() for _ in parts)
        changes = [part.changes_since(old) for part, old in zip(parts, before, strict=True)]
        present = {key: value for each in changes for key, value in each.present.items()}
        self._result = self._result.with_changes(present, {key for each in changes for key in each.gone})
        self._parts = parts
        return self._result
