"""kr8s, blocking and asynchronous, as its users call it."""

from typing import Any

import kr8s
import kr8s.asyncio
import pytest

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

FUNCTION: dict[str, Any] = {
    "kind": "EdgeFunction", "version": "extensions.apoxy.dev/v1alpha2", "plural": "edgefunctions", "namespaced": False,
}  # fmt: skip


@pytest.fixture
def api(server: ApiServer) -> Any:
    return kr8s.api(kubeconfig=str(server.kubeconfig))


def config(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


def test_create_patch_label_annotate_and_delete(api: Any) -> None:
    cm = kr8s.objects.ConfigMap(config("c"), api=api)
    assert not cm.exists()
    cm.create()
    assert cm.exists()
    cm.patch({"data": {"b": "2"}})
    cm.patch([{"op": "remove", "path": "/data/a"}], type="json")
    cm.label(tier="front")
    cm.label({"zone": "a"})
    cm.remove_label("zone")
    cm.annotate(note="mine")
    cm.refresh()
    assert (dict(cm.data), dict(cm.labels), dict(cm.annotations)) == ({"b": "2"}, {"tier": "front"}, {"note": "mine"})
    cm.delete()
    cm.wait("delete", timeout=60)
    assert not cm.exists()


def test_get_by_name_and_by_selectors(api: Any) -> None:
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        kr8s.objects.ConfigMap(config(name, tier=tier), api=api).create()

    def names(*wanted: str, **selectors: Any) -> list[str]:
        return [found.name for found in api.get("configmaps", *wanted, **selectors)]

    assert names() == ["a", "b", "c"]
    assert names("b", "c") == ["b", "c"]
    assert names(label_selector="tier=front") == ["a", "c"]
    assert names(label_selector={"tier": "back"}) == ["b"]
    assert names(field_selector={"metadata.name": "a"}) == ["a"]
    assert kr8s.objects.ConfigMap.get("b", api=api).name == "b"
    assert kr8s.objects.ConfigMap.get(label_selector={"tier": "back"}, api=api).name == "b"
    with pytest.raises(kr8s.NotFoundError):
        kr8s.objects.ConfigMap.get("nothing", api=api, timeout=1)


def test_a_list_longer_than_the_clients_pages(api: Any) -> None:
    wanted = [f"c{number:03}" for number in range(205)]
    for name in wanted:
        kr8s.objects.ConfigMap(config(name), api=api).create()
    assert [found.name for found in api.get("configmaps")] == wanted


def test_our_kinds_are_found_by_discovery(api: Any, function: Any) -> None:
    assert ("EdgeFunction", "extensions.apoxy.dev/v1alpha2") in {
        (resource["kind"], resource["version"]) for resource in api.api_resources()
    }
    created = kr8s.objects.new_class(**FUNCTION)(function, api=api)
    created.create()
    (found,) = api.get("edgefunctions.extensions.apoxy.dev")
    assert found.name == "hello"
    condition = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    created.patch({"status": {"conditions": [condition]}}, subresource="status")
    created.wait("condition=Ready", timeout=60)
    created.wait("jsonpath='{.metadata.name}'=hello", timeout=60)


def test_who_am_i(api: Any) -> None:
    assert api.whoami() == "admin"


def test_version(api: Any) -> None:
    assert api.version()["gitVersion"].startswith("v1.32.")


async def test_the_asynchronous_client_watches_and_waits(server: ApiServer, function: Any) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(server.kubeconfig))
    new: Any = await kr8s.asyncio.objects.ConfigMap(config("c", tier="front"), api=api)
    await new.create()
    seen = []
    async for event, found in api.watch("configmaps", namespace="default", label_selector="tier=front"):
        seen.append((event, found.name))
        match len(seen):
            case 1:
                await new.patch({"data": {"b": "2"}})
            case 2:
                await new.label(tier="back")  # out of the selection
            case 3:
                break
    assert seen == [("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "c")]
    await new.delete(propagation_policy="Background")
    await new.wait("delete", timeout=60)
    made: Any = await kr8s.asyncio.objects.new_class(**FUNCTION)(function, api=api)
    await made.create()
    (listed,) = [one async for one in api.get("edgefunctions", field_selector="metadata.name=hello")]
    assert str(listed) == "hello"
