"""What of a model the real Envoy is given: plugins that passed their trial, and in place of others what stood before.

Owns the last good version of each plugin. Does not own the trial (`trial.py`).

Invariant: what has a place in a chain keeps one until it is taken away: an unproven plugin leaves the chain only where
it never had a place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from skerry.gateway import ir
from skerry.gateway.snapshot import EXTENSION_TYPE
from skerry.gateway.xds_stream import Rejection

ON_TRIAL = "the plugin is being tried; what was there before stays until then"


@dataclass(frozen=True, slots=True)
class Proven:
    """A model that is safe to hand over, and what was kept back."""

    model: ir.Ir
    rejections: tuple[Rejection, ...]


class ProvenPlugins:
    """The plugins as the real Envoy has them."""

    def __init__(self) -> None:
        self._good: dict[str, ir.Plugin] = {}
        self._placed: set[str] | None = None

    def untried(self, model: ir.Ir) -> list[ir.Plugin]:
        """Return the plugins that the real Envoy does not have as they are: those that a trial is for."""
        return [plugin for plugin in model.plugins if not self._is_good(plugin)]

    def _is_good(self, plugin: ir.Plugin) -> bool:
        good = self._good.get(plugin.name)
        return good is plugin or good == plugin  # mostly the very same: thousands are looked at in each turn

    def settle(self, model: ir.Ir, verdict_of: Callable[[ir.Plugin], str | None]) -> Proven:
        """Put what is proven in the place of what is not.

        Args:
            model: what was asked for.
            verdict_of: why a plugin was refused; "" where it passed, None where it is not tried yet.
        """
        plugins: list[ir.Plugin] = []
        rejections = []
        for plugin in model.plugins:
            verdict = "" if self._is_good(plugin) else verdict_of(plugin)
            if verdict is None or verdict:
                rejections.append(
                    Rejection(EXTENSION_TYPE, plugin.name, "", verdict or ON_TRIAL, pending=verdict is None)
                )
            if (found := self._in_place_of(plugin, verdict)) is not None:
                plugins.append(found)
        self._placed = {plugin.name for plugin in plugins}
        self._good = {plugin.name: plugin for plugin in plugins if isinstance(plugin.filter, ir.Wasm)}
        return Proven(_with(model, tuple(plugins)), tuple(rejections))

    def _in_place_of(self, plugin: ir.Plugin, verdict: str | None) -> ir.Plugin | None:
        if verdict == "":
            return plugin
        if plugin.name in self._good:
            return self._good[plugin.name]
        if verdict is None and self._placed is not None and plugin.name not in self._placed:
            return None
        kind: ir.StandIn = (
            "allow" if isinstance(plugin.filter, ir.Wasm) and plugin.filter.on_trap == "allow" else "deny"
        )
        return replace(plugin, filter=kind)


def _with(model: ir.Ir, plugins: tuple[ir.Plugin, ...]) -> ir.Ir:
    """Return the model with these plugins only; those left out lose their places."""
    names = {plugin.name for plugin in plugins}
    if len(names) == len(model.plugins):
        return replace(model, plugins=plugins)
    bindings = tuple(
        replace(binding, chains=tuple(_chain_with(chain, names) for chain in binding.chains))
        for binding in model.bindings
    )
    return replace(model, bindings=bindings, plugins=plugins)


def _chain_with(chain: ir.Chain, names: set[str]) -> ir.Chain:
    return replace(
        chain,
        network_plugins=tuple(use for use in chain.network_plugins if use.plugin in names),
        http_filters=tuple(
            each for each in chain.http_filters if not isinstance(each, ir.PluginUse) or each.plugin in names
        ),
    )
