"""Server-side apply and managedFields through the verbs, on every driver of the log."""

import asyncio
from typing import Any

import pytest

from skerry.api.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound
from skerry.server.verbs.apply.client_side import ANNOTATION
from skerry.server.verbs.apply.configuration import configuration
from skerry.server.verbs.patches.json_patch import json_patch
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.requests import WriteOptions, Written

CONDITION = {
    "type": "Ready", "status": "True", "reason": "Up", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"
}  # fmt: skip


def config(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **fields}


async def apply(client: Any, document: Any, manager: str = "one", target: Any = None, **options: Any) -> Written:
    wanted: Written = await client.verbs.apply(
        target or client.one(client.configs, "c"),
        configuration(document),
        WriteOptions(manager=manager, **options),
        lambda: None,
    )
    return wanted


async def patch(client: Any, document: Any, manager: str = "two", target: Any = None) -> Written:
    target = target or client.one(client.configs, "c")
    written: Written = await client.verbs.patch(target, merge_patch(document), WriteOptions(manager=manager))
    return written


def owners(written: Written) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in written.object.metadata.get("managedFields", [])}


async def test_apply_creates_then_updates_then_keeps_the_version(client: Any) -> None:
    created = await apply(client, config(data={"a": "1"}))
    assert created.created
    again = await apply(client, config(data={"a": "1"}))
    assert (again.created, again.object.json) == (False, created.object.json)
    changed = await apply(client, config(data={"b": "1"}))
    assert changed.object.document["data"] == {"b": "1"}
    assert owners(changed) == {"one": {"f:data": {"f:b": {}}}}


async def test_a_new_owner_of_equal_values_is_a_change(client: Any) -> None:
    created = await apply(client, config(data={"a": "1"}))
    shared = await apply(client, config(data={"a": "1"}), "two")
    assert shared.object.revision > created.object.revision
    assert set(owners(shared)) == {"one", "two"}


async def test_a_conflict_tells_manager_and_field_and_changes_nothing(client: Any) -> None:
    await client.create(client.configs, config(data={"a": "1"}), manager="creator")
    with pytest.raises(Conflict) as refused:
        await apply(client, config(data={"a": "2"}))
    assert refused.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Conflict",
        "code": 409,
        "message": 'Apply failed with 1 conflict: conflict with "creator" using v1: .data.a',
        "details": {
            "causes": [
                {"reason": "FieldManagerConflict", "message": 'conflict with "creator" using v1', "field": ".data.a"}
            ]
        },
    }
    assert (await client.get(client.configs, "c")).document["data"] == {"a": "1"}
    forced = await apply(client, config(data={"a": "2"}), force=True)
    assert owners(forced) == {"creator": {"f:data": {}}, "one": {"f:data": {"f:a": {}}}}


async def test_conflicts_are_grouped_by_manager(client: Any) -> None:
    await apply(client, config(data={"x": "1"}), "a")
    await patch(client, {"data": {"y": "1", "z": "1"}}, "b")
    with pytest.raises(Conflict) as refused:
        await apply(client, config(data={"x": "2", "y": "2", "z": "2"}))
    assert refused.value.public == (
        'Apply failed with 3 conflicts: conflicts with "a":\n- .data.x\n'
        'conflicts with "b" using v1:\n- .data.y\n- .data.z'
    )


async def test_status_belongs_to_its_own_endpoint(client: Any) -> None:
    main, status = client.one(client.functions, "f"), client.one(client.functions, "f", "status")
    document = {"apiVersion": "extensions.apoxy.dev/v1alpha2", "kind": "EdgeFunction", **client.function()}
    await apply(client, {**document, "status": {"conditions": [CONDITION]}}, target=main)
    assert "conditions" not in (await client.get(client.functions, "f")).document.get("status", {})
    await patch(client, {"status": {"conditions": [CONDITION]}}, "controller", target=status)
    wanted = {**document, "spec": {}, "status": {"conditions": [{**CONDITION, "status": "False"}]}}
    with pytest.raises(Conflict) as refused:
        await apply(client, wanted, "one", target=status)
    assert refused.value.public == (
        'Apply failed with 1 conflict: conflict with "controller" with subresource "status" using '
        'extensions.apoxy.dev/v1alpha2: .status.conditions[type="Ready"].status'
    )
    written = await apply(client, wanted, "one", target=status, force=True)
    assert "template" in written.object.document["spec"]
    entries = [(e["manager"], e.get("subresource")) for e in written.object.metadata["managedFields"]]
    assert entries == [("one", None), ("one", "status"), ("controller", "status")]


async def test_apply_to_the_status_of_nothing_is_not_found(client: Any) -> None:
    document = {"apiVersion": "extensions.apoxy.dev/v1alpha2", "kind": "EdgeFunction", "status": {}}
    with pytest.raises(NotFound):
        await apply(client, document, target=client.one(client.functions, "f", "status"))


