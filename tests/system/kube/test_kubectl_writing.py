"""kubectl's writing commands leave the objects that they leave on Kubernetes, and print what they print there."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.system


async def test_apply_creates_then_configures_then_finds_nothing_to_do(kubectl: Any, function: Any) -> None:
    created = await kubectl.ok("apply", "-f", "-", stdin=json.dumps(function()))
    again = await kubectl.ok("apply", "-f", "-", stdin=json.dumps(function()))
    changed = await kubectl.ok("apply", "-f", "-", stdin=json.dumps(function(labels={"a": "b"})))
    assert created == "edgefunction.extensions.apoxy.dev/hello created\n"
    assert again == "edgefunction.extensions.apoxy.dev/hello unchanged\n"
    assert changed == "edgefunction.extensions.apoxy.dev/hello configured\n"
    found = await kubectl.json("get", "ef", "hello")
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["generation"] == 1


async def test_apply_drops_what_the_new_manifest_leaves_out(kubectl: Any) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    await kubectl.ok("apply", "-f", "-", stdin=json.dumps(config))
    await kubectl.ok("apply", "-f", "-", stdin=json.dumps({**config, "data": {"a": "3"}}))
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "3"}


async def test_a_changed_spec_bumps_the_generation(kubectl: Any, function: Any) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=json.dumps(function()))
    patch = '{"spec":{"template":{"runtime":{"timeout":"5s"}}}}'
    await kubectl.ok("patch", "ef", "hello", "--type=merge", "-p", patch)
    assert (await kubectl.json("get", "ef", "hello"))["metadata"]["generation"] == 2


async def test_typed_creates_send_protobuf_and_are_understood(kubectl: Any) -> None:
    assert await kubectl.ok("create", "namespace", "team") == "namespace/team created\n"
    await kubectl.ok("create", "secret", "generic", "s", "-n", "team", "--from-literal=key=value")
    await kubectl.ok("create", "configmap", "c", "-n", "team", "--from-literal=key=value")
    secret = await kubectl.json("get", "secret", "s", "-n", "team")
    assert secret["data"] == {"key": "dmFsdWU="}
    assert secret["type"] == "Opaque"
    assert (await kubectl.json("get", "cm", "c", "-n", "team"))["data"] == {"key": "value"}


async def test_label_and_annotate(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    await kubectl.ok("label", "ef", "hello", "tier=front")
    await kubectl.ok("annotate", "ef", "hello", "note=mine")
    await kubectl.ok("label", "ef", "hello", "tier-")
    metadata = (await kubectl.json("get", "ef", "hello"))["metadata"]
    assert "labels" not in metadata
    assert metadata["annotations"] == {"note": "mine"}


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("json", '[{"op": "add", "path": "/data/b", "value": "2"}]'),
        ("merge", '{"data": {"b": "2"}}'),
        ("strategic", '{"data": {"b": "2"}}'),
    ],
)
async def test_patch_in_every_format(kubectl: Any, kind: str, patch: str) -> None:
    await kubectl.ok("create", "cm", "c", "--from-literal=a=1")
    assert await kubectl.ok("patch", "cm", "c", f"--type={kind}", "-p", patch) == "configmap/c patched\n"
    assert await kubectl.ok("patch", "cm", "c", f"--type={kind}", "-p", patch) == "configmap/c patched (no change)\n"
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "1", "b": "2"}


async def test_strategic_patch_of_a_custom_kind_is_refused_by_name(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    told = await kubectl.fails("patch", "ef", "hello", "--type=strategic", "-p", "{}")
    assert "application/strategic-merge-patch+json is not supported by extensions.apoxy.dev/v1alpha2" in told


async def test_edit_of_a_core_and_a_custom_kind(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "cm", "c", "--from-literal=a=before")
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    assert await kubectl.ok("edit", "cm", "c", EDITOR="sed -i s/before/after/") == "configmap/c edited\n"
    await kubectl.ok("edit", "ef", "hello", EDITOR="sed -i s/backend/filter/")
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "after"}
    assert (await kubectl.json("get", "ef", "hello"))["spec"]["template"]["mode"] == "filter"


async def test_replace_needs_the_newest_version(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    stale = await kubectl.json("get", "ef", "hello")
    await kubectl.ok("label", "ef", "hello", "a=b")
    told = await kubectl.fails("replace", "-f", "-", stdin=json.dumps(stale))
    assert 'Operation cannot be fulfilled on edgefunctions.extensions.apoxy.dev "hello"' in told
    assert "please apply your changes to the latest version and try again" in told
    fresh = await kubectl.json("get", "ef", "hello")
    assert await kubectl.ok("replace", "-f", "-", stdin=json.dumps(fresh)) == (
        "edgefunction.extensions.apoxy.dev/hello replaced\n"
    )


async def test_diff_shows_the_change_and_makes_none(kubectl: Any, function: Any) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=json.dumps(function()))
    before = await kubectl.json("get", "ef", "hello")
    shown = await kubectl.run("diff", "-f", "-", stdin=json.dumps(function(labels={"new": "label"})))
    assert shown.code == 1, shown
    assert "+    new: label" in shown.out
    assert await kubectl.json("get", "ef", "hello") == before
    assert (await kubectl.run("diff", "-f", "-", stdin=json.dumps(function()))).code == 0


async def test_server_side_dry_run_stores_nothing(kubectl: Any, function: Any) -> None:
    told = await kubectl.ok("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(function()))
    assert told == "edgefunction.extensions.apoxy.dev/hello created (server dry run)\n"
    assert "not found" in await kubectl.fails("get", "ef", "hello")


async def test_delete_waits_until_the_object_is_gone(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    assert await kubectl.ok("delete", "ef", "hello") == 'edgefunction.extensions.apoxy.dev "hello" deleted\n'
    assert "not found" in await kubectl.fails("get", "ef", "hello")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function(finalizers=["example.com/hold"])))
    async with kubectl.lines("delete", "ef", "hello") as lines:
        assert b"deleted" in await lines.readline()
        held = await kubectl.json("get", "ef", "hello")
        assert held["metadata"]["deletionTimestamp"]
        await kubectl.ok("patch", "ef", "hello", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert await lines.read() == b""  # the deletion that waited has ended
    assert "not found" in await kubectl.fails("get", "ef", "hello")


async def test_a_system_namespace_stays(kubectl: Any) -> None:
    assert "this namespace may not be deleted" in await kubectl.fails("delete", "ns", "default")


async def test_generated_names(kubectl: Any) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}}
    first = await kubectl.ok("create", "-f", "-", "-o", "name", stdin=json.dumps(config))
    second = await kubectl.ok("create", "-f", "-", "-o", "name", stdin=json.dumps(config))
    assert first.startswith("configmap/c-")
    assert first != second


async def test_a_label_is_overwritten_only_when_that_is_asked_for(kubectl: Any) -> None:
    await kubectl.ok("create", "cm", "c")
    await kubectl.ok("label", "cm", "c", "tier=front")
    assert "already has a value (front)" in await kubectl.fails("label", "cm", "c", "tier=back")
    assert await kubectl.ok("label", "--overwrite", "cm", "c", "tier=back") == "configmap/c labeled\n"
    assert (await kubectl.json("get", "cm", "c"))["metadata"]["labels"] == {"tier": "back"}


async def test_replace_by_force_makes_the_object_anew(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function(labels={"a": "b"})))
    before = (await kubectl.json("get", "ef", "hello"))["metadata"]
    told = await kubectl.ok("replace", "--force", "-f", "-", stdin=json.dumps(function()))
    after = (await kubectl.json("get", "ef", "hello"))["metadata"]
    assert told.endswith("edgefunction.extensions.apoxy.dev/hello replaced\n")
    assert after["uid"] != before["uid"]
    assert "labels" not in after


async def test_status_is_written_as_a_subresource_of_its_own(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function()))
    patch = '{"spec":{"revisionHistoryLimit":9},"status":{"liveRevision":"hello-1"}}'
    await kubectl.ok("patch", "ef", "hello", "--subresource=status", "--type=merge", "-p", patch)
    found = await kubectl.json("get", "ef", "hello", "--subresource=status")
    assert found["status"]["liveRevision"] == "hello-1"
    assert found["spec"].get("revisionHistoryLimit") != 9
    assert found["metadata"]["generation"] == 1
    found["status"]["liveRevision"] = "hello-2"
    await kubectl.ok("replace", "--subresource=status", "-f", "-", stdin=json.dumps(found))
    await kubectl.ok("patch", "ef", "hello", "--type=merge", "-p", '{"status":{"liveRevision":"hello-3"}}')
    assert (await kubectl.json("get", "ef", "hello"))["status"]["liveRevision"] == "hello-2"


async def test_prune_by_label_deletes_what_the_manifests_leave_out(kubectl: Any) -> None:
    arguments = ("apply", "--prune", "-l", "app=x", "--prune-allowlist=core/v1/ConfigMap", "-f", "-")

    def manifests(*names: str) -> str:
        items = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "labels": {"app": "x"}}} for n in names
        ]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    await kubectl.ok("create", "cm", "bystander")
    await kubectl.ok("label", "cm", "bystander", "app=x")  # which no apply made
    await kubectl.ok(*arguments, stdin=manifests("a", "b"))
    told = await kubectl.ok(*arguments, stdin=manifests("a"))
    assert told == "configmap/a unchanged\nconfigmap/b pruned\n"
    assert await kubectl.ok("get", "cm", "-o", "name") == "configmap/a\nconfigmap/bystander\n"


@pytest.mark.parametrize("command", [("create",), ("apply", "--server-side"), ("apply",)])
async def test_a_server_side_dry_run_shows_the_object_that_would_be(kubectl: Any, command: tuple[str, ...]) -> None:
    config = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    shown = json.loads(
        await kubectl.ok(*command, "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(config))
    )
    assert shown["metadata"]["uid"]
    assert shown["type"] == "Opaque"
    assert "not found" in await kubectl.fails("get", "secret", "s")
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(config))
    await kubectl.ok("delete", "secret", "s", "--dry-run=server")
    assert await kubectl.ok("get", "secret", "s", "-o", "name") == "secret/s\n"
