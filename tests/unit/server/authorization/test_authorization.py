"""The authorization over the log: in force when acknowledged, default roles, nodes, administrators."""

import asyncio
from typing import Any

import pytest

from skerry.agent.slice import NodeSlice
from skerry.api.errors import Timeout
from skerry.client.client import Client
from skerry.server import following
from skerry.server.access import Act
from skerry.server.auth import ADMINISTRATORS, ANONYMOUS
from skerry.server.authorization.authorization import Authorization
from skerry.server.local import LocalTransport
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.testing.api_server import open_verbs

EDGE, GATEWAYS = "extensions.apoxy.dev", "gateway.networking.k8s.io"


async def test_an_acknowledged_write_is_in_force_at_once(world: Any, make_user: Any, make_rule: Any) -> None:
    alice = make_user("alice")
    await world.role("reader", make_rule("get", "configmaps"))
    for _ in range(20):
        await world.bind("b", "reader", "alice")
        assert world.may(alice, "get", "configmaps", namespace="default")
        await world.delete("ClusterRoleBinding", "b")
        assert not world.may(alice, "get", "configmaps", namespace="default")


async def test_a_changed_role_is_in_force_at_once(world: Any, make_user: Any, make_rule: Any) -> None:
    alice = make_user("alice")
    await world.role("reader", make_rule("get", "configmaps"))
    await world.bind("b", "reader", "alice")
    patch = MergePatch({"rules": [make_rule("get", "secrets")]})
    await world.verbs.patch(world.target("ClusterRole", name="reader"), patch, WriteOptions())
    assert not world.may(alice, "get", "configmaps")
    assert world.may(alice, "get", "secrets")


async def test_writes_at_once_are_all_in_force_when_they_are_answered(world: Any, make_user: Any) -> None:
    async def bind(number: int) -> None:
        name = f"user-{number}"
        await world.bind(name, "view", name)
        assert world.may(make_user(name), "list", "configmaps", namespace="default")

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(bind(number))


async def test_a_write_that_is_not_in_force_in_time_says_that_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "IN_FORCE_SECONDS_MAX", 0.0)
    authorization = Authorization()  # does not run, so nothing is ever in force
    async with open_verbs(policy=authorization) as (verbs, _):
        kind = next(kind for kind in verbs.kinds.built_in if kind.plural == "clusterroles")
        with pytest.raises(Timeout, match=r"the write is stored as revision \d+, but it was not in force"):
            await verbs.create(Target(kind), {"metadata": {"name": "r"}}, WriteOptions())
        assert await verbs.get(Target(kind, "", "r"))


