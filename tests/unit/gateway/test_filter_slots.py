"""A function's next revision goes into the place that no route turns on, and what is in force stays as it is."""

from skerry.gateway import ir
from skerry.gateway.filter_slots import FilterContent, FilterSlots

ONE, TWO, THREE = (ir.Native("dynamic_module", f"/{name}.so", "f") for name in ("one", "two", "three"))
NAME = "edgefunction/f"


def settled(slots: FilterSlots, content: FilterContent) -> tuple[object, dict[str, object]]:
    (found,) = slots.settle({NAME: content})
    contents: dict[str, object] = {plugin.name: plugin.filter for plugin in found.plugins}
    return contents[found.use.filter], contents


def test_the_place_in_force_has_the_content_that_was_asked_for() -> None:
    slots = FilterSlots()
    for wanted in (ONE, TWO, THREE, ONE, ONE):
        assert settled(slots, FilterContent(wanted))[0] == wanted


def test_what_was_in_force_stays_until_the_exchange_after_the_next() -> None:
    slots = FilterSlots()
    settled(slots, FilterContent(ONE))
    assert set(settled(slots, FilterContent(TWO))[1].values()) == {ONE, TWO}
    assert set(settled(slots, FilterContent(THREE))[1].values()) == {TWO, THREE}
    assert slots.codes == {TWO.code, THREE.code}


def test_a_change_of_what_routes_give_exchanges_nothing() -> None:
    slots = FilterSlots()
    (before,) = slots.settle({NAME: FilterContent(ONE)})
    (after,) = slots.settle({NAME: FilterContent(ONE, '{"a":1}')})
    assert (after.places, after.plugins) == (before.places, before.plugins)
    assert after.use == ir.FilterUse(before.use.filter, ir.NativeRoute("dynamic_module", ONE.code, "f", '{"a":1}'))


def test_a_function_that_is_gone_leaves_nothing() -> None:
    slots = FilterSlots()
    slots.settle({NAME: FilterContent(ONE)})
    assert slots.settle({}) == ()
    assert slots.codes == frozenset()
