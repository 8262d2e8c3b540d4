"""How a function's filter is exchanged for its next revision, with no request between the two.

A filter and what a route gives it belong together: the route's part was made by the very code that reads it, and is
handed to it as a bare pointer. But the proxy takes the two one after the other, each of its threads at its own time.
So each function has two places in the chain. The next revision goes into the one that no route turns on, and then
routes turn from the one to the other; requests that began before stay with the revision that they began with.

Owns which place is in force, for the life of the proxy. Pure but for that memory.

Invariant: what is in a place that some route may still turn on is not changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.gateway import ir
from skerry.gateway.route_filters import RuleFilter
from skerry.kit.memo import Memo

#: What stands in the other place before there was a second revision.
_NOTHING: ir.StandIn = "deny"


@dataclass(frozen=True, slots=True)
class FilterContent:
    """What a function's filter is.

    Attributes:
        filter: the code, and what it is given everywhere.
        route: what it is given on routes, JSON text of an object, or "".
    """

    filter: ir.Native | ir.Wasm
    route: str = ""

    @property
    def use(self) -> ir.NativeRoute | None:
        """What it is given on routes."""
        return self.filter.on_route(self.route) if isinstance(self.filter, ir.Native) else None


@dataclass(frozen=True, slots=True)
class _Slots:
    """The two places of one function, by index, and which of them is in force."""

    contents: tuple[ir.Native | ir.Wasm | ir.StandIn, ir.Native | ir.Wasm | ir.StandIn]
    current: int

    def turned_to(self, content: ir.Native | ir.Wasm) -> "_Slots":
        """Return the places with this content in force; the other keeps what was in force before."""
        if self.contents[self.current] == content:
            return self
        if self.current == 0:
            return _Slots((self.contents[0], content), 1)
        return _Slots((content, self.contents[1]), 0)


class FilterSlots:
    """The places of every function that the proxy runs itself."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slots] = {}
        self._filters: Memo[tuple[RuleFilter, ...]] = Memo()

    def settle(self, contents: Mapping[str, FilterContent]) -> tuple[RuleFilter, ...]:
        """Give each filter its place.

        Args:
            contents: by the filter's name.
        """
        return self._filters.get((dict(contents),), lambda: self._settled(contents))

    def _settled(self, contents: Mapping[str, FilterContent]) -> tuple[RuleFilter, ...]:
        new = _Slots((_NOTHING, _NOTHING), 1)
        self._slots = {name: self._slots.get(name, new).turned_to(each.filter) for name, each in contents.items()}
        return tuple(_rule_filter(name, self._slots[name], each) for name, each in sorted(contents.items()))

    @property
    def codes(self) -> frozenset[str]:
        """Paths of all code that has a place."""
        contents = (content for slots in self._slots.values() for content in slots.contents)
        return frozenset(content.code for content in contents if not isinstance(content, str))


def _rule_filter(name: str, slots: _Slots, content: FilterContent) -> RuleFilter:
    loader = "wasm" if isinstance(content.filter, ir.Wasm) else content.filter.loader
    names = [f"{name}/{index}" for index in range(len(slots.contents))]
    return RuleFilter(
        name=name,
        places=tuple(ir.PluginUse(each, "deny", loader) for each in names),
        use=ir.FilterUse(names[slots.current], content.use),
        plugins=tuple(ir.Plugin(each, "http", content) for each, content in zip(names, slots.contents, strict=True)),
    )


__all__ = ["FilterContent", "FilterSlots"]
