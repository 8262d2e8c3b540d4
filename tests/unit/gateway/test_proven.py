from collections.abc import Mapping
from typing import Any

import pytest

from skerry.gateway import ir
from skerry.gateway.proven import ON_TRIAL, Proven, ProvenPlugins


def wasm(name: str, configuration: str = "", on_trap: Any = "deny") -> ir.Plugin:
    return ir.Plugin(name, "http", ir.Wasm("/p.wasm", configuration=configuration, on_trap=on_trap))


def model(*plugins: ir.Plugin) -> ir.Ir:
    uses = tuple(ir.PluginUse(plugin.name, "deny") for plugin in plugins)
    binding = ir.Binding("b", "g", "127.0.0.1", 80, (ir.Chain("t", http_filters=uses),))
    return ir.Ir(bindings=(binding,), plugins=ir.plugins_by_name(plugins))


def settle(proven: ProvenPlugins, plugins: tuple[ir.Plugin, ...], verdicts: Mapping[str, str | None]) -> Proven:
    """Settle with verdicts by configuration; plugins that are not named passed."""

    def verdict(plugin: ir.Plugin) -> str | None:
        return verdicts.get(plugin.filter.configuration, "") if isinstance(plugin.filter, ir.Wasm) else ""

    return proven.settle(model(*plugins), verdict)


def plugins_of(proven: Proven) -> tuple[ir.Plugin, ...]:
    return tuple(sorted(proven.model.plugins.values(), key=lambda plugin: plugin.name))


def places(proven: Proven) -> list[str]:
    return [use.plugin for use in proven.model.bindings[0].chains[0].plugins]


def test_what_passed_is_handed_over_as_it_is() -> None:
    given = (wasm("a"), wasm("b"), ir.Plugin("c", "network", "deny"))
    assert settle(ProvenPlugins(), given, {}) == Proven(model(*given), ())


def test_in_the_place_of_a_refused_plugin_stands_its_last_good_version() -> None:
    plugins = ProvenPlugins()
    settle(plugins, (wasm("a", "good"),), {})
    for _ in range(2):
        done = settle(plugins, (wasm("a", "bad"),), {"bad": "why"})
        assert plugins_of(done) == (wasm("a", "good"),)
        assert [(r.name, r.message) for r in done.rejections] == [("a", "why")]


def test_a_plugin_that_was_refused_at_first_is_stood_in_for() -> None:
    given = (wasm("a", "bad"), wasm("b", "bad", "allow"), wasm("c", "bad", "reload"))
    done = settle(ProvenPlugins(), given, {"bad": "why"})
    assert [plugin.filter for plugin in plugins_of(done)] == ["deny", "allow", "deny"]
    assert places(done) == ["a", "b", "c"]


def test_a_new_plugin_is_in_no_chain_until_it_passed() -> None:
    plugins = ProvenPlugins()
    settle(plugins, (wasm("a"),), {})
    done = settle(plugins, (wasm("a"), wasm("b", "new")), {"new": None})
    assert (places(done), plugins_of(done)) == (["a"], (wasm("a"),))
    assert [(r.name, r.message) for r in done.rejections] == [("b", ON_TRIAL)]
    assert places(settle(plugins, (wasm("a"), wasm("b", "new")), {})) == ["a", "b"]


USE = (ir.PluginUse("a", "deny"),)


@pytest.mark.parametrize(
    "chain", [ir.Chain("t", network_plugins=USE), ir.Chain("t", http_filters=USE), ir.Chain("t", last_filters=USE)]
)
def test_a_new_plugin_is_left_out_wherever_in_the_chain_its_place_is(chain: ir.Chain) -> None:
    plugin = wasm("a", "new")
    asked = ir.Ir((ir.Binding("b", "g", "127.0.0.1", 80, (chain,)),), plugins=ir.plugins_by_name([plugin]))
    plugins = ProvenPlugins()
    settle(plugins, (), {})
    done = plugins.settle(asked, lambda _: None)
    assert (done.model.bindings[0].chains[0].plugins, plugins_of(done)) == ((), ())


def test_at_the_start_a_plugin_that_is_not_tried_yet_is_stood_in_for_until_it_is() -> None:
    plugins = ProvenPlugins()
    for _ in range(2):
        done = settle(plugins, (wasm("a", "slow"),), {"slow": None})
        assert [plugin.filter for plugin in plugins_of(done)] == ["deny"]
    assert plugins_of(settle(plugins, (wasm("a", "slow"),), {})) == (wasm("a", "slow"),)


def test_what_was_stood_in_for_keeps_its_place_while_its_code_is_tried() -> None:
    plugins = ProvenPlugins()
    settle(plugins, (ir.Plugin("a", "http", "deny"),), {})
    done = settle(plugins, (wasm("a", "new"),), {"new": None})
    assert [plugin.filter for plugin in plugins_of(done)] == ["deny"]


def test_a_plugin_that_was_taken_away_does_not_come_back_under_its_name() -> None:
    plugins = ProvenPlugins()
    settle(plugins, (wasm("a", "good"),), {})
    settle(plugins, (), {})
    done = settle(plugins, (wasm("a", "bad"),), {"bad": "why"})
    assert [plugin.filter for plugin in plugins_of(done)] == ["deny"]
