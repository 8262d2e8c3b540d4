"""Sets of fields behave as sets of paths, and are written as Kubernetes writes them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.server.verbs.apply import fieldpath
from skerry.server.verbs.apply.fieldpath import FieldSet

ELEMENTS = ("f:a", "f:b", 'k:{"name":"x"}', 'v:"y"')
PATHS = st.frozensets(st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=3).map(tuple), max_size=8)


def of(paths: frozenset[tuple[str, ...]]) -> FieldSet:
    found: FieldSet = {}
    for path in paths:
        found = fieldpath.union(found, fieldpath.from_path(path))
    return found


def paths_of(fields: FieldSet, prefix: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    found = {prefix} if prefix and fieldpath.is_member(fields) else set()
    for element, below in fields.items():
        if element != ".":
            found |= paths_of(below, (*prefix, element))
    return frozenset(found)


@given(PATHS, PATHS)
def test_union_difference_and_intersection_are_those_of_sets_of_paths(one: Any, other: Any) -> None:
    assert paths_of(of(one)) == one
    assert paths_of(fieldpath.union(of(one), of(other))) == one | other
    assert paths_of(fieldpath.difference(of(one), of(other))) == one - other
    assert paths_of(fieldpath.intersection(of(one), of(other))) == one & other


@given(PATHS, PATHS)
def test_equal_sets_have_one_form(one: Any, other: Any) -> None:
    assert fieldpath.difference(fieldpath.union(of(one), of(other)), of(other - one)) == of(one)
    assert fieldpath.read(of(one)) == of(one)


@given(PATHS)
def test_leaves_are_the_members_with_none_below(paths: Any) -> None:
    above = {path[:end] for path in paths for end in range(1, len(path))}
    assert set(fieldpath.leaves(of(paths))) == paths - above


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:spec", "f:code"), ".spec.code"),
        (("f:spec", "f:listeners", fieldpath.key({"name": "a"}), "f:port"), '.spec.listeners[name="a"].port'),
        (("f:ports", fieldpath.key({"protocol": "TCP", "port": 80})), '.ports[port=80,protocol="TCP"]'),
        (("f:spec", "f:tags", fieldpath.value("x")), '.spec.tags[="x"]'),
        (("f:list", "i:3"), ".list[3]"),
    ],
)
def test_paths_are_written_as_kubectl_prints_them(path: tuple[str, ...], text: str) -> None:
    assert fieldpath.text(path) == text


def test_what_clients_spell_differently_is_read_alike() -> None:
    spelled = {"f:a": {".": {}}, "f:b": {'k:{ "port" : 1, "name":"x" }': {"f:c": {}, ".": {}}, 'v: "y"': {}}}
    key = fieldpath.key({"name": "x", "port": 1})
    assert fieldpath.read(spelled) == {"f:a": {}, "f:b": {key: {".": {}, "f:c": {}}, 'v:"y"': {}}}


@pytest.mark.parametrize("raw", [[], "f:a", {"f:a": 1}, {"x:a": {}}, {"a": {}}, {"k:{": {}}, {"k:{}": {}}, {"i:x": {}}])
def test_what_is_no_set_of_fields_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match="no set of fields"):
        fieldpath.read(raw)
