"""What of a model the real Envoy is given: plugins that passed their trial, and in place of others what stood before.

Owns the last good version of each plugin. Does not own the trial (`trial.py`).

Invariant: what has a place in a chain keeps one until it is taken away: an unproven plugin leaves the chain only where
it never had a place.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace

from skerry.gateway import ir
from skerry.gateway.snapshot import EXTENSION_TYPE
from skerry.gateway.xds_stream import Rejection
from skerry.kit.immutable_map import Changes, ImmutableMap

ON_TRIAL = "the plugin is being tried; what was there before stays until then"


@dataclass(frozen=True, slots=True)
class Proven:
    """A model that is safe to hand over, and what was kept back."""

    model: ir.Ir
    rejections: tuple[Rejection, ...]


class ProvenPlugins:
    """The plugins as the real Envoy has them."""

    def __init__(self) -> None:
        #: What was asked for, and what the real Envoy was given: nothing yet, or in some places something else.
        self._asked: ImmutableMap[str, ir.Plugin] = ImmutableMap()
        self._given: ImmutableMap[str, ir.Plugin] | None = None
        self._unproven: frozenset[str] = frozenset()

    def untried(self, model: ir.Ir) -> list[ir.Plugin]:
        """Return the plugins that the real Envoy does not have as they are: those that a trial is for."""
        undecided = self._undecided(model.plugins.changes_since(self._asked))
        return [model.plugins[name] for name in undecided if self._good(name) != model.plugins[name]]

    def _undecided(self, changes: Changes[str, ir.Plugin]) -> list[str]:
        """Return the names of the plugins that are not given as they were asked for, or not any more."""
        return sorted((self._unproven - changes.gone) | changes.present.keys())

    def _good(self, name: str) -> ir.Plugin | None:
        """Return the module that the real Envoy has under a name."""
        given: ir.Plugin | None = self._given.get(name) if self._given is not None else None
        return given if given is not None and isinstance(given.filter, ir.Wasm) else None

    def settle(self, model: ir.Ir, verdict_of: Callable[[ir.Plugin], str | None]) -> Proven:
        """Put what is proven in the place of what is not.

        Args:
            model: what was asked for.
            verdict_of: why a plugin was refused; "" where it passed, None where it is not tried yet.
        """
        changes = model.plugins.changes_since(self._asked)
        given: dict[str, ir.Plugin] = {}
        left_out: set[str] = set()
        rejections = []
        for name in self._undecided(changes):
            plugin = model.plugins[name]
            verdict = "" if self._good(name) == plugin else verdict_of(plugin)
            if verdict is None or verdict:
                rejections.append(Rejection(EXTENSION_TYPE, name, "", verdict or ON_TRIAL, pending=verdict is None))
            if (found := self._in_place_of(plugin, verdict)) is not None:
                given[name] = found
            else:
                left_out.add(name)
        before = self._given if self._given is not None else ImmutableMap[str, ir.Plugin]()
        self._asked, self._given = model.plugins, before.with_changes(given, changes.gone | left_out)
        self._unproven = frozenset(rejection.name for rejection in rejections)
        return Proven(_with(model, self._given), tuple(rejections))

    def _in_place_of(self, plugin: ir.Plugin, verdict: str | None) -> ir.Plugin | None:
        if verdict == "":
            return plugin
        if (good := self._good(plugin.name)) is not None:
            return good
        if verdict is None and self._given is not None and plugin.name not in self._given:
            return None
        kind: ir.StandIn = (
            "allow" if isinstance(plugin.filter, ir.Wasm) and plugin.filter.on_trap == "allow" else "deny"
        )
        return replace(plugin, filter=kind)


def _with(model: ir.Ir, plugins: ImmutableMap[str, ir.Plugin]) -> ir.Ir:
    """Return the model with these plugins only; those left out lose their places."""
    if len(plugins) == len(model.plugins):
        return replace(model, plugins=plugins)
    bindings = tuple(
        replace(binding, chains=tuple(_chain_with(chain, plugins) for chain in binding.chains))
        for binding in model.bindings
    )
    return replace(model, bindings=bindings, plugins=plugins)


def _chain_with(chain: ir.Chain, names: Container[str]) -> ir.Chain:
    """Return a chain without the places of others; those of routes stay: a route that lost one would be unguarded."""
    return replace(
        chain,
        network_plugins=tuple(use for use in chain.network_plugins if use.plugin in names),
        http_filters=_filters_with(chain.http_filters, names),
        last_filters=_filters_with(chain.last_filters, names),
    )


def _filters_with(filters: Iterable[ir.HttpFilter], names: Container[str]) -> tuple[ir.HttpFilter, ...]:
    return tuple(each for each in filters if not isinstance(each, ir.PluginUse) or each.plugin in names)
