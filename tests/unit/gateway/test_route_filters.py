"""Every rule's requests pass the rule's filters in its own order, though all rules share one chain."""

from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway import ir
from skerry.gateway.route_filters import ENGINE_PLACE, FilterChain, RuleFilter, common_supersequence, joined

NAMES = st.lists(st.sampled_from("abcd"), max_size=5)


def rule_filter(name: str) -> RuleFilter:
    place = ir.PluginUse(f"{name}/x", "deny")
    return RuleFilter(name, (place,), ir.FilterUse(place.name), (ir.Plugin(place.name, "http", "deny"),))


@given(st.lists(NAMES, max_size=6))
def test_chain_holds_each_rules_filters_in_the_rules_order(rules: list[list[str]]) -> None:
    filters = [[rule_filter(name) for name in names] for names in rules]
    chain = FilterChain(filters)
    places = [place.name for place in chain.places if place.name != ENGINE_PLACE]
    assert len(set(places)) == len(places)
    assert [plugin.name for plugin in chain.plugins] == places
    for names, rule in zip(rules, filters, strict=True):
        used = [use.filter for use in chain.uses(rule)]
        assert [name[0] for name in used] == names
        assert sorted(used, key=places.index) == used
        assert len(set(used)) == len(used)


@given(st.lists(NAMES, max_size=6))
def test_chain_does_not_depend_on_the_order_of_rules(rules: list[list[str]]) -> None:
    assert common_supersequence(map(tuple, rules)) == common_supersequence(map(tuple, reversed(rules)))


def test_filters_that_rules_name_in_one_order_stand_in_the_chain_once() -> None:
    assert common_supersequence([("a", "b", "c"), ("a", "c"), ("b",)]) == ["a", "b", "c"]


def test_filters_that_rules_name_in_opposite_orders_stand_there_twice() -> None:
    one, other = rule_filter("a"), rule_filter("b")
    chain = FilterChain([[one, other], [other, one]])
    assert [place.name for place in chain.places] == ["b/x", "a/x", "b#2/x", ENGINE_PLACE]
    assert [use.filter for use in chain.uses([one, other])] == ["a/x", "b#2/x"]


def engine(*revisions: str) -> RuleFilter:
    calls = tuple(ir.EngineFilter(revision, fails_open=False, timeout_seconds=1.0) for revision in revisions)
    return RuleFilter(ENGINE_PLACE, (ir.EnginePlace(ENGINE_PLACE),), ir.FilterUse(ENGINE_PLACE, ir.EngineRoute(calls)))


def test_functions_of_the_engine_share_a_place_where_nothing_stands_between_them() -> None:
    native = rule_filter("n")
    assert joined([engine("a"), engine("b"), native, engine("c")]) == (engine("a", "b"), native, engine("c"))


def test_every_rule_gives_the_engines_place_its_own_functions() -> None:
    one, other = (engine("a"),), (engine("b"), rule_filter("n"), engine("c"))
    chain = FilterChain([one, other])
    assert chain.uses(one) == (one[0].use,)
    assert [use.config for use in chain.uses(other)] == [other[0].use.config, None, other[2].use.config]
    assert len({use.filter for use in chain.uses(other)}) == 3


def test_a_chain_has_the_engines_place_before_any_rule_names_a_function() -> None:
    assert [place.name for place in FilterChain([]).places] == [ENGINE_PLACE]
