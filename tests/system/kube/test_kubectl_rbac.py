"""Roles and bindings with the real kubectl: who may what, as it prints it, and as it makes it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.server.auth import TokenRecord, User, digest_of
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from tests.system.kube.conftest import until

pytestmark = pytest.mark.system

USERS = (
    User("alice", groups=("dev",)),
    User("bob"),
    User("system:node:edge-1", groups=("system:nodes",)),
    User("system:serviceaccount:build:ci", groups=("system:serviceaccounts",)),
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    tokens = [TokenRecord(digest_of(user.name), user) for user in USERS]
    async with run_api_server(tmp_path / "server", ApiServerParts(tokens=tokens)) as running:
        yield running


def by(user: str, *arguments: str) -> tuple[str, ...]:
    """Let a user run a command."""
    return (*arguments, f"--token={user}")


async def test_a_user_without_roles_is_told_what_it_may_not(kubectl: Any) -> None:
    assert await kubectl.fails(*by("alice", "get", "configmaps")) == (
        'Error from server (Forbidden): configmaps is forbidden: User "alice" cannot list resource "configmaps" '
        'in API group "" in the namespace "default"\n'
    )
    assert await kubectl.fails(*by("alice", "get", "edgefunction", "hello")) == (
        'Error from server (Forbidden): edgefunctions.extensions.apoxy.dev "hello" is forbidden: User "alice" cannot '
        'get resource "edgefunctions" in API group "extensions.apoxy.dev" at the cluster scope\n'
    )
    assert await kubectl.fails(*by("alice", "get", "ns", "default")) == (
        'Error from server (Forbidden): namespaces "default" is forbidden: User "alice" cannot get resource '
        '"namespaces" in API group "" in the namespace "default"\n'
    )
    assert 'User "alice" cannot get path "/metrics"' in await kubectl.fails(*by("alice", "get", "--raw", "/metrics"))
    assert "edgefunctions" in await kubectl.ok(*by("alice", "api-resources"))


async def test_the_edit_role_in_a_namespace(kubectl: Any) -> None:
    await kubectl.ok("create", "ns", "shop")
    created = await kubectl.ok("create", "rolebinding", "devs", "--clusterrole=edit", "--group=dev", "-n", "shop")
    assert created == "rolebinding.rbac.authorization.k8s.io/devs created\n"
    await kubectl.ok(*by("alice", "create", "cm", "c", "-n", "shop", "--from-literal=a=b"))
    await kubectl.ok(*by("alice", "create", "secret", "generic", "s", "-n", "shop"))
    await kubectl.ok(*by("alice", "delete", "cm", "c", "-n", "shop"))
    await kubectl.ok(*by("alice", "get", "ns", "shop"))
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "create", "cm", "c"))
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "delete", "ns", "shop"))
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "get", "rolebindings", "-n", "shop"))
    await kubectl.ok("delete", "rolebinding", "devs", "-n", "shop")
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "get", "cm", "-n", "shop"))


async def test_the_view_role_reads_no_secrets_and_writes_nothing(kubectl: Any) -> None:
    await kubectl.ok("create", "clusterrolebinding", "bob-views", "--clusterrole=view", "--user=bob")
    await kubectl.ok("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    await kubectl.ok(*by("bob", "get", "cm", "-A"))
    await kubectl.ok(*by("bob", "get", "edgefunctions"))
    told = await kubectl.fails(*by("bob", "get", "secret", "s", "-o", "yaml"))
    assert told == (
        'Error from server (Forbidden): secrets "s" is forbidden: User "bob" cannot get resource "secrets" '
        'in API group "" in the namespace "default"\n'
    )
    assert "is forbidden: User" in await kubectl.fails(*by("bob", "get", "secrets", "--watch"))
    assert "is forbidden: User" in await kubectl.fails(*by("bob", "create", "cm", "c"))


async def test_names_limit_a_role_in_reading_watching_and_changing(kubectl: Any, server: ApiServer) -> None:
    for name in ("mine", "other"):
        await kubectl.ok("create", "cm", name, "--from-literal=a=b")
    await kubectl.ok("create", "role", "one", "--verb=get,watch,list,patch", "--resource=cm", "--resource-name=mine")
    await kubectl.ok("create", "rolebinding", "one", "--role=one", "--user=alice")
    assert "mine" in await kubectl.ok(*by("alice", "get", "cm", "mine"))
    await kubectl.ok(*by("alice", "label", "cm", "mine", "a=b"))
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "get", "cm", "other"))
    assert "is forbidden: User" in await kubectl.fails(*by("alice", "get", "cm"))
    assert "mine" in await kubectl.ok(*by("alice", "get", "cm", "--field-selector=metadata.name=mine"))
    async with kubectl.lines(*by("alice", "get", "cm", "mine", "--watch-only")) as lines:
        await until(lambda: server.app.statistics()["streams"] == 1)
        await kubectl.ok("label", "cm", "mine", "seen=yes")
        assert (await lines.readline()).startswith(b"NAME")
        assert b"mine" in await lines.readline()


async def test_service_accounts_are_subjects(kubectl: Any) -> None:
    await kubectl.ok("create", "rolebinding", "ci", "--clusterrole=view", "--serviceaccount=build:ci")
    await kubectl.ok(*by("system:serviceaccount:build:ci", "get", "cm"))
    assert "is forbidden: User" in await kubectl.fails(*by("system:serviceaccount:build:ci", "get", "cm", "-A"))


async def test_nobody_gives_more_than_they_have(kubectl: Any) -> None:
    await kubectl.ok("create", "rolebinding", "alice", "--clusterrole=admin", "--user=alice")
    await kubectl.ok(*by("alice", "create", "role", "reader", "--verb=get,list", "--resource=secrets"))
    refused = await kubectl.fails(*by("alice", "create", "role", "more", "--verb=create", "--resource=events"))
    assert refused == (
        'Error from server (Forbidden): roles.rbac.authorization.k8s.io "more" is forbidden: user "alice" '
        '(groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["events"], Verbs:["create"]}\n'
    )
    binding = ("create", "rolebinding", "b", "--clusterrole=cluster-admin", "--user=alice")
    assert "not currently held" in await kubectl.fails(*by("alice", *binding))
    patch = json.dumps([{"op": "replace", "path": "/rules/0/verbs", "value": ["*"]}])
    refused = await kubectl.fails(*by("alice", "patch", "role", "reader", "--type=json", "-p", patch))
    assert '{APIGroups:[""], Resources:["secrets"], Verbs:["*"]}' in refused
    role = await kubectl.json("get", "role", "reader")
    role["rules"][0]["verbs"] = ["*"]
    for arguments in (["replace", "-f", "-"], ["apply", "--server-side", "--force-conflicts", "-f", "-"]):
        role["metadata"].pop("managedFields", None)
        refused = await kubectl.fails(*by("alice", *arguments), stdin=json.dumps(role))
        assert "not currently held" in refused
    await kubectl.ok(*by("alice", "create", "rolebinding", "bob", "--clusterrole=view", "--user=bob"))
    await kubectl.ok(*by("bob", "get", "cm"))


async def test_can_i(kubectl: Any) -> None:
    assert await kubectl.ok("auth", "can-i", "create", "edgefunctions") == "yes\n"
    assert (await kubectl.run(*by("alice", "auth", "can-i", "get", "cm"))).out == "no\n"
    await kubectl.ok("create", "rolebinding", "a", "--clusterrole=view", "--user=alice")
    assert await kubectl.ok(*by("alice", "auth", "can-i", "get", "cm")) == "yes\n"
    assert (await kubectl.run(*by("alice", "auth", "can-i", "get", "cm", "-n", "kube-system"))).out == "no\n"
    assert await kubectl.ok(*by("alice", "auth", "can-i", "get", "/api")) == "yes\n"
    assert await kubectl.ok("auth", "can-i", "get", "cm", "--as=alice", "--as-group=dev") == "yes\n"
    assert (await kubectl.run("auth", "can-i", "get", "secrets", "--as=alice", "--as-group=dev")).out == "no\n"
    assert await kubectl.ok(*by("alice", "auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"))
    listed = (await kubectl.ok(*by("alice", "auth", "can-i", "--list"))).splitlines()
    assert listed[0].split() == ["Resources", "Non-Resource", "URLs", "Resource", "Names", "Verbs"]
    shown = {line.split()[0]: line for line in listed[1:]}
    assert shown["configmaps"].endswith("[get list watch]")
    assert shown["selfsubjectaccessreviews.authorization.k8s.io"].endswith("[create]")
    assert "secrets" not in shown


async def test_auth_reconcile_makes_and_completes_roles_and_bindings(kubectl: Any) -> None:
    def objects(*verbs: str, subject: str) -> str:
        meta = {"name": "r", "namespace": "default"}
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(verbs)}
        version = "rbac.authorization.k8s.io/v1"
        role = {"apiVersion": version, "kind": "Role", "metadata": meta, "rules": [rule]}
        binding = {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": subject}],
        }
        return yaml.safe_dump_all([role, binding])

    out = await kubectl.ok("auth", "reconcile", "-f", "-", stdin=objects("get", subject="alice"))
    assert "role.rbac.authorization.k8s.io/r reconciled\n" in out
    await kubectl.ok("create", "cm", "x")
    await kubectl.ok(*by("alice", "get", "cm", "x"))
    await kubectl.ok("auth", "reconcile", "-f", "-", stdin=objects("list", subject="bob"))
    await kubectl.ok(*by("alice", "get", "cm"))
    await kubectl.ok(*by("bob", "get", "cm", "x"))
    role = await kubectl.json("get", "role", "r")
    assert sorted(verb for rule in role["rules"] for verb in rule["verbs"]) == ["get", "list"]


async def test_roles_and_bindings_are_made_and_shown_as_on_kubernetes(kubectl: Any) -> None:
    await kubectl.ok("create", "clusterrole", "probe", "--verb=get", "--non-resource-url=/metrics,/healthz/*")
    await kubectl.ok(
        "create", "clusterrole", "scaler", "--verb=patch", "--resource=gateways.gateway.networking.k8s.io/status"
    )
    assert (await kubectl.json("get", "clusterrole", "probe"))["rules"] == [
        {"nonResourceURLs": ["/metrics", "/healthz/*"], "verbs": ["get"]}
    ]
    assert (await kubectl.json("get", "clusterrole", "scaler"))["rules"][0]["resources"] == ["gateways/status"]
    made = ("create", "clusterrole", "gather", "--aggregation-rule=a=b,c=d")
    assert await kubectl.ok(*made) == "clusterrole.rbac.authorization.k8s.io/gather created\n"
    selectors = (await kubectl.json("get", "clusterrole", "gather"))["aggregationRule"]["clusterRoleSelectors"]
    assert selectors == [{"matchLabels": {"a": "b", "c": "d"}}]
    await kubectl.ok("create", "clusterrolebinding", "probe", "--clusterrole=probe", "--user=alice", "--group=dev")
    head, row = (await kubectl.ok("get", "clusterrolebinding", "probe", "-o", "wide")).splitlines()
    assert head.split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert row.split()[:2] == ["probe", "ClusterRole/probe"]
    assert row.split()[3:] == ["alice", "dev"]
    head, row = (await kubectl.ok("get", "clusterrole", "admin")).splitlines()
    assert head.split() == ["NAME", "CREATED", "AT"]
    assert row.split()[1].endswith("Z")
    assert "skerry" in await kubectl.ok(*by("alice", "get", "--raw", "/metrics"))
    assert "configmaps" in await kubectl.ok("describe", "clusterrole", "view")
    patch = json.dumps({"roleRef": {"name": "admin"}})
    refused = await kubectl.fails("patch", "clusterrolebinding", "probe", "-p", patch)
    assert refused == (
        'The ClusterRoleBinding "probe" is invalid: roleRef: Invalid value: '
        'rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"ClusterRole", Name:"admin"}: cannot change roleRef\n'
    )


async def test_a_node_sees_its_slice_only(kubectl: Any) -> None:
    node = "system:node:edge-1"
    for kind in ("gateways", "httproutes", "edgefunctions", "backends", "namespaces"):
        await kubectl.ok(*by(node, "get", kind, "-A"))
    for kind in ("secrets", "configmaps", "clusterroles"):
        assert "is forbidden: User" in await kubectl.fails(*by(node, "get", kind, "-A"))
    assert "is forbidden: User" in await kubectl.fails(*by(node, "create", "cm", "c"))
