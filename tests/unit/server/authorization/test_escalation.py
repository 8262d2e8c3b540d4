"""Nobody gives more than they have, by whatever verb."""

from typing import Any

import pytest

from skerry.api.errors import Forbidden, NotFound
from skerry.server.auth import ADMINISTRATORS
from skerry.server.verbs.apply.configuration import configuration
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import WriteOptions

RBAC = "rbac.authorization.k8s.io"
LACKING = (
    'user "alice" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
)


@pytest.fixture
async def alice(world: Any, make_user: Any) -> Any:
    """Admin of the namespace `default`, who may read there and give it on, and nothing else."""
    await world.bind("alice-admin", "admin", "alice", place="default")
    return make_user("alice", "dev")


async def test_a_role_may_hold_what_its_writer_holds(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("mine", make_rule("get list", "configmaps secrets"), by=alice, place="default")


async def test_a_role_may_not_hold_more_than_its_writer(world: Any, alice: Any, make_rule: Any) -> None:
    with pytest.raises(Forbidden) as refused:
        await world.role("more", make_rule("get impersonate", "configmaps users"), by=alice, place="default")
    assert refused.value.public == (
        f'roles.{RBAC} "more" is forbidden: {LACKING}'
        '{APIGroups:[""], Resources:["configmaps"], Verbs:["impersonate"]}\n'
        '{APIGroups:[""], Resources:["users"], Verbs:["get" "impersonate"]}'
    )
    with pytest.raises(NotFound):
        await world.verbs.get(world.target("Role", "default", "more"))


async def test_what_is_held_in_one_namespace_is_not_held_in_another(world: Any, alice: Any, make_rule: Any) -> None:
    for place in ("kube-system", ""):
        with pytest.raises(Forbidden, match="not currently held"):
            await world.role("r", make_rule("get", "configmaps"), by=alice, place=place)


async def test_patch_replace_and_apply_are_checked_by_their_outcome(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("mine", make_rule("get", "configmaps"), by=alice, place="default")
    target, options = world.target("Role", "default", "mine"), WriteOptions(user=alice, manager="m")
    more = {"rules": [make_rule("impersonate", "users")]}
    with pytest.raises(Forbidden, match="not currently held"):
        await world.verbs.patch(target, MergePatch(more), options)
    with pytest.raises(Forbidden, match="not currently held"):
        await world.verbs.replace(target, {"metadata": {"name": "mine"}, **more}, options)
    named = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "mine"}, **more}
    forced = WriteOptions(user=alice, manager="m", force=True)
    with pytest.raises(Forbidden, match="not currently held"):
        await world.verbs.apply(target, configuration(named), forced, lambda: None)
    absent = world.target("Role", "default", "new")
    named["metadata"] = {"name": "new"}
    with pytest.raises(Forbidden, match="not currently held"):
        await world.verbs.apply(absent, configuration(named), forced, lambda: None)
    assert (await world.verbs.get(target)).document["rules"] == [make_rule("get", "configmaps")]


async def test_a_dry_run_is_refused_like_the_write(world: Any, alice: Any, make_rule: Any) -> None:
    target = world.target("Role", "default")
    document = {"metadata": {"name": "r"}, "rules": [make_rule("impersonate", "users")]}
    with pytest.raises(Forbidden):
        await world.verbs.create(target, document, WriteOptions(user=alice, dry_run=True))


