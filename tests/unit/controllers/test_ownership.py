from hypothesis import given
from hypothesis import strategies as st

from skerry.api.model import ObjectMeta, OwnerReference
from skerry.api.registry import KINDS
from skerry.controllers.ownership import OwnerIndex, Ref

NAMES = ["a", "b", "c"]
PLACES = [Ref("configmaps", "default", name) for name in NAMES]


@st.composite
def states(draw: st.DrawFn) -> ObjectMeta | None:
    """Return what is at a place: nothing, or one of two lives of an object with some owners."""
    if draw(st.booleans()):
        return None
    owners = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("12"), st.booleans()), max_size=3))
    return ObjectMeta(
        namespace="default",
        uid=draw(st.sampled_from("12")),
        deletion_timestamp="2026-01-01T00:00:00Z" if draw(st.booleans()) else None,
        finalizers=draw(st.lists(st.sampled_from(["foregroundDeletion", "orphan", "x.io/y"]), unique=True)),
        owner_references=[
            OwnerReference(api_version="v1", kind="ConfigMap", name=name, uid=name + life, block_owner_deletion=blocks)
            for name, life, blocks in owners
        ],
    )


def named(place: Ref, state: ObjectMeta | None) -> ObjectMeta | None:
    return state and state.model_copy(update={"name": place.name, "uid": place.name + (state.uid or "")})


@given(st.lists(st.tuples(st.sampled_from(PLACES), states()), max_size=20))
def test_the_index_is_the_present_state_however_it_came_about(changes: list[tuple[Ref, ObjectMeta | None]]):
    index, present = OwnerIndex(KINDS), dict[Ref, ObjectMeta | None]()
    for place, state in changes:
        present[place] = named(place, state)
        before = {ref for ref in PLACES if index.is_worth_a_look(ref)}
        concerned = index.observe(place, present[place])
        newly = {ref for ref in PLACES if index.is_worth_a_look(ref)} - before
        assert newly <= concerned, "a change names everyone whom it makes worth a look"
    fresh = OwnerIndex(KINDS)
    for place, metadata in present.items():
        fresh.observe(place, metadata)
    assert set(index) == set(fresh)
    for ref in PLACES:
        assert index.is_worth_a_look(ref) == fresh.is_worth_a_look(ref)
        for uid in (name + life for name in NAMES for life in "12"):
            assert index.dependents(uid) == fresh.dependents(uid)
            assert index.blocks(ref, uid) == fresh.blocks(ref, uid)


def test_a_change_that_touches_no_owner_concerns_nobody():
    index = OwnerIndex(KINDS)
    metadata = ObjectMeta(name="a", namespace="default", uid="a1", resource_version="1")
    assert index.observe(PLACES[0], metadata) == {PLACES[0]}
    assert (
        index.observe(PLACES[0], metadata.model_copy(update={"resource_version": "2", "labels": {"x": "y"}})) == set()
    )


def test_an_owner_that_goes_concerns_its_dependents_and_one_that_stays_keeps_them_out_of_sight():
    index = OwnerIndex(KINDS)
    owner = ObjectMeta(name="a", namespace="default", uid="a1")
    reference = OwnerReference(api_version="v1", kind="ConfigMap", name="a", uid="a1")
    index.observe(PLACES[0], owner)
    index.observe(PLACES[1], ObjectMeta(name="b", namespace="default", uid="b1", owner_references=[reference]))
    assert not index.is_worth_a_look(PLACES[1])
    assert PLACES[1] in index.observe(PLACES[0], None)
    assert index.is_worth_a_look(PLACES[1])
