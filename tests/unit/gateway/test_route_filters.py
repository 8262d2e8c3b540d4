"""Every rule's requests pass the rule's filters in its own order, though all rules share one chain."""

from hypothesis import given
from hypothesis import strategies as st

from skerry.gateway import ir
from skerry.gateway.route_filters import FilterChain, RuleFilter, common_supersequence

NAMES = st.lists(st.sampled_from("abcd"), max_size=5)


def rule_filter(name: str) -> RuleFilter:
    place = ir.PluginUse(f"{name}/x", "deny")
    return RuleFilter(name, (place,), ir.FilterUse(place.name), (ir.Plugin(place.name, "http", "deny"),))


@given(st.lists(NAMES, max_size=6))
def test_chain_holds_each_rules_filters_in_the_rules_order(rules: list[list[str]]) -> None:
    filters = [[rule_filter(name) for name in names] for names in rules]
    chain = FilterChain(filters)
    places = [place.name for place in chain.places]
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
    assert [place.name for place in chain.places] == ["b/x", "a/x", "b#2/x"]
    assert [use.filter for use in chain.uses([one, other])] == ["a/x", "b#2/x"]