@pytest.mark.parametrize(
    ("document", "error", "told"),
    [
        (config(metadata={"managedFields": []}), BadRequest, "metadata.managedFields must be nil"),
        ({"kind": "ConfigMap"}, BadRequest, "Incorrect version specified in apply patch"),
        (config(apiVersion="v2"), BadRequest, "Specified patch version: v2, expected: v1"),
        (config(kind="Secret"), BadRequest, "the kind in the data"),
        (config(metadata=3), Invalid, "metadata"),
        (config(metadata={"name": "other"}), BadRequest, "does not match the name on the URL"),
        (config(data={"a": 1}), Invalid, "must be of type string"),
        (config(data="x"), Invalid, "must be of type object"),
        (config(metadata={"resourceVersion": "999999"}), Conflict, "the object has been modified"),
        (config(metadata={"uid": "u"}), Conflict, "(?i)uid"),
        (config(metadata={"finalizers": ["a.b/c", "a.b/c"]}), Invalid, "Duplicate value"),
        (
            config(metadata={"ownerReferences": [{"name": "x"}]}),
            Invalid,
            r"metadata.ownerReferences\[0\].uid: Required",
        ),
    ],
)
@pytest.mark.parametrize("found", ["nothing", "an object"])
async def test_what_is_wrong_is_told(client: Any, document: Any, error: Any, told: str, found: str) -> None:
    if found == "an object":
        await apply(client, config(data={"a": "1"}))
    with pytest.raises(error, match=told):
        await apply(client, document)


async def test_unknown_fields_are_dropped_warned_of_or_refused(client: Any) -> None:
    document = config(data={"a": "1"}, bogus={"x": 1})
    with pytest.raises(BadRequest, match='strict decoding error: unknown field "bogus"'):
        await apply(client, document, field_validation="Strict")
    written = await apply(client, document, field_validation="Warn")
    assert written.warnings == ('unknown field "bogus"',)
    assert owners(written) == {"one": {"f:data": {"f:a": {}}}}
    assert (await apply(client, document, field_validation="Ignore")).warnings == ()


async def test_who_may_not_create_may_still_change(client: Any) -> None:
    def refuse() -> None:
        raise Forbidden("no")

    target, wanted = client.one(client.configs, "c"), configuration(config())
    with pytest.raises(Forbidden):
        await client.verbs.apply(target, wanted, WriteOptions(manager="one"), refuse)
    await client.create(client.configs, config())
    await client.verbs.apply(target, wanted, WriteOptions(manager="one"), refuse)


async def test_a_dry_run_stores_nothing(client: Any) -> None:
    assert (await apply(client, config(data={"a": "1"}), dry_run=True)).created
    with pytest.raises(NotFound):
        await client.get(client.configs, "c")
    stored = await apply(client, config(data={"a": "1"}))
    dry = await apply(client, config(data={"a": "2"}), dry_run=True)
    assert dry.object.document["data"] == {"a": "2"}
    assert (await client.get(client.configs, "c")).json == stored.object.json


async def test_generation_counts_applied_changes_of_the_spec(client: Any) -> None:
    target = client.one(client.functions, "f")
    document = {"apiVersion": "extensions.apoxy.dev/v1alpha2", "kind": "EdgeFunction", **client.function()}
    assert (await apply(client, document, target=target)).object.metadata["generation"] == 1
    assert (await apply(client, document, "two", target=target)).object.metadata["generation"] == 1
    document["spec"]["revisionHistoryLimit"] = 2
    assert (await apply(client, document, target=target)).object.metadata["generation"] == 2


async def test_every_write_is_recorded_under_its_manager(client: Any) -> None:
    await client.create(client.configs, config(data={"a": "1"}), manager="one")
    written = await patch(client, {"data": {"b": "2"}}, "two")
    document = written.object.fresh_document()
    document["data"]["a"] = "3"
    replaced = await client.verbs.replace(client.one(client.configs, "c"), document, WriteOptions(manager="three"))
    assert owners(replaced) == {
        "one": {"f:data": {}},
        "two": {"f:data": {"f:b": {}}},
        "three": {"f:data": {"f:a": {}}},
    }


async def test_what_nobody_owns_is_not_owned(client: Any) -> None:
    created = await client.create(client.configs, config(metadata={"name": "c", "labels": {"l": "1"}}), manager="one")
    [entry] = created.object.metadata["managedFields"]
    assert entry["fieldsV1"] == {"f:metadata": {"f:labels": {".": {}, "f:l": {}}}}
    assert entry["time"] == created.object.metadata["creationTimestamp"]


async def test_a_write_that_changes_nothing_keeps_version_and_owners(client: Any) -> None:
    created = await client.create(client.configs, config(data={"a": "1"}), manager="one")
    assert (await patch(client, {"data": {"a": "1"}}, "two")).object.json == created.object.json


