"""Strategic merge patch on the core kinds."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.core_v1 import CONFIG_MAP, NAMESPACE
from skerry.api.errors import BadRequest
from skerry.server.verbs.patches.merge_patch import merge
from skerry.server.verbs.patches.strategic import strategic_patch


def patched(live: Any, patch: Any) -> Any:
    return strategic_patch(patch).apply(live, CONFIG_MAP)


def owners(*names: str) -> list[dict[str, str]]:
    return [{"uid": name, "name": name} for name in names]


def meta(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields}


def test_data_merges_and_null_deletes() -> None:
    assert patched({"data": {"a": "1", "b": "2"}}, {"data": {"a": None, "c": "3"}}) == {"data": {"b": "2", "c": "3"}}


def test_lists_of_objects_merge_by_their_key() -> None:
    live = meta(ownerReferences=owners("x", "y"))
    changed = patched(live, meta(ownerReferences=[{"uid": "y", "controller": True}, *owners("z")]))
    assert changed["metadata"]["ownerReferences"] == [
        {"uid": "x", "name": "x"},
        {"uid": "y", "name": "y", "controller": True},
        {"uid": "z", "name": "z"},
    ]


def test_an_item_is_deleted_by_its_key() -> None:
    live = meta(ownerReferences=owners("x", "y"))
    patch = meta(ownerReferences=[{"uid": "x", "$patch": "delete"}])
    assert patched(live, patch) == meta(ownerReferences=owners("y"))


def test_a_list_is_replaced_on_demand() -> None:
    live = meta(ownerReferences=owners("x", "y"))
    patch = meta(ownerReferences=[{"$patch": "replace"}, *owners("z")])
    assert patched(live, patch) == meta(ownerReferences=owners("z"))


def test_sets_are_united_and_taken_from() -> None:
    live = meta(finalizers=["a", "b"])
    assert patched(live, meta(finalizers=["b", "c"])) == meta(finalizers=["a", "b", "c"])
    assert patched(live, meta(**{"$deleteFromPrimitiveList/finalizers": ["a"]})) == meta(finalizers=["b"])


def test_other_lists_are_replaced() -> None:
    live = {"spec": {"finalizers": ["kubernetes"]}}
    assert strategic_patch({"spec": {"finalizers": []}}).apply(live, NAMESPACE) == {"spec": {"finalizers": []}}


def test_the_order_of_a_list_can_be_set() -> None:
    live = meta(ownerReferences=owners("x", "y"))
    patch = meta(
        **{
            "$setElementOrder/ownerReferences": [{"uid": "z"}, {"uid": "y"}, {"uid": "x"}],
            "ownerReferences": owners("z"),
        }
    )
    assert patched(live, patch) == meta(ownerReferences=owners("z", "y", "x"))
    sets = meta(**{"$setElementOrder/finalizers": ["b", "a"], "finalizers": ["b"]})
    assert patched(meta(finalizers=["a"]), sets) == meta(finalizers=["b", "a"])


def test_objects_are_replaced_deleted_and_thinned_out() -> None:
    assert patched({"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}}) == {"data": {"b": "2"}}
    assert patched({"data": {"a": "1"}}, {"data": {"$patch": "delete"}}) == {"data": {}}
    assert patched({"data": {"a": "1", "b": "2"}}, {"data": {"$retainKeys": ["b"], "b": "3"}}) == {"data": {"b": "3"}}


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"data": {"$patch": "swap"}}, 'Unknown patch type: "swap"'),
        (meta(ownerReferences=[{"name": "x"}]), "does not contain declared merge key: uid"),
        (meta(ownerReferences=["x"]), "must be objects"),
        (meta(**{"$setElementOrder/finalizers": "a"}), "must be a list"),
        ({"$bogus": 1}, "Unknown directive in the strategic merge patch: \\$bogus"),
        ({"data": {"$retainKeys": 5}}, "must be a list"),
    ],
)
def test_wrong_directives_are_named(patch: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        patched({}, patch)


def test_only_an_object_is_a_strategic_patch() -> None:
    with pytest.raises(BadRequest, match="must be a JSON object"):
        strategic_patch([])


PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["data", "x"]), PLAIN), st.dictionaries(st.sampled_from(["data", "x"]), PLAIN))
def test_without_lists_it_is_a_merge_patch(live: Any, patch: Any) -> None:
    assert patched(live, patch) == merge(live, patch)


ANY = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "metadata", "ownerReferences", "finalizers", "uid", "$patch", "$retainKeys",
            "$setElementOrder/finalizers", "$deleteFromPrimitiveList/finalizers",
        ]),
        inner,
        max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@given(ANY, ANY)
def test_any_patch_of_any_document_gives_an_object_or_an_answer(live: Any, patch: Any) -> None:
    if not isinstance(live, dict) or not isinstance(patch, dict):
        return
    with contextlib.suppress(BadRequest):
        assert isinstance(patched(live, patch), dict)
