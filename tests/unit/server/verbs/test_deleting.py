"""Delete: at once, held back, by preconditions, whole collections and whole namespaces."""

from typing import Any

import pytest

from skerry.api.errors import Conflict, Forbidden, Invalid, NotFound
from skerry.api.selectors import parse_label_selector
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.requests import DeleteOptions, ListOptions, Selection, Target, WriteOptions

NOW = WriteOptions()
HOLD = ["example.com/hold"]


async def test_delete_removes_and_tells_the_last_state(client: Any) -> None:
    created = (await client.create(client.configs, client.config("c"))).object
    deleted = await client.delete(client.configs, "c")
    assert deleted.gone
    assert deleted.object.metadata["uid"] == created.metadata["uid"]
    assert deleted.object.revision > created.revision
    with pytest.raises(NotFound):
        await client.delete(client.configs, "c")


async def test_finalizers_hold_an_object_back(client: Any) -> None:
    await client.create(client.functions, client.function(finalizers=HOLD))
    deleted = await client.delete(client.functions, "f")
    assert not deleted.gone
    assert deleted.object.metadata["deletionTimestamp"]
    assert deleted.object.metadata["deletionGracePeriodSeconds"] == 0
    assert deleted.object.metadata["generation"] == 2
    again = await client.delete(client.functions, "f")
    assert again.object.json == deleted.object.json
    target = client.one(client.functions, "f")
    with pytest.raises(
        Invalid,
        match="no new finalizers can be added if the object is being deleted, found new",
    ):
        await client.verbs.patch(target, merge_patch({"metadata": {"finalizers": [*HOLD, "x.io/y"]}}), NOW)
    await client.verbs.patch(target, merge_patch({"metadata": {"finalizers": None}}), NOW)
    with pytest.raises(NotFound):
        await client.get(client.functions, "f")


async def test_preconditions(client: Any) -> None:
    created = (await client.create(client.configs, client.config("c"))).object
    with pytest.raises(Conflict, match="UID in precondition: other"):
        await client.delete(client.configs, "c", uid="other")
    with pytest.raises(Conflict, match="ResourceVersion in precondition: 1"):
        await client.delete(client.configs, "c", resource_version="1")
    right = {"uid": created.metadata["uid"], "resource_version": str(created.revision)}
    assert (await client.delete(client.configs, "c", **right)).gone


async def test_a_dry_run_deletes_nothing(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    before = await client.log.revision()
    assert (await client.delete(client.configs, "c", dry_run=True)).gone
    assert await client.log.revision() == before


async def test_a_selected_part_of_a_collection(client: Any) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        await client.create(client.configs, client.config(name, labels={"l": label}))
    selected = ListOptions(Selection(parse_label_selector("l=x")))
    deleted = await client.verbs.delete_collection(client.configs, selected, DeleteOptions())
    assert [item.metadata["name"] for item in deleted.items] == ["a", "c"]
    assert await client.names(client.configs) == ["b"]


async def test_a_limit_bounds_how_many_of_a_collection_go(client: Any) -> None:
    for name in "abc":
        await client.create(client.configs, client.config(name))
    deleted = await client.verbs.delete_collection(client.configs, ListOptions(limit=2), DeleteOptions())
    assert [item.metadata["name"] for item in deleted.items] == ["a", "b"]
    assert await client.names(client.configs) == ["c"]


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_a_policy_holds_the_object_until_its_dependents_are_seen_to(
    client: Any, policy: str, finalizer: str
) -> None:
    await client.create(client.configs, client.config("c", finalizers=HOLD))
    deleted = await client.delete(client.configs, "c", propagation=policy)
    assert not deleted.gone
    assert deleted.object.metadata["finalizers"] == [*HOLD, finalizer]
    again = await client.delete(client.configs, "c", propagation=policy)
    assert again.object.json == deleted.object.json
    unspoken = await client.delete(client.configs, "c")
    assert unspoken.object.json == deleted.object.json


async def test_a_later_policy_replaces_an_earlier_one(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    first = await client.delete(client.configs, "c", propagation="Foreground")
    second = await client.delete(client.configs, "c", propagation="Orphan")
    assert second.object.metadata["finalizers"] == ["orphan"]
    assert second.object.metadata["deletionTimestamp"] == first.object.metadata["deletionTimestamp"]
    assert (await client.delete(client.configs, "c", propagation="Background")).gone


async def test_a_dry_run_of_a_policy_marks_nothing(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    before = await client.log.revision()
    would = await client.delete(client.configs, "c", propagation="Foreground", dry_run=True)
    assert would.object.metadata["finalizers"] == ["foregroundDeletion"]
    assert await client.log.revision() == before


async def test_a_namespace_is_marked_and_takes_nothing_new(client: Any) -> None:
    await client.create(client.namespaces, client.config("team"))
    deleted = await client.delete(client.namespaces, "team")
    assert not deleted.gone
    assert deleted.object.document["status"]["phase"] == "Terminating"
    assert deleted.object.metadata["deletionTimestamp"]
    assert "finalizers" not in deleted.object.metadata
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await client.create(Target(client.configs.kind, "team"), client.config("c"))


async def finalize(client: Any, name: str, finalizers: list[str]) -> None:
    document = (await client.get(client.namespaces, name)).fresh_document()
    document["spec"]["finalizers"] = finalizers
    await client.verbs.replace(client.one(client.namespaces, name, "finalize"), document, NOW)


async def test_a_namespace_goes_with_the_last_finalizer_of_its_spec_and_of_its_metadata(client: Any) -> None:
    for name in ("spec-last", "metadata-last"):
        await client.create(client.namespaces, client.config(name, finalizers=HOLD))
        await client.delete(client.namespaces, name)
    patch = merge_patch({"metadata": {"finalizers": []}})
    await finalize(client, "metadata-last", [])
    await client.get(client.namespaces, "metadata-last")
    await client.verbs.patch(client.one(client.namespaces, "metadata-last"), patch, NOW)
    await client.verbs.patch(client.one(client.namespaces, "spec-last"), patch, NOW)
    await client.get(client.namespaces, "spec-last")
    await finalize(client, "spec-last", [])
    assert not {"spec-last", "metadata-last"} & set(await client.names(client.namespaces))


async def test_only_finalize_changes_the_finalizers_of_a_namespaces_spec(client: Any) -> None:
    await client.create(client.namespaces, client.config("team"))
    target = client.one(client.namespaces, "team")
    await client.verbs.patch(target, merge_patch({"spec": {"finalizers": []}}), NOW)
    await client.verbs.replace(target, client.config("team"), NOW)
    assert (await client.get(client.namespaces, "team")).document["spec"] == {"finalizers": ["kubernetes"]}
    await finalize(client, "team", [])
    assert (await client.get(client.namespaces, "team")).document["spec"] == {"finalizers": []}


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_system_namespaces_stay(client: Any, name: str) -> None:
    with pytest.raises(Forbidden, match="this namespace may not be deleted"):
        await client.delete(client.namespaces, name)
