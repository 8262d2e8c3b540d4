"""What the door tells and does about kinds that come and go."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.errors import NotFound
from skerry.api.registry import DEFINED_KINDS
from skerry.server.verbs.requests import DeleteOptions, Target, WriteOptions
from skerry.testing.api_server import ApiServer, run_api_server
from skerry.testing.definitions import SCHEMA, definition, established

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
CONDITIONS = [
    {"type": "Established", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"},
]
SCALE = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with run_api_server(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {server.token}"}
    verify = ssl.create_default_context(cafile=str(server.authority))
    async with httpx.AsyncClient(base_url=server.at.url, headers=headers, verify=verify, timeout=60) as client:
        yield client


async def establish(server: ApiServer, **what: Any) -> None:
    """Create a definition, and accept its names as the controller does."""
    document = definition(**what)
    document["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com"}
    target = Target(CUSTOM_RESOURCE_DEFINITION, "", document["metadata"]["name"])
    written = await server.verbs.create(Target(CUSTOM_RESOURCE_DEFINITION), document, WriteOptions())
    stored = written.object.fresh_document()
    status = {"conditions": CONDITIONS, "acceptedNames": established(document)["status"]["acceptedNames"]}
    status_of = Target(CUSTOM_RESOURCE_DEFINITION, "", target.name, "status")
    await server.verbs.replace(status_of, {**stored, "status": status}, WriteOptions())


async def end(server: ApiServer) -> None:
    """Delete the definition, and let it go as the controller does."""
    target = Target(CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com")
    await server.verbs.delete(target, DeleteOptions())
    stored = (await server.verbs.get(target)).fresh_document()
    let_go = {**stored, "metadata": {**stored["metadata"], "finalizers": []}}
    await server.verbs.replace(target, let_go, WriteOptions())


async def test_who_was_told_that_a_kind_is_established_can_use_it_at_once(server: ApiServer, http: httpx.AsyncClient):
    assert (await http.get(WIDGETS)).status_code == 404
    await establish(server)
    created = await http.post(WIDGETS, json={"metadata": {"name": "a"}, "spec": {"size": 1}})
    assert created.status_code == 201
    assert created.json()["spec"] == {"size": 1, "color": "red"}
    assert (await http.get(WIDGETS)).json()["kind"] == "WidgetList"


async def test_a_kind_is_told_about_in_every_form_and_vanishes_with_its_definition(
    server: ApiServer, http: httpx.AsyncClient
):
    index = (await http.get("/openapi/v3")).json()["paths"]
    await establish(server)
    await http.get(WIDGETS)
    groups = (await http.get("/apis")).json()["groups"]
    assert [group["name"] for group in groups if group["name"] == "example.com"] == ["example.com"]
    [resource, status] = (await http.get("/apis/example.com/v1")).json()["resources"]
    assert (resource["name"], resource["shortNames"], status["name"]) == ("widgets", ["wd"], "widgets/status")
    later = (await http.get("/openapi/v3")).json()["paths"]
    assert {path: later[path] for path in index} == index, "documents of other groups stay as they are"
    document = (await http.get(later["apis/example.com/v1"]["serverRelativeURL"])).json()
    schema = document["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["properties"]["spec"] == SCHEMA["properties"]["spec"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Widget"}]
    await end(server)
    async with asyncio.timeout(60):
        while (await http.get(WIDGETS)).status_code != 404:
            pass
    assert (await http.get("/apis/example.com")).status_code == 404


async def test_a_create_that_began_before_its_definition_went_leaves_no_object_behind(
    server: ApiServer, http: httpx.AsyncClient
):
    await establish(server)
    kind = await server.verbs.definitions.find("example.com", "v1", "widgets")
    assert kind is not None
    await end(server)
    with pytest.raises(NotFound, match="the kind Widget is not defined any more: its definition was deleted"):
        await server.verbs.create(Target(kind, "default"), {"metadata": {"name": "late"}}, WriteOptions())
    await establish(server)
    assert (await http.get(WIDGETS)).json()["items"] == []


async def test_no_definition_takes_a_question_for_itself(server: ApiServer, http: httpx.AsyncClient):
    names = {"kind": "SelfSubjectAccessReview", "shortNames": []}
    before = (await http.get("/apis/authorization.k8s.io/v1")).json()
    await establish(server, group="authorization.k8s.io", plural="selfsubjectaccessreviews", names=names)
    question = {"metadata": {"name": "a"}, "spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}}
    answer = await http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=question)
    assert answer.json().get("status") == {"allowed": True}
    assert (await http.get("/apis/authorization.k8s.io/v1")).json() == before


async def test_every_openapi_document_is_valid_with_custom_kinds_in_it(server: ApiServer, http: httpx.AsyncClient):
    schema: dict[str, Any] = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "not": {"type": "string"}, "anyOf": {"type": "integer", "nullable": True},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    }, "oneOf": [{"required": ["not"]}, {"required": ["anyOf"]}]}}}  # fmt: skip
    await establish(server, schema={"openAPIV3Schema": schema}, subresources={"status": {}, "scale": SCALE})
    await http.get(WIDGETS)
    document = (await http.get("/openapi/v2", headers={"Accept": "application/json"})).json()
    assert list(OpenAPIV2SpecValidator(document).iter_errors()) == []
    spec = document["definitions"]["com.example.v1.Widget"]["properties"]["spec"]
    assert spec["properties"].keys() == schema["properties"]["spec"]["properties"].keys()
    assert spec["properties"]["anyOf"] == {}
    assert spec["properties"]["port"] == {"x-kubernetes-int-or-string": True}
    for told in (await http.get("/openapi/v3")).json()["paths"].values():
        document = (await http.get(told["serverRelativeURL"])).json()
        assert list(OpenAPIV30SpecValidator(document).iter_errors()) == []


async def test_versions_show_one_object_each_under_its_own_name(server: ApiServer, http: httpx.AsyncClient):
    only = definition()["spec"]["versions"][0]
    versions = [{**only, "name": "v1"}, {**only, "name": "v1beta1", "storage": False}]
    await establish(server, versions=versions)
    beta = WIDGETS.replace("/v1/", "/v1beta1/")
    body = {"metadata": {"name": "a"}, "spec": {"size": 1}}
    created = await http.post(f"{beta}?fieldManager=one", json=body)
    assert created.json()["apiVersion"] == "example.com/v1beta1"
    shown = (await http.get(f"{WIDGETS}/a")).json()
    assert shown["apiVersion"] == "example.com/v1"
    assert [entry["apiVersion"] for entry in shown["metadata"]["managedFields"]] == ["example.com/v1"]
    assert [item["apiVersion"] for item in (await http.get(beta)).json()["items"]] == ["example.com/v1beta1"]
    same = await http.patch(
        f"{beta}/a", json={"spec": {"size": 1}}, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert same.json()["metadata"]["resourceVersion"] == shown["metadata"]["resourceVersion"]
    async with http.stream("GET", f"{beta}?watch=true") as old, http.stream("GET", f"{WIDGETS}?watch=true") as new:
        assert "example.com/v1beta1" in await anext(old.aiter_lines())
        assert '"apiVersion":"example.com/v1"' in await anext(new.aiter_lines())


async def test_an_object_is_scaled_by_the_paths_of_its_definition(server: ApiServer, http: httpx.AsyncClient):
    await establish(server, subresources={"status": {}, "scale": SCALE})
    await http.post(WIDGETS, json={"metadata": {"name": "a"}, "spec": {"size": 1}})
    scale = (await http.get(f"{WIDGETS}/a/scale")).json()
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    scaled = await http.put(f"{WIDGETS}/a/scale", json={**scale, "spec": {"replicas": 3}})
    assert scaled.json()["spec"] == {"replicas": 3}
    assert (await http.get(f"{WIDGETS}/a")).json()["spec"]["size"] == 3
    assert (await http.put(f"{WIDGETS}/a/scale", json=scale)).status_code == 409
    merge = {"Content-Type": "application/merge-patch+json"}
    assert (await http.patch(f"{WIDGETS}/a/scale", json={"spec": {"replicas": 4}}, headers=merge)).status_code == 200
    for wrong in (-1, "x", 2**31):
        refused = await http.patch(f"{WIDGETS}/a/scale", json={"spec": {"replicas": wrong}}, headers=merge)
        assert refused.status_code == 422
        assert refused.json()["details"]["causes"][0]["field"] == "spec.replicas"
    applied = await http.patch(
        f"{WIDGETS}/a/scale?fieldManager=m", json={}, headers={"Content-Type": "application/apply-patch+yaml"}
    )
    assert applied.status_code == 415
    resources = (await http.get("/apis/example.com/v1")).json()["resources"]
    [entry] = [resource for resource in resources if resource["name"] == "widgets/scale"]
    assert (entry["group"], entry["version"], entry["kind"]) == ("autoscaling", "v1", "Scale")


async def test_our_own_kinds_are_definitions_that_would_be_accepted(http: httpx.AsyncClient):
    path = CUSTOM_RESOURCE_DEFINITION.path()
    listed = (await http.get(path)).json()["items"]
    assert {item["metadata"]["name"] for item in listed} == DEFINED_KINDS.keys()
    for item in listed:
        copy = {"metadata": {"name": f"copies.{item['spec']['group']}.example"}, "spec": item["spec"]}
        copy["spec"]["group"] += ".example"
        copy["spec"]["names"] = {"plural": "copies", "kind": "Copy"}
        answer = await http.post(f"{path}?dryRun=All&fieldValidation=Strict", json=copy)
        assert answer.status_code == 201, answer.json()["message"]
