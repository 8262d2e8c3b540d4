"""What Terraform's kubernetes provider asks for, in its order.

The provider itself is in no registry that our tests install from. So this is a simulation: the requests are those of
its source as written down in our reference (`kubernetes_manifest`: credentials, discovery, OpenAPI 2, the kinds of
CustomResourceDefinitions, plan as a dry run, apply, read; the typed resources: JSON writes, JSON patch, delete, poll).
"""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from skerry.testing.api_server import ApiServer

pytestmark = pytest.mark.system

SECRETS = "/api/v1/namespaces/default/secrets"
FUNCTIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
APPLY = {"content-type": "application/apply-patch+yaml"}
PLAN = {"dryRun": "All", "fieldManager": "Terraform", "force": "false"}


@pytest.fixture
def http(server: ApiServer) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {server.token}", "user-agent": "HashiCorp/1.0 Terraform/1.9.0"}
    context = ssl.create_default_context(cafile=str(server.authority))
    with httpx.Client(base_url=server.at.url, headers=headers, verify=context, trust_env=False, timeout=60) as client:
        yield client


def found(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_provider_finds_its_types(http: httpx.Client) -> None:
    assert found(http.get("/apis"))["kind"] == "APIGroupList"  # is the credential good?
    for group in found(http.get("/apis"))["groups"]:
        for version in group["versions"]:
            assert found(http.get(f"/apis/{version['groupVersion']}"))["kind"] == "APIResourceList"
    assert "secrets" in {resource["name"] for resource in found(http.get("/api/v1"))["resources"]}
    document = found(http.get("/openapi/v2"))
    kinds = {
        (named["group"], named["version"], named["kind"])
        for definition in document["definitions"].values()
        for named in definition.get("x-kubernetes-group-version-kind", ())
    }
    assert {("extensions.apoxy.dev", "v1alpha2", "EdgeFunction"), ("", "v1", "Secret")} <= kinds
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"  # a type that is none of these is looked for there
    (function,) = [
        definition["spec"]
        for definition in found(http.get(path))["items"]
        if definition["spec"]["names"]["kind"] == "EdgeFunction"
    ]
    assert function["group"] == "extensions.apoxy.dev"
    assert function["versions"][0]["schema"]["openAPIV3Schema"]["type"] == "object"


def test_a_manifest_is_planned_applied_read_and_destroyed(http: httpx.Client, function: Any) -> None:
    path = f"{FUNCTIONS}/hello"
    assert found(http.get(path), 404)["reason"] == "NotFound"
    planned = found(http.patch(path, params=PLAN, headers=APPLY, json=function), 201)
    assert planned["spec"]["template"]["mode"] == "backend"
    assert found(http.get(path), 404)["kind"] == "Status"  # a plan stores nothing
    apply = {name: value for name, value in PLAN.items() if name != "dryRun"}
    applied = found(http.patch(path, params=apply, headers=APPLY, json=function), 201)
    read = found(http.get(path))
    assert read == applied
    [entry] = read["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("Terraform", "Apply")
    # a second plan finds nothing to change, and a second apply changes nothing
    assert found(http.patch(path, params=PLAN, headers=APPLY, json=function)) == read
    assert found(http.patch(path, params=apply, headers=APPLY, json=function)) == read
    # what another manager holds is a conflict, unless the user forces it
    function["spec"]["revisionHistoryLimit"] = 5
    other = {**apply, "fieldManager": "other"}
    found(http.patch(path, params=other, headers=APPLY, json=function))
    function["spec"]["revisionHistoryLimit"] = 6
    assert found(http.patch(path, params=PLAN, headers=APPLY, json=function), 409)["reason"] == "Conflict"
    forced = found(http.patch(path, params={**apply, "force": "true"}, headers=APPLY, json=function))
    assert forced["spec"]["revisionHistoryLimit"] == 6
    assert found(http.delete(path))["status"] == "Success"
    assert found(http.get(path), 404)["reason"] == "NotFound"


def test_the_wait_of_a_manifest_is_a_watch(http: httpx.Client, function: Any) -> None:
    created = found(http.post(FUNCTIONS, json=function), 201)
    query = {
        "watch": "true",
        "fieldSelector": "metadata.name=hello",
        "resourceVersion": created["metadata"]["resourceVersion"],
    }
    status = {"status": {"liveRevision": "hello-1"}}
    with http.stream("GET", FUNCTIONS, params=query) as events:
        merge = {"content-type": "application/merge-patch+json"}
        found(http.patch(f"{FUNCTIONS}/hello/status", headers=merge, json=status))
        event = json.loads(next(events.iter_lines()))
    assert (event["type"], event["object"]["status"]) == ("MODIFIED", {"liveRevision": "hello-1"})


def test_a_typed_resource_is_created_patched_and_deleted(http: httpx.Client) -> None:
    secret = {"metadata": {"name": "s", "namespace": "default"}, "type": "Opaque", "data": {"a": "Yg=="}}
    assert found(http.post(SECRETS, json=secret), 201)["metadata"]["name"] == "s"
    operations = [
        {"op": "replace", "path": "/data", "value": {"a": "Yw=="}},
        {"op": "add", "path": "/metadata/labels", "value": {"by": "terraform"}},
    ]
    patch = {"content-type": "application/json-patch+json"}
    found(http.patch(f"{SECRETS}/s", headers=patch, json=operations))
    read = found(http.get(f"{SECRETS}/s"))
    assert (read["data"], read["metadata"]["labels"]) == ({"a": "Yw=="}, {"by": "terraform"})
    found(http.request("DELETE", f"{SECRETS}/s", json={"propagationPolicy": "Foreground"}))
    assert found(http.get(f"{SECRETS}/s"), 404)["reason"] == "NotFound"
