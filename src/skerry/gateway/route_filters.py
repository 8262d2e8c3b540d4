"""The filters that rules and their backends name, and where they stand in the chain that all routes of a table share.

Envoy has one order of filters a chain, while each rule has its own. So a chain holds each rule's filters as a
subsequence, in that rule's order, all of them off; a route turns its own on. Where two rules want two filters in
opposite orders, one of them stands in the chain twice.

Functions that the engine runs are no filters of the proxy's: neighbours are shown a request together, in one place.
Every chain has that place, so that the first such function changes no listener, and drains no connection.

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


ENGINE_PLACE = "engine"
_ENGINE = RuleFilter(ENGINE_PLACE, (ir.EnginePlace(ENGINE_PLACE),), ir.FilterUse(ENGINE_PLACE, ir.EngineRoute(())))


def engine_filter(function: EdgeFunction) -> RuleFilter:
    """Return what a function is as a filter that the engine runs; it has a live revision."""
    template = function.spec.template
    revision = function.status.live_revision or ""
    call = ir.EngineFilter(revision, template.fails_open, template.timeout_seconds)
    return _engine((call,))


def _engine(calls: tuple[ir.EngineFilter, ...]) -> RuleFilter:
    return replace(_ENGINE, use=ir.FilterUse(ENGINE_PLACE, ir.EngineRoute(calls)))


def joined(filters: Iterable[RuleFilter]) -> tuple[RuleFilter, ...]:
    """Join functions of the engine that follow each other."""
    found: list[RuleFilter] = []
    for each in filters:
        before = found[-1].use.config if found else None
        if isinstance(before, ir.EngineRoute) and isinstance(each.use.config, ir.EngineRoute):
            found[-1] = _engine(before.filters + each.use.config.filters)
        else:
            found.append(each)
    return tuple(found)


class FilterChain:
    """The filters of all rules of one table, in an order that suits each rule.

    Args:
        rules: the filters of each rule, in its order.
    """

    def __init__(self, rules: Iterable[Sequence[RuleFilter]]) -> None:
        lists = [(_ENGINE,), *(tuple(filters) for filters in rules if filters)]
        known = {each.name: each for filters in lists for each in filters}
        counts: dict[str, int] = {}
        chain: list[tuple[str, int, RuleFilter]] = []
        for name in common_supersequence(tuple(each.name for each in filters) for filters in lists):
            counts[name] = counts.get(name, 0) + 1
            chain.append((name, counts[name], known[name].instance(counts[name])))
        self._chain = tuple(chain)

    @property
    def places(self) -> tuple[ir.RouteFilter, ...]:
        """What stands in the chain."""
        return tuple(place for *_, each in self._chain for place in each.places)

    @property
    def plugins(self) -> tuple[ir.Plugin, ...]:
        """What the discovered ones among them are."""
        return tuple(plugin for *_, each in self._chain for plugin in each.plugins)

    def uses(self, filters: Sequence[RuleFilter]) -> tuple[ir.FilterUse, ...]:
        """Return what one of the rules turns on."""
        entries = iter(self._chain)
        return tuple(
            each.instance(next(number for name, number, _ in entries if name == each.name)).use for each in filters
        )


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


__all__ = ["FilterChain", "RuleFilter", "common_supersequence", "engine_filter", "filter_name", "joined"]
