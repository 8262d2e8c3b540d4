"""The filters that rules name, and where they stand in the chain that all routes of a table share.

Envoy has one order of filters a chain, while each rule has its own. So a chain holds each rule's filters as a
subsequence, in that rule's order, all of them off; a route turns its own on. Where two rules want two filters in
opposite orders, one of them stands in the chain twice.

Pure. Does not own what the filters are, nor which rule names which.

Invariant: a rule's requests pass its filters in the rule's order, and no filter of another rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.gateway import ir


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """A filter that a rule names.

    Attributes:
        name: of what filters, such as `filter_name(function)`.
        places: what stands in the chain for it; each name begins with the filter's.
        use: which of the places the rule turns on, and what it gives it.
        plugins: what those of the places are that the proxy discovers by name.
    """

    name: str
    places: tuple[ir.RouteFilter, ...]
    use: ir.FilterUse
    plugins: tuple[ir.Plugin, ...] = ()

    def instance(self, number: int) -> "RuleFilter":
        """Return the filter as it stands in a chain for the n-th time; the first is the filter itself."""
        if number == 1:
            return self
        name = f"{self.name}#{number}"

        def renamed(old: str) -> str:
            return name + old.removeprefix(self.name)

        return RuleFilter(
            name=name,
            places=tuple(place.renamed(renamed(place.name)) for place in self.places),
            use=replace(self.use, filter=renamed(self.use.filter)),
            plugins=tuple(replace(plugin, name=renamed(plugin.name)) for plugin in self.plugins),
        )


def filter_name(function: EdgeFunction) -> str:
    """Name a function as a filter."""
    return f"edgefunction/{function.name}"


class FilterChain:
    """The filters of all rules of one table, in an order that suits each rule.

    Args:
        rules: the filters of each rule, in its order.
    """

    def __init__(self, rules: Iterable[Sequence[RuleFilter]]) -> None:
        lists = [tuple(filters) for filters in rules if filters]
        known = {each.name: each for filters in lists for each in filters}
        counts: dict[str, int] = {}
        chain = []
        for name in common_supersequence(tuple(each.name for each in filters) for filters in lists):
            counts[name] = counts.get(name, 0) + 1
            chain.append((name, known[name].instance(counts[name])))
        self._chain = tuple(chain)

    @property
    def places(self) -> tuple[ir.RouteFilter, ...]:
        """What stands in the chain."""
        return tuple(place for _, each in self._chain for place in each.places)

    @property
    def plugins(self) -> tuple[ir.Plugin, ...]:
        """What the discovered ones among them are."""
        return tuple(plugin for _, each in self._chain for plugin in each.plugins)

    def uses(self, filters: Sequence[RuleFilter]) -> tuple[ir.FilterUse, ...]:
        """Return what one of the rules turns on."""
        entries = iter(self._chain)
        return tuple(next(found.use for name, found in entries if name == each.name) for each in filters)


def common_supersequence(sequences: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a sequence that each of these is a subsequence of; short, though not always the shortest."""
    common: list[str] = []
    for sequence in sorted(set(sequences)):
        merged: list[str] = []
        for kind, start, end, other_start, other_end in SequenceMatcher(
            None, common, sequence, autojunk=False
        ).get_opcodes():
            merged += common[start:end]
            if kind != "equal":
                merged += sequence[other_start:other_end]
        common = merged
    return common


__all__ = ["FilterChain", "RuleFilter", "common_supersequence", "filter_name"]
