"""Create, replace, patch: what they store, refuse and leave alone."""

import asyncio
from typing import Any

import pytest

from skerry.api.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound, RequestEntityTooLarge
from skerry.api.shapes import CONTAINERS_MAX, DEPTH_MAX
from skerry.server.verbs.metadata import ANNOTATIONS_BYTES_MAX
from skerry.server.verbs.patches.json_patch import json_patch
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.server.verbs.turns import RACES_MAX

NOW = WriteOptions()


def causes(error: pytest.ExceptionInfo[Invalid]) -> dict[str, str]:
    return {cause["field"]: cause["message"] for cause in error.value.details["causes"]}


async def test_create_makes_an_object_of_its_own(client: Any) -> None:
    given = client.function(uid="mine", generation=7, creationTimestamp="2001-01-01T00:00:00Z", labels={"a": "b"})
    written = await client.create(client.functions, {**given, "status": {"liveRevision": "x"}})
    document = written.object.document
    assert written.created
    assert document["apiVersion"] == "extensions.apoxy.dev/v1alpha2"
    assert document["kind"] == "EdgeFunction"
    assert document["metadata"]["generation"] == 1
    assert document["metadata"]["uid"] not in {"", "mine"}
    assert not document["metadata"]["creationTimestamp"].startswith("2001")
    assert document["metadata"]["resourceVersion"] == str(written.object.revision)
    assert document["metadata"]["labels"] == {"a": "b"}
    assert not document["status"].get("liveRevision")
    assert (await client.get(client.functions, "f")).document == document


async def test_core_kinds_have_no_generation(client: Any) -> None:
    written = await client.create(client.configs, client.config("c"))
    assert "generation" not in written.object.metadata


