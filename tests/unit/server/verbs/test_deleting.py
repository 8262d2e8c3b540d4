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


async def test_a_namespace_ends_with_its_contents(client: Any) -> None:
    await client.create(client.namespaces, client.config("team"))
    inside = Target(client.configs.kind, "team")
    for number in range(3):
        await client.create(inside, client.config(f"c{number}"))
    await client.create(client.configs, client.config("elsewhere"))
    assert (await client.delete(client.namespaces, "team")).gone
    with pytest.raises(NotFound):
        await client.get(client.namespaces, "team")
    assert await client.names(inside) == []
    assert await client.names(client.configs) == ["elsewhere"]


async def test_a_namespace_waits_for_the_finalizers_in_it(client: Any) -> None:
    await client.create(client.namespaces, client.config("team"))
    inside = Target(client.configs.kind, "team")
    await client.create(inside, client.config("held", finalizers=HOLD))
    await client.create(inside, client.config("free"))
    deleted = await client.delete(client.namespaces, "team")
    assert not deleted.gone
    assert deleted.object.document["status"]["phase"] == "Terminating"
    assert await client.names(inside) == ["held"]
    await client.verbs.patch(client.one(inside, "held"), merge_patch({"metadata": {"finalizers": []}}), NOW)
    with pytest.raises(NotFound):
        await client.get(client.namespaces, "team")


async def test_a_namespace_with_a_finalizer_of_its_own_goes_when_that_does(client: Any) -> None:
    await client.create(client.namespaces, client.config("team", finalizers=HOLD))
    assert not (await client.delete(client.namespaces, "team")).gone
    patch = merge_patch({"metadata": {"finalizers": []}})
    await client.verbs.patch(client.one(client.namespaces, "team"), patch, NOW)
    with pytest.raises(NotFound):
        await client.get(client.namespaces, "team")


async def test_a_start_finishes_the_end_of_a_namespace_that_a_crash_cut_short(client: Any) -> None:
    await client.create(client.namespaces, client.config("team", finalizers=HOLD))
    await client.delete(client.namespaces, "team")
    target = client.one(client.namespaces, "team")
    entry = await client.log.get(target.key)
    await client.log.put(
        target.key, entry.value.replace(b'"finalizers":["example.com/hold"],', b""), expected_revision=entry.revision
    )
    await client.verbs.bootstrap()
    with pytest.raises(NotFound):
        await client.get(client.namespaces, "team")


@pytest.mark.parametrize("name", ["default", "kube-system"])
async def test_system_namespaces_stay(client: Any, name: str) -> None:
    with pytest.raises(Forbidden, match="this namespace may not be deleted"):
        await client.delete(client.namespaces, name)
