"""Ownership of fields: applies merge, refuse, force and remove; updates take what they change."""

from typing import Any

import pytest

from skerry.server.verbs.apply import fieldpath, managers
from skerry.server.verbs.apply.managers import FieldConflicts, Manager, Owned

A = fieldpath.key({"name": "a"})
B = fieldpath.key({"name": "b"})


def conflicts(world: Any, name: str, spec: Any) -> list[tuple[str, str]]:
    with pytest.raises(FieldConflicts) as refused:
        world.apply(name, spec)
    return [(conflict.manager.name, fieldpath.text(conflict.path)) for conflict in refused.value.conflicts]


def test_an_apply_owns_leaves_and_items_but_no_structs(world: Any) -> None:
    ports = [{"name": "a", "port": 1, "options": {"o": "1"}}]
    free = {"deep": {"x": 1}, "list": [1], "empty": {}}
    world.apply(
        "one", {"inner": {"x": "1"}, "ports": ports, "tags": ["t"], "words": ["w"], "labels": {"l": "1"}, "free": free}
    )
    assert world.owned("one") == {
        "f:inner": {"f:x": {}},
        "f:ports": {A: {".": {}, "f:name": {}, "f:port": {}, "f:options": {"f:o": {}}}},
        "f:tags": {'v:"t"': {}},
        "f:words": {},
        "f:labels": {"f:l": {}},
        "f:free": {"f:deep": {".": {}, "f:x": {}}, "f:list": {}, "f:empty": {}},
    }


def test_managers_share_lists_maps_and_structs(world: Any) -> None:
    first = {
        "ports": [{"name": "a"}],
        "tags": ["x"],
        "labels": {"l": "1"},
        "inner": {"x": "1"},
        "free": {"f": {"a": 1}},
    }
    second = {
        "ports": [{"name": "b", "port": 2}],
        "tags": ["y"],
        "labels": {"m": "2"},
        "inner": {"y": "2"},
        "free": {"f": {"b": 2}},
    }
    world.apply("one", first)
    world.apply("two", second)
    assert world.spec == {
        "ports": [{"name": "a"}, {"name": "b", "port": 2}],
        "tags": ["x", "y"],
        "labels": {"l": "1", "m": "2"},
        "inner": {"x": "1", "y": "2"},
        "free": {"f": {"a": 1, "b": 2}},
    }
    world.apply("one", {})
    assert world.spec == {**second, "free": {"f": {"b": 2}}}
    assert world.owned("one") == {}  # the empty spec that it applies


def test_an_atomic_list_has_one_owner(world: Any) -> None:
    world.apply("one", {"words": ["a"]})
    assert conflicts(world, "two", {"words": ["a", "b"]}) == [("one", ".spec.words")]
    world.apply("two", {"words": ["a", "b"]}, force=True)
    assert (world.owned("one"), world.spec) == (None, {"words": ["a", "b"]})


def test_conflicts_name_every_manager_and_leaf(world: Any) -> None:
    world.apply("one", {"ports": [{"name": "a", "port": 1}]})
    world.update("two", {**world.spec, "code": "1", "labels": {"l": "1"}})
    wanted = {"ports": [{"name": "a", "port": 2}], "code": "2", "labels": {"l": "2"}}
    assert conflicts(world, "three", wanted) == [
        ("one", '.spec.ports[name="a"].port'),
        ("two", ".spec.code"),
        ("two", ".spec.labels.l"),
    ]


def test_an_equal_value_is_owned_by_both_and_stays_for_the_other(world: Any) -> None:
    world.apply("one", {"code": "1"})
    world.apply("two", {"code": "1"})
    world.apply("one", {})
    assert (world.spec, world.owned("two")) == ({"code": "1"}, {"f:code": {}})
    world.apply("two", {})
    assert world.spec in (None, {})


def test_dropping_an_item_removes_it_with_what_others_changed_in_it(world: Any) -> None:
    world.apply("one", {"ports": [{"name": "a", "port": 1}, {"name": "b"}]})
    world.update("two", {"ports": [{"name": "a", "port": 9}, {"name": "b"}]})
    world.apply("one", {"ports": [{"name": "b"}]})
    assert (world.spec, world.owned("two")) == ({"ports": [{"name": "b"}]}, None)


def test_an_item_that_another_applies_stays_with_its_fields(world: Any) -> None:
    world.apply("one", {"ports": [{"name": "a", "port": 1}]})
    world.apply("two", {"ports": [{"name": "a", "options": {"o": "1"}}]})
    world.apply("one", {})
    assert world.spec == {"ports": [{"name": "a", "options": {"o": "1"}}]}


def test_a_dropped_struct_takes_along_what_the_server_filled_in(world: Any) -> None:
    world.apply("one", {"code": "1", "inner": {"x": "1"}})
    world.live["spec"]["inner"]["y"] = "default"
    world.apply("one", {"code": "1"})
    assert world.spec == {"code": "1"}


