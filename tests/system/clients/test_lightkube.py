"""lightkube: core models and generic resources, as its users call it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import create_global_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.types import CascadeType, PatchType

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

EdgeFunction = create_global_resource("extensions.apoxy.dev", "v1alpha2", "EdgeFunction", "edgefunctions")


@pytest.fixture
def client(server: ApiServer) -> Iterator[Any]:
    with Client(config=KubeConfig.from_file(str(server.kubeconfig)), field_manager="lightkube") as opened:
        yield opened


def config(name: str, **labels: str) -> ConfigMap:
    meta = ObjectMeta(name=name, namespace="default", labels=labels or None)
    return ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=meta, data={"a": "1"})


def test_create_get_replace_and_delete(client: Any) -> None:
    created = client.create(config("c"))
    created.data = {"b": "2"}
    assert client.replace(created).data == {"b": "2"}
    with pytest.raises(ApiError, match="the object has been modified") as stale:
        client.replace(created)
    assert stale.value.status.reason == "Conflict"
    client.delete(ConfigMap, "c", cascade=CascadeType.FOREGROUND)
    with pytest.raises(ApiError, match='configmaps "c" not found'):
        client.get(ConfigMap, "c")


@pytest.mark.parametrize(
    ("patch_type", "patch"),
    [
        (PatchType.JSON, [{"op": "add", "path": "/data/b", "value": "2"}]),
        (PatchType.MERGE, {"data": {"b": "2"}}),
        (PatchType.STRATEGIC, {"data": {"b": "2"}}),
    ],
)
def test_patch_of_each_type(client: Any, patch_type: PatchType, patch: Any) -> None:
    client.create(config("c"))
    assert client.patch(ConfigMap, "c", patch, patch_type=patch_type).data == {"a": "1", "b": "2"}


def test_apply(client: Any) -> None:
    first = client.apply(config("c"))
    assert client.apply(config("c")).metadata.resourceVersion == first.metadata.resourceVersion
    other = config("c")
    other.data = {"a": "2"}
    with pytest.raises(ApiError, match='conflict with "lightkube": .data.a'):
        client.apply(other, field_manager="other")
    assert client.apply(other, field_manager="other", force=True).data == {"a": "2"}
    assert client.apply(config("dry"), dry_run=True).metadata.uid
    assert [cm.metadata.name for cm in client.list(ConfigMap)] == ["c"]


def test_lists_in_chunks_and_by_selectors(client: Any) -> None:
    for number in range(7):
        client.create(config(f"c{number}", parity="even" if number % 2 == 0 else "odd"))

    def names(**options: Any) -> list[str]:
        return [found.metadata.name for found in client.list(ConfigMap, **options)]

    assert names(chunk_size=3) == [f"c{number}" for number in range(7)]
    assert names(chunk_size=2, labels={"parity": "odd"}) == ["c1", "c3", "c5"]
    assert names(labels={"parity": ["odd", "none"]}) == ["c1", "c3", "c5"]
    assert names(fields={"metadata.name": "c2"}) == ["c2"]
    assert len(list(client.list(ConfigMap, namespace="*"))) == 7
    client.deletecollection(ConfigMap)
    assert names() == []


def test_a_watch_tells_every_change_and_starts_over_when_its_history_is_gone(
    client: Any, forget_history: Callable[[], None]
) -> None:
    version = client.create(config("c")).metadata.resourceVersion
    client.patch(ConfigMap, "c", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    client.delete(ConfigMap, "c")
    seen = []
    for event, found in client.watch(ConfigMap, resource_version=version):
        seen.append((event, found.metadata.name))
        if event == "DELETED":
            break
    assert seen == [("MODIFIED", "c"), ("DELETED", "c")]
    forget_history()
    with pytest.raises(ApiError, match="too old resource version") as expired:
        next(client.watch(ConfigMap, resource_version=version))
    assert expired.value.status.code == 410


def test_generic_resources_of_our_kinds(client: Any, function: Any) -> None:
    client.create(EdgeFunction(**function))
    patched = client.patch(EdgeFunction, "hello", {"spec": {"revisionHistoryLimit": 3}}, patch_type=PatchType.MERGE)
    assert patched.metadata.generation == 2
    with pytest.raises(ApiError, match="not supported|unknown format") as refused:
        client.patch(EdgeFunction, "hello", {"spec": {}}, patch_type=PatchType.STRATEGIC)
    assert refused.value.response.status_code == 415

    def report(condition_type: str) -> None:
        condition = {"type": condition_type, "status": "True", "reason": "Seen", "message": "told"}
        conditions = [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        status = {"status": {"conditions": conditions}}
        client.patch(EdgeFunction.Status, "hello", status, patch_type=PatchType.MERGE)

    report("Ready")
    assert client.wait(EdgeFunction, "hello", for_conditions=["Ready"]).metadata.name == "hello"
    report("Failed")
    with pytest.raises(ConditionError, match="told"):
        client.wait(EdgeFunction, "hello", for_conditions=["Ready"], raise_for_conditions=["Failed"])
    client.delete(EdgeFunction, "hello")
    assert list(client.list(EdgeFunction)) == []


async def test_the_asynchronous_client(server: ApiServer) -> None:
    client: Any = AsyncClient(config=KubeConfig.from_file(str(server.kubeconfig)))
    await client.create(Namespace(metadata=ObjectMeta(name="team")))
    names = [found.metadata.name async for found in client.list(Namespace, chunk_size=1)]
    assert names == ["default", "kube-system", "team"]
    async for event, found in client.watch(Namespace, fields={"metadata.name": "team"}):
        assert (event, found.metadata.name) == ("ADDED", "team")
        break
    await client.close()