async def test_a_change_that_grants_nothing_new_is_not_a_grant(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("strong", make_rule("impersonate", "users"), place="default")
    target, options = world.target("Role", "default", "strong"), WriteOptions(user=alice)
    await world.verbs.patch(target, MergePatch({"metadata": {"finalizers": ["x.io/y"]}}), options)
    with pytest.raises(Forbidden):
        await world.verbs.patch(target, MergePatch({"metadata": {"labels": {"a": "b"}}}), options)


async def test_escalate_allows_what_is_not_held(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("escalator", make_rule("escalate", "roles", RBAC), place="default")
    await world.bind("escalator", "role:escalator", "alice", place="default")
    await world.role("strong", make_rule("impersonate", "users"), by=alice, place="default")


async def test_a_binding_may_give_what_its_writer_holds(world: Any, alice: Any) -> None:
    await world.bind("bob-views", "view", "bob", by=alice, place="default")


async def test_a_binding_may_not_give_more(world: Any, alice: Any) -> None:
    with pytest.raises(Forbidden) as refused:
        await world.bind("bob-rules", "cluster-admin", "bob", by=alice, place="default")
    assert refused.value.public == (
        f'rolebindings.{RBAC} "bob-rules" is forbidden: {LACKING}'
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    with pytest.raises(Forbidden):
        await world.bind("bob-views", "view", "bob", by=alice)


async def test_a_binding_to_a_role_that_is_not_there_is_not_found(world: Any, alice: Any) -> None:
    with pytest.raises(NotFound, match=f'role.{RBAC} "nothing" not found'):
        await world.bind("b", "role:nothing", "bob", by=alice, place="default")


async def test_bind_allows_giving_a_role_that_is_not_held(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("binder", make_rule("bind", "clusterroles", RBAC, "cluster-admin"), place="default")
    await world.bind("binder", "role:binder", "alice", place="default")
    await world.bind("bob-rules", "cluster-admin", "bob", by=alice, place="default")
    with pytest.raises(Forbidden):
        await world.bind("bob-rules", "cluster-admin", "bob", by=alice)


async def test_only_who_holds_everything_aggregates(world: Any, make_user: Any, make_rule: Any) -> None:
    await world.role("writer", make_rule("create update", "clusterroles", RBAC))
    await world.bind("writer", "writer", "carol")
    await world.bind("root", "cluster-admin", "root")
    selecting = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use an aggregationRule"):
        await world.role("all", by=make_user("carol"), **selecting)
    await world.role("all", by=make_user("root"), **selecting)


async def test_administrators_and_skerry_itself_are_not_checked(world: Any, make_user: Any, make_rule: Any) -> None:
    await world.delete("ClusterRoleBinding", "cluster-admin")
    await world.role("a", make_rule("x", "y", "z"), by=make_user("root", ADMINISTRATORS))
    await world.role("b", make_rule("x", "y", "z"))


def function(name: str, namespace: str, repository: str = "https://git.example/a") -> dict[str, Any]:
    git = {"repository": repository, "credentialsRef": {"name": "git", "namespace": namespace}}
    code = {"jsSource": {"entrypoint": "index.js", "git": git}}
    return {"metadata": {"name": name}, "spec": {"template": {"code": code}}}


async def test_code_is_brought_with_a_secret_by_those_only_who_may_read_it(world: Any, alice: Any) -> None:
    target, options = world.target("EdgeFunction"), WriteOptions(user=alice, manager="m")
    await world.verbs.create(target, function("mine", "default"), options)
    with pytest.raises(Forbidden, match='cannot get resource "secrets"'):
        await world.verbs.create(target, function("theirs", "kube-system"), options)


async def test_a_revision_and_a_native_filter_are_brought_likewise(world: Any, alice: Any, make_rule: Any) -> None:
    await world.role("revisions", make_rule("create", "edgefunctionrevisions", "extensions.apoxy.dev"))
    await world.bind("revisions", "revisions", "alice")
    options = WriteOptions(user=alice, manager="m")
    reference = {"group": "", "kind": "Secret", "name": "pull", "namespace": "kube-system"}
    oci = {"repo": "registry.example/a", "credentialsRef": reference}
    template = {"mode": "filter", "code": {"goPluginSource": {"oci": oci}}}
    for kind, spec in (("EdgeFunction", {"template": template}), ("EdgeFunctionRevision", template)):
        with pytest.raises(Forbidden, match='cannot get resource "secrets"'):
            await world.verbs.create(world.target(kind), {"metadata": {"name": "native"}, "spec": spec}, options)


async def test_the_code_of_another_with_a_secret_is_not_led_elsewhere(world: Any, alice: Any) -> None:
    target, options = world.target("EdgeFunction", "", "theirs"), WriteOptions(user=alice, manager="m")
    await world.verbs.create(world.target("EdgeFunction"), function("theirs", "kube-system"), WriteOptions())
    await world.verbs.patch(target, MergePatch({"metadata": {"labels": {"seen": "by-alice"}}}), options)
    elsewhere = function("theirs", "kube-system", "https://alice.example/mine")
    with pytest.raises(Forbidden, match='cannot get resource "secrets"'):
        await world.verbs.patch(target, MergePatch(elsewhere), options)