def test_what_nobody_owns_stays(world: Any) -> None:
    world.apply("one", {"code": "1", "labels": {"a": "1"}})
    world.live["spec"]["inner"] = {"x": "default"}
    world.live["spec"]["labels"]["default"] = "1"
    world.apply("one", {"labels": {"b": "1"}})
    assert world.spec == {"labels": {"default": "1", "b": "1"}, "inner": {"x": "default"}}


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ("abc", "bx", "abcx"),
        ("ab", "xb", "axb"),
        ("abc", "ca", "bca"),
        ("abc", "", "abc"),
        ("", "ba", "ba"),
        ("ab", "xyab", "xyab"),
    ],
)
def test_lists_merge_in_the_order_of_the_applied(world: Any, live: str, applied: str, merged: str) -> None:
    world.update("one", {"tags": list(live)})
    for _ in range(2):
        world.apply("two", {"tags": list(applied)})
        assert "".join(world.spec["tags"]) == merged


def test_an_update_takes_what_it_changes_and_frees_what_it_removes(world: Any) -> None:
    world.apply("one", {"code": "1", "labels": {"a": "1", "b": "1"}})
    world.update("two", {"code": "2", "labels": {"b": "1"}})
    assert world.owned("one") == {"f:labels": {"f:b": {}}}
    assert world.owned("two") == {"f:code": {}}


def test_an_update_that_changes_nothing_is_not_recorded(world: Any) -> None:
    world.apply("one", {"code": "1"})
    before = world.owners
    world.update("two", {"code": "1"})
    assert world.owners == before


def test_a_container_becomes_a_value_and_back(world: Any) -> None:
    world.apply("one", {"free": {"a": {"b": 1}}})
    world.update("two", {"free": {"a": 1}})
    assert (world.owned("one"), world.owned("two")) == (None, {"f:free": {"f:a": {}}})
    world.update("three", {"free": {"a": {"b": 1}}})
    assert world.owned("two") is None
    assert world.owned("three") == {"f:free": {"f:a": {".": {}, "f:b": {}}}}


def test_an_untracked_object_is_tracked_from_its_first_apply(world: Any) -> None:
    world.live = {"metadata": {"name": "t"}, "spec": {"code": "1", "labels": {"a": "1"}}}
    world.update("two", {"code": "1", "labels": {"a": "2"}})
    assert world.owners == {}
    assert conflicts(world, "one", {"code": "2"}) == [("before-first-apply", ".spec.code")]
    world.apply("one", {"code": "1"})
    assert Manager("Update", "before-first-apply") in world.owners


def test_the_oldest_updaters_become_one(world: Any) -> None:
    world.apply("applier", {"labels": {"x": "1"}})
    labels = {"x": "1"}
    for index in range(13):
        labels = {**labels, f"l{index:02}": "1"}
        world.update(f"u{index:02}", {"labels": labels})
    updaters = sorted(manager.name for manager in world.owners if manager.operation == "Update")
    assert updaters == ["ancient-changes", *(f"u{index:02}" for index in range(4, 13))]
    assert world.owned("ancient-changes") == {"f:labels": {f"f:l{index:02}": {} for index in range(4)}}
    assert world.owned("applier") == {"f:labels": {"f:x": {}}}


def test_status_and_the_rest_are_owned_apart(world: Any) -> None:
    document = {"metadata": {"name": "t"}, "spec": {"code": "1"}, "status": {"phase": "Up"}}
    main = managers.updated({}, world.write("one", "Update"), None, document)
    both = managers.updated(main, world.write("one", "Update", "status"), {**document, "status": {}}, document)
    assert {manager.subresource: owned.fields for manager, owned in both.items()} == {
        "": {"f:spec": {".": {}, "f:code": {}}},
        "status": {"f:status": {"f:phase": {}}},
    }


def test_what_is_written_is_read_again(world: Any) -> None:
    world.apply("one", {"code": "1"})
    world.update("two", {"code": "2"})
    world.owners[Manager("Update", "two", "status")] = Owned({"f:status": {}}, "")
    raw = managers.write(world.owners, "example.org/v1")
    assert managers.read(raw, "example.org/v1") == world.owners
    assert managers.given(raw, None, "example.org/v1") == world.owners
    assert managers.read(raw, "example.org/v2") == {}
    assert [entry["operation"] for entry in raw] == ["Update", "Update"]


ENTRY = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}}
LIVE = [{**ENTRY, "manager": "live"}]


@pytest.mark.parametrize("raw", [[], [{}]])
def test_empty_managed_fields_reset(raw: Any) -> None:
    assert managers.given(raw, LIVE, "v1") == {}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [{**ENTRY, "operation": "Patch"}],
        [{**ENTRY, "fieldsType": "FieldsV2"}],
        [{**ENTRY, "fieldsV1": {"x": {}}}],
        [{**ENTRY, "subresource": "scale"}],
        [{**ENTRY, "time": 3}],
        [{**ENTRY, "operation": []}],
        [{"manager": "m"}],
        [{}, {}],
    ],
)
def test_absent_or_malformed_managed_fields_leave_the_live_ones(raw: Any) -> None:
    assert managers.given(raw, LIVE, "v1") == managers.read(LIVE, "v1")
