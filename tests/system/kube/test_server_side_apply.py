"""kubectl's server-side apply, and field ownership, as on Kubernetes."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.system

SSA = ("apply", "--server-side", "-f", "-")


def config(**data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})


async def managers(kubectl: Any, *what: str) -> dict[tuple[str, str], Any]:
    found = json.loads(await kubectl.ok("get", *what, "--show-managed-fields", "-o", "json"))
    entries = found["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry for entry in entries}


async def test_apply_creates_then_changes_then_finds_nothing_to_do(kubectl: Any, function: Any) -> None:
    assert await kubectl.ok(*SSA, stdin=json.dumps(function())) == (
        "edgefunction.extensions.apoxy.dev/hello serverside-applied\n"
    )
    first = (await kubectl.json("get", "ef", "hello", "--show-managed-fields"))["metadata"]
    await kubectl.ok(*SSA, stdin=json.dumps(function()))
    again = (await kubectl.json("get", "ef", "hello", "--show-managed-fields"))["metadata"]
    assert again == first
    await kubectl.ok(*SSA, stdin=json.dumps(function(labels={"a": "b"})))
    assert (await kubectl.json("get", "ef", "hello"))["metadata"]["labels"] == {"a": "b"}
    [entry] = first["managedFields"]
    assert entry.pop("time")
    files: dict[str, Any] = {".": {}, "f:content": {}, "f:path": {}}
    code = {"f:jsSource": {"f:assets": {"f:files": {'k:{"path":"index.js"}': files}}, "f:entrypoint": {}}}
    assert entry == {
        "manager": "kubectl",
        "operation": "Apply",
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:template": {"f:code": code, "f:mode": {}}}},
    }


async def test_a_conflict_names_manager_and_field_and_force_takes_the_field(kubectl: Any) -> None:
    await kubectl.ok(*SSA, "--field-manager=other", stdin=config(a="1", b="2"))
    told = await kubectl.fails(*SSA, stdin=config(a="3"))
    assert 'Apply failed with 1 conflict: conflict with "other": .data.a' in told
    assert "Please review the fields above" in told
    told = await kubectl.fails(*SSA, stdin=config(a="3", b="4"))
    assert 'Apply failed with 2 conflicts: conflicts with "other":\n- .data.a\n- .data.b' in told
    await kubectl.ok(*SSA, "--force-conflicts", stdin=config(a="3"))
    found = await managers(kubectl, "cm", "c")
    assert found["other", "Apply"]["fieldsV1"] == {"f:data": {"f:b": {}}}
    assert found["kubectl", "Apply"]["fieldsV1"] == {"f:data": {"f:a": {}}}


async def test_the_same_value_is_owned_together(kubectl: Any) -> None:
    await kubectl.ok(*SSA, "--field-manager=other", stdin=config(a="1"))
    await kubectl.ok(*SSA, stdin=config(a="1"))
    await kubectl.ok(*SSA, stdin=config(b="1"))
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "1", "b": "1"}


async def test_fields_left_out_are_removed(kubectl: Any) -> None:
    await kubectl.ok(*SSA, stdin=config(a="1", b="2"))
    await kubectl.ok("patch", "cm", "c", "--type=merge", "-p", '{"data":{"mine":"3"}}')
    await kubectl.ok(*SSA, stdin=config(b="2"))
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"b": "2", "mine": "3"}


async def test_client_side_apply_hands_over_to_server_side_apply(kubectl: Any, function: Any) -> None:
    for document in (function(labels={"a": "b"}), json.loads(config(a="1"))):
        kind, name = document["kind"], document["metadata"]["name"]
        await kubectl.ok("apply", "-f", "-", stdin=json.dumps(document))
        document["metadata"]["labels"] = {"a": "c"}
        await kubectl.ok(*SSA, stdin=json.dumps(document))
        found = await managers(kubectl, kind, name)
        # kubectl keeps the annotation under a name of its own, as long as it is there
        assert set(found) == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
        before = await kubectl.json("get", kind, name, "--show-managed-fields")
        outcome = await kubectl.run(*SSA, stdin=json.dumps(document))
        assert (outcome.code, outcome.err) == (0, "")
        assert await kubectl.json("get", kind, name, "--show-managed-fields") == before
        # and what was applied on the client's side and is left out now is removed
        del document["metadata"]["labels"]
        await kubectl.ok(*SSA, stdin=json.dumps(document))
        assert "labels" not in (await kubectl.json("get", kind, name))["metadata"]


async def test_every_way_to_write_is_recorded(kubectl: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=config(a="1"))
    await kubectl.ok("label", "cm", "c", "tier=front")
    await kubectl.ok("edit", "cm", "c", KUBE_EDITOR='sed -i s/\\"1\\"/\\"2\\"/')
    await kubectl.ok("annotate", "cm", "c", "note=mine", "--field-manager=me")
    found = await managers(kubectl, "cm", "c")
    assert {manager: entry["fieldsV1"] for (manager, _), entry in found.items()} == {
        "kubectl-create": {"f:data": {}},
        "kubectl-label": {"f:metadata": {"f:labels": {".": {}, "f:tier": {}}}},
        "kubectl-edit": {"f:data": {"f:a": {}}},
        "me": {"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}},
    }
    told = await kubectl.fails(*SSA, stdin=config(a="3"))
    assert 'conflict with "kubectl-edit" using v1: .data.a' in told


async def test_managed_fields_are_shown_only_when_asked_for(kubectl: Any) -> None:
    await kubectl.ok(*SSA, stdin=config(a="1"))
    assert "managedFields" not in await kubectl.ok("get", "cm", "c", "-o", "yaml")
    assert "managedFields" in await kubectl.ok("get", "cm", "c", "-o", "yaml", "--show-managed-fields")


async def test_diff_and_dry_run_change_nothing(kubectl: Any) -> None:
    dry = await kubectl.ok(*SSA, "--dry-run=server", stdin=config(a="1"))
    assert dry == "configmap/c serverside-applied (server dry run)\n"
    await kubectl.fails("get", "cm", "c")
    await kubectl.ok(*SSA, stdin=config(a="1"))
    assert await kubectl.ok("diff", "--server-side", "-f", "-", stdin=config(a="1")) == ""
    differing = await kubectl.run("diff", "--server-side", "-f", "-", stdin=config(a="2"))
    assert differing.code == 1
    assert '-  a: "1"\n+  a: "2"' in differing.out
    await kubectl.ok(*SSA, "--dry-run=server", stdin=config(a="2"))
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "1"}


async def test_unknown_fields_are_refused_by_name(kubectl: Any, function: Any) -> None:
    document = function()
    document["spec"]["bogus"] = 1
    told = await kubectl.fails(*SSA, stdin=json.dumps(document))
    assert 'strict decoding error: unknown field "spec.bogus"' in told
    outcome = await kubectl.run(*SSA, "--validate=warn", stdin=json.dumps(document))
    assert outcome.code == 0
    assert 'Warning: unknown field "spec.bogus"' in outcome.err


async def test_apply_set_prunes_what_is_left_out(kubectl: Any) -> None:
    arguments = ("apply", "--prune", "--applyset=set", "-n", "default", "-f", "-")
    items = [json.loads(config(a="1")), json.loads(config(a="1").replace('"c"', '"d"'))]
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await kubectl.ok(*arguments, stdin=both, KUBECTL_APPLYSET="true")
    pruned = await kubectl.ok(*arguments, stdin=config(a="1"), KUBECTL_APPLYSET="true")
    assert "configmap/d pruned" in pruned
