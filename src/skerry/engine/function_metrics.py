"""What the workers of a node counted of each function, added up.

A worker that was killed begins at zero again, and its counts must not be taken back: so what is kept here is what was
added between two looks. Owns the sums. Does not own how workers are asked, or what is done with the sums.
"""

from collections.abc import Collection, Mapping
from typing import Any

from skerry.engine.measures import DURATION_BOUNDS_SECONDS

Document = Mapping[str, Any]
#: A number by where it stands in a function's document, such as ("requests", "hello-1", 1).
Counts = dict[tuple[Any, ...], float]


class FunctionSums:
    """Counts of functions over all workers and their lives."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, dict[str, Counts]]] = {}  # by worker: its life, and what it said last
        self._sums: dict[str, Counts] = {}
        self._present: dict[int, dict[str, Document]] = {}

    def add(self, worker: int, life: int, told: Mapping[str, Document]) -> None:
        """Take what a worker says now.

        Args:
            worker: which.
            life: names the process; another one has begun at zero.
            told: by function, as `serving.FunctionServer.by_function` has it.
        """
        known_life, seen = self._seen.get(worker, (life, {}))
        if known_life != life:
            seen = {}
        now = {name: _flat(document.get("counts", {})) for name, document in told.items()}
        for name, counts in now.items():
            sums = self._sums.setdefault(name, {})
            before = seen.get(name, {})
            for place, value in counts.items():
                known = before.get(place, 0)  # more than now where the worker has forgotten the function meanwhile
                sums[place] = sums.get(place, 0) + (value - known if value >= known else value)
        self._seen[worker] = (life, now)
        self._present[worker] = {name: document.get("present", {}) for name, document in told.items()}

    def retain(self, functions: Mapping[str, Collection[str]]) -> None:
        """Forget every function but these, and every revision of them but those."""
        for name in [name for name in self._sums if name not in functions]:
            del self._sums[name]
        for name, sums in self._sums.items():
            for place in [p for p in sums if p[0] == "requests" and p[1] not in functions[name]]:
                del sums[place]

    @property
    def functions(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted(self._sums))

    def total(self, function: str, *place: Any) -> float:
        """Return one sum; 0 where nobody counted."""
        return self._sums.get(function, {}).get(place, 0)

    def parts(self, function: str, name: str) -> dict[tuple[Any, ...], float]:
        """Return the sums beneath a name, such as those of "limits"."""
        return {p[1:]: value for p, value in self._sums.get(function, {}).items() if p[0] == name and len(p) > 1}

    def present(self, function: str, name: str) -> float:
        """Return what the workers have now of something, such as "instances"."""
        return float(sum(told.get(function, {}).get(name, 0) for told in self._present.values()))

    def durations(self, function: str) -> list[tuple[str, float]]:
        """Return the cumulative buckets of a function's durations: upper bounds as Prometheus writes them."""
        buckets, below = [], 0.0
        for index, bound in enumerate((*map(str, DURATION_BOUNDS_SECONDS), "+Inf")):
            below += self.total(function, "durations", index)
            buckets.append((bound, below))
        return buckets


def _flat(document: Any, place: tuple[Any, ...] = ()) -> Counts:
    """Return the numbers of a document by their places."""
    if isinstance(document, Mapping):
        items: Any = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    else:
        return {place: float(document)}
    flat: Counts = {}
    for key, value in items:
        flat |= _flat(value, (*place, key))
    return flat
