"""Results of one round, for the next: what follows from equal inputs is not worked out again.

For loops that work everything out anew at each change, from values: most of what they need is as it was, and so is
its result. To find that of thousands takes next to no time, because Python compares what tuples and dicts hold by
identity first; so whoever hands out the same objects until they change makes this quick, and whoever does not makes
it slower, but never wrong. Results are handed out as the same objects too, so that the next step is as quick.

Invariant: nothing is held but the inputs and results of the last round.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
I = TypeVar("I")  # noqa: E741 - the type of an item
V = TypeVar("V")

_MISSING = object()


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
        if self._last is None or self._last[0] != inputs:
            self._last = (inputs, make())
        return self._last[1]


class MemoMap(Generic[K, I, V]):
    """The last results of a function of each item of a collection."""

    def __init__(self) -> None:
        self._common: tuple[Any, ...] = ()
        self._items: Mapping[K, I] = {}
        self._results: Mapping[K, V] = {}

    def map(self, items: Mapping[K, I], make: Callable[[I], V], *, common: tuple[Any, ...] = ()) -> Mapping[K, V]:
        """Return the result of each item, by its key and in the same order.

        Args:
            items: the collection; values that nobody changes.
            make: works out the result of an item.
            common: what every result follows from, besides its item.
        """
        if common != self._common:
            self._common, self._items, self._results = common, {}, {}
        before, results = self._items, self._results
        others = {key: item for key, item in items.items() if before.get(key, _MISSING) is not item}
        made = {key: make(item) for key, item in others.items() if key not in before or before[key] != item}
        if made or items.keys() != before.keys():
            self._results = {key: made[key] if key in made else results[key] for key in items}
        self._items = items
        return self._results
