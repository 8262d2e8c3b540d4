"""Default roles and bindings: made at start, completed later, left alone where they are told to be."""

from typing import Any

import pytest

from skerry.api.rbac_v1 import aggregated
from skerry.api.registry import KINDS
from skerry.client.client import Client
from skerry.server.authorization.bootstrap import ensure_default_roles
from skerry.server.authorization.defaults import AUTOUPDATE, default_bindings, default_roles
from skerry.server.local import LocalTransport
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import WriteOptions


@pytest.fixture
def client(world: Any) -> Client:
    return Client(LocalTransport(world.verbs, manager="test"))


async def document(world: Any, kind: str, name: str) -> Any:
    return (await world.verbs.get(world.target(kind, name=name))).document


async def change(world: Any, kind: str, name: str, **fields: Any) -> None:
    await world.verbs.patch(world.target(kind, name=name), MergePatch(fields), WriteOptions())


async def test_default_objects_are_marked_as_kubernetes_marks_them(world: Any) -> None:
    for kind, objects in (("ClusterRole", default_roles(KINDS)), ("ClusterRoleBinding", default_bindings())):
        for wanted in objects:
            meta = (await document(world, kind, wanted.name))["metadata"]
            assert meta["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
            assert meta["annotations"] == {AUTOUPDATE: "true"}


async def test_a_second_start_changes_nothing(world: Any, client: Client) -> None:
    before = [await document(world, "ClusterRole", role.name) for role in default_roles(KINDS)]
    await ensure_default_roles(client, KINDS)
    assert [await document(world, "ClusterRole", role.name) for role in default_roles(KINDS)] == before


async def test_what_was_taken_away_comes_back_and_what_was_added_stays(world: Any, client: Client) -> None:
    own = {"verbs": ["get"], "apiGroups": ["mine"], "resources": ["things"]}
    await change(world, "ClusterRole", "system:basic-user", rules=[own])
    bob = {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}
    await change(world, "ClusterRoleBinding", "system:discovery", subjects=[bob])
    await world.delete("ClusterRole", "view")
    await ensure_default_roles(client, KINDS)
    rules = (await document(world, "ClusterRole", "system:basic-user"))["rules"]
    assert rules[0] == own
    assert len(rules) == 3
    subjects = (await document(world, "ClusterRoleBinding", "system:discovery"))["subjects"]
    assert [subject["name"] for subject in subjects] == ["bob", "system:authenticated"]
    assert (await document(world, "ClusterRole", "view"))["rules"]


async def test_an_object_that_is_not_to_be_updated_is_left_alone(world: Any, client: Client) -> None:
    await change(world, "ClusterRole", "system:basic-user", rules=[], metadata={"annotations": {AUTOUPDATE: "false"}})
    await ensure_default_roles(client, KINDS)
    assert not (await document(world, "ClusterRole", "system:basic-user")).get("rules")


async def test_a_default_binding_to_another_role_is_made_anew(world: Any, client: Client) -> None:
    await world.delete("ClusterRoleBinding", "system:monitoring")
    await world.bind("system:monitoring", "view", "bob")
    await ensure_default_roles(client, KINDS)
    assert (await document(world, "ClusterRoleBinding", "system:monitoring"))["roleRef"]["name"] == "system:monitoring"


def test_the_roles_for_people_are_complete_from_the_start() -> None:
    roles = default_roles(KINDS)
    for role in roles:
        if role.aggregation_rule is not None:
            assert role.rules == aggregated(role, roles)


def test_no_kind_is_written_by_more_people_than_read_it() -> None:
    order = ("view", "edit", "admin", None)
    for kind in KINDS:
        assert order.index(kind.read_by) <= order.index(kind.written_by), kind.resource
