"""The python `kubernetes` client, typed and dynamic, against our API."""

import asyncio
from typing import Any

import kubernetes
import pytest
from kubernetes.dynamic import DynamicClient

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system


@pytest.fixture
def api(server: ApiServer) -> Any:
    config: Any = kubernetes.config  # untyped
    return config.new_client_from_config(str(server.kubeconfig))


async def test_the_typed_client_creates_patches_lists_and_deletes(api: Any) -> None:
    def session() -> None:
        core: Any = kubernetes.client.CoreV1Api(api)
        core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
        (found,) = core.list_namespaced_config_map("default", label_selector="!x").items
        assert found.data == {"a": "1", "b": "2"}
        found.data = {"c": "3"}
        assert core.replace_namespaced_config_map("c", "default", found).data == {"c": "3"}
        core.delete_namespaced_config_map("c", "default")
        with pytest.raises(kubernetes.client.ApiException) as error:
            core.read_namespaced_config_map("c", "default")
        assert error.value.status == 404

    await asyncio.to_thread(session)


async def test_the_dynamic_client_finds_our_kinds_by_discovery(api: Any, function: Any) -> None:
    def session() -> None:
        dynamic: Any = DynamicClient
        resource = dynamic(api).resources.get(api_version="extensions.apoxy.dev/v1alpha2", kind="EdgeFunction")
        assert resource.namespaced is False
        created = resource.create(body=function())
        assert created.metadata.generation == 1
        patch = {"spec": {"revisionHistoryLimit": 3}}
        patched = resource.patch(name="hello", body=patch, content_type="application/merge-patch+json")
        assert patched.metadata.generation == 2
        assert [item.metadata.name for item in resource.get().items] == ["hello"]
        resource.delete(name="hello")

    await asyncio.to_thread(session)


async def test_a_watch_resumes_where_the_list_ended(api: Any) -> None:
    def session() -> None:
        core: Any = kubernetes.client.CoreV1Api(api)
        version = core.list_namespaced_config_map("default").metadata.resource_version
        for name in ("a", "b"):
            core.create_namespaced_config_map("default", {"metadata": {"name": name}})
        core.delete_namespaced_config_map("a", "default")
        watcher: Any = kubernetes.watch  # untyped
        watcher, seen = watcher.Watch(), []
        for event in watcher.stream(core.list_namespaced_config_map, "default", resource_version=version):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 3:
                watcher.stop()
        assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]

    await asyncio.to_thread(session)