async def test_managed_fields_in_a_body_are_honoured(client: Any) -> None:
    created = await apply(client, config(data={"a": "1"}))
    fields = created.object.fresh_document()["metadata"]["managedFields"]
    fields[0]["manager"] = "renamed"
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": fields}]
    patched = await client.verbs.patch(
        client.one(client.configs, "c"), json_patch(operations), WriteOptions(manager="two")
    )
    assert set(owners(patched)) == {"renamed"}
    assert patched.object.revision > created.object.revision


@pytest.mark.parametrize("reset", [[], [{}]])
async def test_owners_are_reset_until_the_next_apply(client: Any, reset: Any) -> None:
    await apply(client, config(data={"a": "1"}))
    cleared = await patch(client, {"metadata": {"managedFields": reset}})
    assert "managedFields" not in cleared.object.metadata
    untracked = await patch(client, {"data": {"b": "1"}})
    assert "managedFields" not in untracked.object.metadata
    applied = await apply(client, config(data={"a": "1"}))
    assert owners(applied) == {
        "one": {"f:data": {"f:a": {}}},
        "before-first-apply": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
    }


async def test_managed_fields_that_are_no_list_are_refused_by_type(client: Any) -> None:
    await apply(client, config())
    with pytest.raises(Invalid, match="metadata.managedFields"):
        await patch(client, {"metadata": {"managedFields": "x"}})


async def test_a_replacement_without_managed_fields_keeps_them(client: Any) -> None:
    await apply(client, config(data={"a": "1"}))
    replaced = await client.verbs.replace(
        client.one(client.configs, "c"), config(data={"a": "1"}), WriteOptions(manager="two")
    )
    assert owners(replaced) == {"one": {"f:data": {"f:a": {}}}}


def last_applied(**data: str) -> dict[str, str]:
    written = '{"apiVersion":"v1","data":{%s},"kind":"ConfigMap","metadata":{"name":"c"}}'
    return {ANNOTATION: written % ",".join(f'"{name}":"{text}"' for name, text in data.items())}


async def test_kubectl_takes_over_what_client_side_apply_wrote(client: Any) -> None:
    meta = {"name": "c", "annotations": last_applied(a="1", b="1")}
    await client.create(client.configs, config(metadata=meta, data={"a": "1", "b": "1"}), manager="client-side")
    with pytest.raises(Conflict):
        await apply(client, config(data={"a": "2"}), "another")
    written = await apply(client, config(data={"a": "2"}), "kubectl")
    assert written.object.document["data"] == {"a": "2", "b": "1"}
    assert written.object.metadata["annotations"][ANNOTATION] == (
        '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"c"}}\n'
    )
    assert (await apply(client, config(data={"a": "2"}), "kubectl")).object.json == written.object.json


async def test_kubectl_does_not_take_over_what_another_has_changed_since(client: Any) -> None:
    meta = {"name": "c", "annotations": last_applied(a="1", b="1")}
    await client.create(client.configs, config(metadata=meta, data={"a": "1", "b": "1"}), manager="client-side")
    await patch(client, {"data": {"b": "9"}}, "two")
    with pytest.raises(Conflict) as refused:
        await apply(client, config(data={"a": "2", "b": "2"}), "kubectl")
    assert refused.value.public == 'Apply failed with 1 conflict: conflict with "two" using v1: .data.b'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apiVersion":"v2"}', '{"apiVersion":"v1","metadata":3}'])
async def test_an_annotation_that_can_not_be_read_allows_nothing(client: Any, text: str) -> None:
    meta = {"name": "c", "annotations": {ANNOTATION: text}}
    await client.create(client.configs, config(metadata=meta, data={"a": "1"}), manager="client-side")
    with pytest.raises(Conflict):
        await apply(client, config(data={"a": "2"}), "kubectl")


async def test_an_annotation_that_would_be_too_large_is_dropped(client: Any) -> None:
    meta = {"name": "c", "annotations": last_applied(a="1")}
    await client.create(client.configs, config(metadata=meta, data={"a": "1"}), manager="client-side")
    written = await apply(client, config(data={"a": "x" * 300_000}), "kubectl")
    assert "annotations" not in written.object.metadata


async def test_concurrent_applies_of_many_managers_all_count(client: Any) -> None:

    async with asyncio.TaskGroup() as group:
        for index in range(4):
            group.create_task(apply(client, config(data={f"k{index}": "1"}), f"m{index}"))
    found = await client.get(client.configs, "c")
    assert len(found.document["data"]) == 4
    assert len(found.metadata["managedFields"]) == 4


async def test_a_create_after_an_apply_finds_the_name_taken(client: Any) -> None:
    await apply(client, config())
    with pytest.raises(AlreadyExists):
        await client.create(client.configs, config())
