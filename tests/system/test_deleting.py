"""Deleting, with the real kubectl on a whole Skerry: dependents, finalizers, namespaces, and crashes in between."""

import json
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

HOLD = "example.com/hold"


def config(
    name: str, *owners: dict[str, Any], namespace: str = "default", finalizers: tuple[str, ...] = ()
) -> dict[str, Any]:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references, "finalizers": list(finalizers)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def create(skerry: SkerryProcess, *objects: dict[str, Any]) -> dict[str, Any]:
    """Create objects; return the last as stored."""
    stored = ""
    for document in objects:
        stored = skerry.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(document))
    found: dict[str, Any] = json.loads(stored)
    return found


def get(skerry: SkerryProcess, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(skerry.kubectl("get", *arguments, "-o", "json"))
    return found


def exists(skerry: SkerryProcess, *arguments: str) -> bool:
    return bool(skerry.kubectl("get", *arguments, "--ignore-not-found", "-o", "name"))


def release(skerry: SkerryProcess, *arguments: str) -> None:
    skerry.kubectl("patch", *arguments, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def condition(namespace: dict[str, Any], condition_type: str) -> dict[str, Any]:
    found = [c for c in namespace["status"].get("conditions", ()) if c["type"] == condition_type]
    return found[0] if found else {"status": "", "message": ""}


def test_background_lets_the_owner_go_and_collects_its_dependents(skerry: SkerryProcess):
    owner = create(skerry, config("back"))
    create(skerry, config("back-child", owner, finalizers=(HOLD,)))
    skerry.kubectl("delete", "cm", "back", "--cascade=background")
    assert not exists(skerry, "cm", "back")
    until(lambda: "deletionTimestamp" in get(skerry, "cm", "back-child")["metadata"])
    release(skerry, "cm", "back-child")
    assert not exists(skerry, "cm", "back-child")


def test_foreground_keeps_the_owner_until_its_dependents_are_gone(skerry: SkerryProcess):
    owner = create(skerry, config("fore"))
    create(skerry, config("fore-child", owner, finalizers=(HOLD,)))
    skerry.kubectl("delete", "cm", "fore", "--cascade=foreground", "--wait=false")
    until(lambda: "deletionTimestamp" in get(skerry, "cm", "fore-child")["metadata"])
    held = get(skerry, "cm", "fore")["metadata"]
    assert held["finalizers"] == ["foregroundDeletion"]
    assert held["deletionTimestamp"]
    release(skerry, "cm", "fore-child")
    skerry.kubectl("wait", "--for=delete", "cm/fore", "--timeout=30s")
    assert not exists(skerry, "cm", "fore-child")


def test_orphan_lets_the_owner_go_and_keeps_its_dependents(skerry: SkerryProcess):
    owner = create(skerry, config("orph"))
    create(skerry, config("orph-child", owner))
    skerry.kubectl("delete", "cm", "orph", "--cascade=orphan")
    assert not exists(skerry, "cm", "orph")
    assert "ownerReferences" not in get(skerry, "cm", "orph-child")["metadata"]


def test_an_owner_that_never_was_or_is_elsewhere_keeps_nothing(skerry: SkerryProcess):
    skerry.kubectl("create", "ns", "far")
    far = create(skerry, config("owner", namespace="far"))
    bogus = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bogus", "uid": "bogus"}}
    create(skerry, config("of-bogus", bogus), config("of-far", far))
    until(lambda: not exists(skerry, "cm", "of-bogus", "of-far"))
    assert exists(skerry, "cm", "owner", "-n", "far")


def test_a_namespace_goes_with_its_contents_before_kubectl_returns(skerry: SkerryProcess):
    skerry.kubectl("create", "ns", "team")
    create(skerry, *(config(f"c{number}", namespace="team") for number in range(3)))
    skerry.kubectl("create", "secret", "generic", "s", "-n", "team")
    skerry.kubectl("delete", "ns", "team")
    assert not exists(skerry, "ns", "team")
    assert "No resources found" in skerry.kubectl("get", "cm,secret", "-n", "team")


def test_a_namespace_that_is_held_back_says_by_what(skerry: SkerryProcess):
    skerry.kubectl("create", "ns", "held")
    create(skerry, config("free", namespace="held"), config("stuck", namespace="held", finalizers=(HOLD,)))
    skerry.kubectl("delete", "ns", "held", "--wait=false")
    until(lambda: condition(get(skerry, "ns", "held"), "NamespaceContentRemaining")["status"] == "True")
    assert "Terminating" in skerry.kubectl("get", "ns", "held")
    namespace = get(skerry, "ns", "held")
    assert condition(namespace, "NamespaceContentRemaining")["message"] == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert condition(namespace, "NamespaceFinalizersRemaining")["message"] == (
        f"Some content in the namespace has finalizers remaining: {HOLD} in 1 resource instances"
    )
    refused = skerry.kubectl("create", "cm", "late", "-n", "held", fails=True)
    assert "unable to create new content in namespace held because it is being terminated" in refused
    release(skerry, "cm", "stuck", "-n", "held")
    skerry.kubectl("wait", "--for=delete", "ns/held", "--timeout=30s")


def test_finalize_lets_a_namespace_go_by_hand(skerry: SkerryProcess):
    skerry.kubectl("create", "ns", "forced")
    create(skerry, config("stuck", namespace="forced", finalizers=(HOLD,)))
    skerry.kubectl("delete", "ns", "forced", "--wait=false")
    until(lambda: condition(get(skerry, "ns", "forced"), "NamespaceContentRemaining")["status"] == "True")
    namespace = get(skerry, "ns", "forced")
    namespace["spec"]["finalizers"] = []
    skerry.kubectl("replace", "--raw", "/api/v1/namespaces/forced/finalize", "-f", "-", stdin=json.dumps(namespace))
    assert not exists(skerry, "ns", "forced")
    release(skerry, "cm", "stuck", "-n", "forced")


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_system_namespaces_stay(skerry: SkerryProcess, name: str):
    path = f"/api/v1/namespaces/{name}"
    assert "this namespace may not be deleted" in skerry.kubectl("delete", "--raw", path, fails=True)


def test_kill_9_in_the_middle_loses_no_deletion(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.kubectl("create", "ns", "big")
        many = [config(f"c{number:03}", namespace="big") for number in range(300)]
        skerry.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": many}))
        create(skerry, config("stuck", namespace="big", finalizers=(HOLD,)))
        owners = {name: create(skerry, config(name)) for name in ("back", "fore", "orph")}
        for name, owner in owners.items():
            create(skerry, config(f"of-{name}", owner, finalizers=(HOLD,)))
        for name, cascade in (("back", "background"), ("fore", "foreground"), ("orph", "orphan")):
            skerry.kubectl("delete", "cm", name, f"--cascade={cascade}", "--wait=false")
        skerry.kubectl("delete", "ns", "big", "--wait=false")
        skerry.kill()
        skerry.start()
        release(skerry, "cm", "stuck", "-n", "big")
        for name in owners:
            release(skerry, "cm", f"of-{name}")
        skerry.kubectl("wait", "--for=delete", "ns/big", "--timeout=60s")
        until(lambda: not exists(skerry, "cm", "back", "fore", "orph", "of-back", "of-fore"))
        assert "ownerReferences" not in get(skerry, "cm", "of-orph")["metadata"]
        assert "No resources found" in skerry.kubectl("get", "cm", "-n", "big")
