"""The python `kubernetes` client's dynamic API: it finds everything by discovery."""

from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

FUNCTION = {"api_version": "extensions.apoxy.dev/v1alpha2", "kind": "EdgeFunction"}
APPLIED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


@pytest.fixture
def dynamic(server: ApiServer, tmp_path: Path) -> Any:
    loading: Any = kubernetes.config  # untyped
    client: Any = kubernetes.dynamic.DynamicClient
    cache = tmp_path / "discovery.json"  # by default one for all servers that ever had this port
    return client(loading.new_client_from_config(str(server.kubeconfig)), cache_file=str(cache))


def test_it_creates_patches_lists_and_deletes_our_kinds(dynamic: Any, function: Any) -> None:
    functions = dynamic.resources.get(**FUNCTION)
    assert functions.namespaced is False
    assert functions.create(body=function).metadata.generation == 1
    patch = {"spec": {"revisionHistoryLimit": 3}}
    patched = functions.patch(name="hello", body=patch, content_type="application/merge-patch+json")
    assert patched.metadata.generation == 2
    assert [item.metadata.name for item in functions.get().items] == ["hello"]
    functions.delete(name="hello")
    with pytest.raises(NotFoundError):
        functions.get(name="hello")


def test_it_finds_every_kind_by_its_short_name(dynamic: Any) -> None:
    assert dynamic.resources.get(short_names=["ef"]).kind == "EdgeFunction"
    assert dynamic.resources.get(short_names=["cm"]).kind == "ConfigMap"


def test_it_writes_status_apart_from_the_rest(dynamic: Any, function: Any) -> None:
    functions = dynamic.resources.get(**FUNCTION)
    functions.create(body=function)
    body = {"spec": {"revisionHistoryLimit": 9}, "status": {"liveRevision": "hello-1"}}
    patched = functions.status.patch(name="hello", body=body, content_type="application/merge-patch+json")
    assert patched.status.liveRevision == "hello-1"
    assert patched.metadata.generation == 1
    assert patched.spec.revisionHistoryLimit != 9


def test_it_applies(dynamic: Any) -> None:
    configs = dynamic.resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager: str, value: str, **options: Any) -> Any:
        body = {**APPLIED, "data": {"a": value}}
        return configs.server_side_apply(body=body, namespace="default", field_manager=manager, **options)

    created = apply("py", "1")
    assert apply("py", "1").metadata.resourceVersion == created.metadata.resourceVersion
    with pytest.raises(ConflictError) as refused:
        apply("other", "2")
    error: Any = refused.value  # untyped
    assert error.summary() == 'Apply failed with 1 conflict: conflict with "py": .data.a'
    forced = apply("other", "2", force_conflicts=True)
    assert [entry.manager for entry in forced.metadata.managedFields] == ["other"]


def test_it_watches_from_a_version(dynamic: Any, function: Any) -> None:
    functions = dynamic.resources.get(**FUNCTION)
    version = functions.get().metadata.resourceVersion
    functions.create(body=function)
    functions.delete(name="hello")
    seen = []
    for event in functions.watch(resource_version=version, timeout=60):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "hello"), ("DELETED", "hello")]