async def test_create_of_a_taken_name(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    with pytest.raises(AlreadyExists, match='^configmaps "c" already exists$'):
        await client.create(client.configs, client.config("c"))
    await client.create(client.configs, client.config("held", finalizers=["example.com/x"]))
    await client.delete(client.configs, "held")
    with pytest.raises(AlreadyExists, match='^object is being deleted: configmaps "held"'):
        await client.create(client.configs, client.config("held"))


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"apiVersion": "v2", "metadata": {"name": "c"}}, "the API version in the data .v2. does not match"),
        ({"kind": "Secret", "metadata": {"name": "c"}}, "the kind in the data .Secret. does not match"),
        ({"metadata": {"name": "c", "namespace": "other"}}, "the namespace of the provided object does not match"),
        ({"metadata": {"name": "c", "resourceVersion": "5"}}, "resourceVersion should not be set"),
    ],
)
async def test_create_of_something_else_than_the_path_says(client: Any, document: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        await client.create(client.configs, document)


async def test_every_error_of_an_object_is_told_at_once(client: Any) -> None:
    wrong = client.config(
        "Bad Name", labels={"-": "x"}, ownerReferences=[{"apiVersion": "", "kind": "K", "name": "n", "uid": "u"}]
    )
    with pytest.raises(Invalid) as error:
        await client.create(client.configs, {**wrong, "data": {"bad key": "x"}})
    fields = ["metadata.name", "metadata.labels", "metadata.ownerReferences[0].apiVersion", "data[bad key]"]
    assert list(causes(error)) == fields


async def test_a_broken_structure_is_told_together_with_a_broken_name(client: Any) -> None:
    with pytest.raises(Invalid) as error:
        await client.create(client.configs, {"metadata": {"name": "Bad"}, "data": {"a": 1}})
    assert list(causes(error)) == ["metadata.name", "data.a"]


async def test_a_name_is_required(client: Any) -> None:
    with pytest.raises(Invalid, match="name or generateName is required"):
        await client.create(client.configs, client.config())


async def test_generated_names_are_cut_and_end_in_five_characters(client: Any) -> None:
    written = await client.create(client.configs, {"metadata": {"generateName": "x" * 70}})
    assert len(written.object.metadata["name"]) == 63
    assert written.object.metadata["generateName"] == "x" * 70


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
async def test_unknown_and_duplicate_fields(client: Any, validation: Any) -> None:
    document = {**client.config("c"), "bogus": 1, "data": {"a": "1"}}
    options = {"field_validation": validation, "duplicates": ("data.a",)}
    if validation == "Strict":
        told = 'strict decoding error: unknown field "bogus", duplicate field "data.a"'
        with pytest.raises(BadRequest, match=told):
            await client.create(client.configs, document, **options)
        return
    written = await client.create(client.configs, document, **options)
    assert "bogus" not in written.object.document
    expected = ('unknown field "bogus"', 'duplicate field "data.a"') if validation == "Warn" else ()
    assert written.warnings == expected


async def test_namespaces_must_exist_and_not_be_ending(client: Any) -> None:
    with pytest.raises(NotFound, match='^namespaces "nowhere" not found$'):
        await client.create(Target(client.configs.kind, "nowhere"), client.config("c"))
    await client.create(client.namespaces, client.config("team", finalizers=["example.com/x"]))
    await client.delete(client.namespaces, "team")
    with pytest.raises(Forbidden, match="because it is being terminated") as error:
        await client.create(Target(client.configs.kind, "team"), client.config("c"))
    assert error.value.details["causes"][0]["reason"] == "NamespaceTerminating"


async def test_dry_runs_store_nothing(client: Any) -> None:
    before = await client.log.revision()
    written = await client.create(client.configs, client.config("c"), dry_run=True)
    assert written.object.metadata["uid"]
    assert "resourceVersion" not in written.object.metadata
    with pytest.raises(NotFound):
        await client.get(client.configs, "c")
    await client.create(client.configs, client.config("c"))
    patched = await client.verbs.patch(
        client.one(client.configs, "c"), merge_patch({"data": {"a": "b"}}), WriteOptions(dry_run=True)
    )
    assert patched.object.document["data"] == {"a": "b"}
    with pytest.raises(AlreadyExists):
        await client.create(client.configs, client.config("c"), dry_run=True)
    assert await client.log.revision() == before + 1


async def test_replace_needs_a_version_for_custom_kinds_only(client: Any) -> None:
    await client.create(client.functions, client.function())
    for absent in (client.function(), client.function(resourceVersion="0")):
        with pytest.raises(
            Invalid, match="metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        ):
            await client.verbs.replace(client.one(client.functions, "f"), absent, NOW)
    await client.create(client.configs, client.config("c"))
    written = await client.verbs.replace(client.one(client.configs, "c"), {"data": {"a": "b"}}, NOW)
    assert written.object.document["data"] == {"a": "b"}


async def test_replace_of_a_stale_version_conflicts(client: Any) -> None:
    stale = (await client.create(client.configs, client.config("c"))).object.fresh_document()
    target = client.one(client.configs, "c")
    await client.verbs.patch(target, merge_patch({"data": {"a": "1"}}), NOW)
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes to the latest version"):
        await client.verbs.replace(target, {**stale, "data": {"b": "2"}}, NOW)


async def test_replace_of_another_life_conflicts(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    with pytest.raises(Conflict, match="UID in precondition: other"):
        await client.verbs.replace(client.one(client.configs, "c"), client.config("c", uid="other"), NOW)


async def test_replace_of_what_is_not_there_creates_nothing(client: Any) -> None:
    with pytest.raises(NotFound):
        await client.verbs.replace(client.one(client.configs, "c"), client.config("c"), NOW)


async def test_an_object_keeps_its_identity(client: Any) -> None:
    first = (await client.create(client.configs, client.config("c"))).object.metadata
    target = client.one(client.configs, "c")
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await client.verbs.replace(target, client.config("d"), NOW)
    given = client.config("c", creationTimestamp="2001-01-01T00:00:00Z", deletionTimestamp="2001-01-01T00:00:00Z")
    second = (await client.verbs.replace(target, given, NOW)).object.metadata
    assert second == first


async def test_a_write_that_changes_nothing_keeps_the_version(client: Any) -> None:
    await client.create(client.functions, client.function())
    before = await client.get(client.functions, "f")
    target = client.one(client.functions, "f")
    patched = await client.verbs.patch(target, merge_patch({"metadata": {"labels": {}}}), NOW)
    replaced = await client.verbs.replace(target, before.fresh_document(), NOW)
    assert patched.object.json == replaced.object.json == before.json


async def test_the_generation_counts_changes_of_the_desire_only(client: Any) -> None:
    await client.create(client.functions, client.function())
    target = client.one(client.functions, "f")

    async def generation(patch: Any, at: Target) -> int:
        return int((await client.verbs.patch(at, merge_patch(patch), NOW)).object.metadata["generation"])

    assert await generation({"metadata": {"labels": {"a": "b"}}}, target) == 1
    assert await generation({"status": {"liveRevision": "r"}}, client.one(client.functions, "f", "status")) == 1
    assert await generation({"spec": {"revisionHistoryLimit": 3}}, target) == 2


async def test_status_and_the_rest_are_written_apart(client: Any) -> None:
    await client.create(client.functions, client.function())
    both = {"spec": {"revisionHistoryLimit": 3}, "status": {"liveRevision": "r"}, "metadata": {"labels": {"a": "b"}}}
    main = (await client.verbs.patch(client.one(client.functions, "f"), merge_patch(both), NOW)).object.document
    assert main["spec"]["revisionHistoryLimit"] == 3
    assert "liveRevision" not in main["status"]
    both["spec"] = {"revisionHistoryLimit": 4}
    both["metadata"] = {"labels": {"a": "c"}}
    status_target = client.one(client.functions, "f", "status")
    status = (await client.verbs.patch(status_target, merge_patch(both), NOW)).object.document
    assert status["spec"]["revisionHistoryLimit"] == 3
    assert status["metadata"]["labels"] == {"a": "b"}
    assert status["status"]["liveRevision"] == "r"


async def test_immutable_fields(client: Any) -> None:
    await client.create(client.secrets, {**client.config("s"), "stringData": {"a": "b"}, "immutable": True})
    with pytest.raises(Invalid) as error:
        await client.verbs.patch(
            client.one(client.secrets, "s"), merge_patch({"stringData": {"a": "c"}, "type": "t"}), NOW
        )
    assert causes(error) == {
        "type": 'Invalid value: "t": field is immutable',
        "data": "Forbidden: field is immutable when `immutable` is set",
    }


async def test_string_data_becomes_data(client: Any) -> None:
    written = await client.create(client.secrets, {**client.config("s"), "stringData": {"a": "b"}})
    assert written.object.document["data"] == {"a": "Yg=="}
    assert "stringData" not in written.object.document


async def test_a_json_patch_may_test_and_name_the_version(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    target = client.one(client.configs, "c")
    version = (await client.get(client.configs, "c")).metadata["resourceVersion"]
    add = {"op": "add", "path": "/data", "value": {"a": "b"}}
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    await client.verbs.patch(target, json_patch([test, add]), NOW)
    stale = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
    with pytest.raises(Conflict):
        await client.verbs.patch(target, json_patch([stale, {**add, "value": {}}]), NOW)


async def test_an_object_that_grows_over_the_limit_is_refused(client: Any) -> None:
    await client.create(client.functions, client.function(annotations={"a": "x"}))
    files = [{"path": f"{i}.js", "content": "x" * 1_000_000} for i in range(4)]
    patch = merge_patch(
        {"spec": {"template": {"code": {"jsSource": {"entrypoint": "0.js", "assets": {"files": files}}}}}}
    )
    with pytest.raises(RequestEntityTooLarge, match="limit is 3145728"):
        await client.verbs.patch(client.one(client.functions, "f"), patch, NOW)


async def test_annotations_are_bounded_together(client: Any) -> None:
    at_the_limit = {"a": "x" * (ANNOTATIONS_BYTES_MAX - 2), "b": ""}
    await client.create(client.configs, client.config("c", annotations=at_the_limit))
    with pytest.raises(Invalid) as error:
        await client.create(client.configs, client.config("d", annotations={**at_the_limit, "b": "x"}))
    assert causes(error) == {"metadata.annotations": f"Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes"}


@pytest.mark.parametrize(
    ("operations", "error", "told"),
    [
        (
            [
                {"op": "add", "path": "/data", "value": [[]] * 1000},
                *({"op": "copy", "from": "/data", "path": f"/{number}"} for number in range(CONTAINERS_MAX // 1000)),
            ],
            RequestEntityTooLarge,
            f"has 1000 items, and a document may have at most {CONTAINERS_MAX} objects and lists",
        ),
        (
            [{"op": "add", "path": "/a" * depth, "value": {}} for depth in range(1, DEPTH_MAX + 3)],
            BadRequest,
            "nested deeper than 200 levels",
        ),
    ],
    ids=["many", "deep"],
)
async def test_a_patch_makes_no_document_that_a_body_may_not_be(
    client: Any, operations: Any, error: type[Exception], told: str
) -> None:
    await client.create(client.configs, client.config("c"))
    with pytest.raises(error, match=told):
        await client.verbs.patch(client.one(client.configs, "c"), json_patch(operations), NOW)


async def test_any_number_of_patches_at_once_land(client: Any) -> None:
    await client.create(client.configs, client.config("c"))
    target = client.one(client.configs, "c")
    async with asyncio.TaskGroup() as group:
        for number in range(4 * RACES_MAX):
            group.create_task(client.verbs.patch(target, merge_patch({"data": {f"k{number}": "v"}}), NOW))
    assert len((await client.get(client.configs, "c")).document["data"]) == 4 * RACES_MAX


async def test_read_modify_write_loops_lose_no_update(client: Any) -> None:
    await client.create(client.configs, {**client.config("c"), "data": {"n": "0"}})
    target = client.one(client.configs, "c")

    async def increment() -> None:
        while True:
            document = (await client.get(client.configs, "c")).fresh_document()
            document["data"]["n"] = str(int(document["data"]["n"]) + 1)
            try:
                await client.verbs.replace(target, document, NOW)
            except Conflict:
                continue
            return

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(increment())
    assert (await client.get(client.configs, "c")).document["data"] == {"n": "20"}


async def test_bootstrap_can_be_repeated(client: Any) -> None:
    await client.verbs.bootstrap()
    assert await client.names(client.namespaces) == ["default", "kube-system"]
    assert (await client.get(client.namespaces, "default")).document["status"] == {"phase": "Active"}