async def test_a_second_server_on_the_same_log_begins_with_all_that_is_there(make_user: Any) -> None:
    first, second = Authorization(), Authorization()
    async with open_verbs(policy=first) as (verbs, _):
        async with first.running(verbs):
            kind = next(kind for kind in verbs.kinds.built_in if kind.plural == "clusterrolebindings")
            document = {
                "metadata": {"name": "b"},
                "roleRef": {"kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "User", "name": "alice"}],
            }
            await verbs.create(Target(kind), document, WriteOptions())
        async with second.running(verbs):
            assert second.held_by(make_user("alice"), "default").rules[-1].verbs


async def test_statistics_tell_how_much_is_held_and_how_new_it_is(world: Any) -> None:
    before = world.authorization.statistics()
    written = await world.bind("b", "view", "alice")
    after = world.authorization.statistics()
    assert after["bindings"] == before["bindings"] + 1
    assert before["revision"] <= after["revision"] <= written.object.revision


async def test_administrators_may_everything_whatever_the_bindings_say(world: Any, make_user: Any) -> None:
    await world.delete("ClusterRoleBinding", "cluster-admin")
    admin = make_user("root", ADMINISTRATORS)
    assert world.may(admin, "any", "thing", "of.any.group")
    assert world.may_path(admin, "/any/path")


async def test_cluster_admin_by_a_binding_may_everything_too(world: Any, make_user: Any) -> None:
    await world.bind("b", "cluster-admin", "alice")
    assert world.may(make_user("alice"), "any", "things/part", "of.any.group", namespace="default")
    assert world.may_path(make_user("alice"), "/any/path")


async def test_every_known_user_may_look_at_the_api_and_ask_about_itself(world: Any, make_user: Any) -> None:
    alice = make_user("alice")
    assert all(world.may_path(alice, path) for path in ("/api", "/apis/x/v1", "/openapi/v3/api/v1", "/version"))
    assert world.may(alice, "create", "selfsubjectaccessreviews", "authorization.k8s.io")
    assert not world.may(alice, "create", "subjectaccessreviews", "authorization.k8s.io")
    assert not world.may_path(alice, "/metrics")
    assert not world.may(alice, "list", "namespaces")


async def test_who_is_not_known_sees_health_and_version_only(world: Any) -> None:
    assert all(world.may_path(ANONYMOUS, path) for path in ("/healthz", "/livez", "/readyz", "/version"))
    assert not any(world.may_path(ANONYMOUS, path) for path in ("/api", "/apis", "/openapi/v3", "/metrics"))


async def test_view_edit_and_admin_in_a_namespace(world: Any, make_user: Any) -> None:
    for name in ("view", "edit", "admin"):
        await world.bind(name, name, name, place="default")
    view, edit, admin = (make_user(name) for name in ("view", "edit", "admin"))
    here = {"namespace": "default"}
    assert world.may(view, "list", "configmaps", **here)
    assert not world.may(view, "create", "configmaps", **here)
    assert not world.may(view, "get", "secrets", **here)
    assert world.may(edit, "get", "secrets", **here)
    assert world.may(edit, "create", "gateways", GATEWAYS, **here)
    assert not world.may(edit, "update", "gateways/status", GATEWAYS, **here)
    assert not world.may(edit, "get", "roles", "rbac.authorization.k8s.io", **here)
    assert world.may(admin, "create", "rolebindings", "rbac.authorization.k8s.io", **here)
    assert not world.may(admin, "list", "configmaps", namespace="kube-system")
    assert not world.may(admin, "list", "edgefunctions", EDGE)  # of the cluster, not of the namespace


async def test_a_missing_role_is_told(world: Any, make_user: Any) -> None:
    await world.bind("b", "nothing", "alice")
    alice = make_user("alice")
    decision = world.authorization.decide(alice, Act("list", "", "secrets"))
    assert decision.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "nothing" not found'
    assert world.authorization.held_by(alice, "default").problems == (
        'clusterrole.rbac.authorization.k8s.io "nothing" not found',
    )


async def test_a_node_reads_its_slice_and_writes_its_reports(world: Any, make_user: Any) -> None:
    node = make_user("system:node:edge-1", "system:nodes")
    for resource, group in (("gateways", GATEWAYS), ("edgefunctions", EDGE), ("namespaces", "")):
        assert world.may(node, "list", resource, group)
    assert world.may(node, "update", "gateways/status", GATEWAYS, namespace="default", name="g")
    assert not world.may(node, "update", "gateways", GATEWAYS, namespace="default", name="g")
    assert not world.may(node, "list", "configmaps", namespace="default")
    assert not world.may(node, "create", "edgefunctions", EDGE)
    assert not world.may(node, "list", "secrets")


async def test_a_node_reads_every_kind_that_the_agent_follows(world: Any, make_user: Any) -> None:
    node = make_user("system:node:edge-1", "system:nodes")
    followed = NodeSlice(Client(LocalTransport(world.verbs, manager="test")))._all
    kinds = [informer._kind for informer in followed]
    unread = [kind.resource for kind in kinds if not world.may(node, "watch", kind.plural, kind.group)]
    assert unread == ["secrets"], "give system:node the kind (authorization/defaults.py), and tell it in the docs"


async def test_a_node_reads_secrets_that_a_gateway_names_and_no_other(world: Any, make_user: Any) -> None:
    node = make_user("system:node:edge-1", "system:nodes")
    impostor = make_user("system:node:edge-1")
    listener = {"name": "https", "port": 443, "protocol": "HTTPS"}
    tls = {"certificateRefs": [{"name": "cert"}, {"name": "far", "namespace": "kube-system"}]}
    spec = {"gatewayClassName": "skerry", "listeners": [{**listener, "tls": tls}]}
    secret = {"namespace": "default", "name": "cert"}
    assert not world.may(node, "get", "secrets", **secret)
    await world.create("Gateway", "g", place="default", spec=spec)
    assert all(world.may(node, verb, "secrets", **secret) for verb in ("get", "list", "watch"))
    assert not world.may(node, "update", "secrets", **secret)
    assert not world.may(impostor, "get", "secrets", **secret)
    assert not world.may(node, "list", "secrets", namespace="default")
    assert not world.may(node, "get", "secrets", namespace="kube-system", name="far")
    named = [rule.resource_names for rule in world.authorization.held_by(node, "default").rules if rule.resource_names]
    assert named == [["cert"]]
    await world.delete("Gateway", "g", "default")
    assert not world.may(node, "get", "secrets", **secret)
