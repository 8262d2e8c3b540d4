"""OpenAPI: what clients look for in it is there, and every reference leads somewhere."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from skerry.api.registry import KINDS
from skerry.server.kube.openapi.documents import OpenApi

EDGE = "apis/extensions.apoxy.dev/v1alpha2"
FUNCTION = "dev.apoxy.extensions.v1alpha2.EdgeFunction"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"


@pytest.fixture(scope="module")
def openapi() -> OpenApi:
    return OpenApi(KINDS, "0")


def document(openapi: OpenApi, path: str) -> Any:
    return orjson.loads(openapi.by_path[path].body)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_every_reference_leads_to_a_schema(openapi: OpenApi) -> None:
    for path in openapi.by_path:
        found = document(openapi, path)
        names = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
        assert set(references(found)) <= names
    old = orjson.loads(openapi.version_2.body)
    assert set(references(old)) <= {f"#/definitions/{name}" for name in old["definitions"]}


def test_the_index_names_every_group_with_the_hash_of_its_document(openapi: OpenApi) -> None:
    index = orjson.loads(openapi.index.body)["paths"]
    assert set(index) == {kind.root_path.lstrip("/") for kind in KINDS}
    assert index[EDGE]["serverRelativeURL"] == f"/openapi/v3/{EDGE}?hash={openapi.by_path[EDGE].hash}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource)
def test_every_kind_has_the_patch_operation_that_kubectl_looks_for(openapi: OpenApi, kind: Any) -> None:
    paths = document(openapi, kind.root_path.lstrip("/"))["paths"]
    patch = paths[kind.path("{namespace}", "{name}")]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": kind.group, "version": kind.version, "kind": kind.kind}
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_schemas_speak_the_dialect_of_kubernetes(openapi: OpenApi) -> None:
    for path in openapi.by_path:
        for node in nodes(document(openapi, path)["components"]["schemas"]):
            assert "title" not in node or isinstance(node["title"], dict)
            assert node.get("type") != "null"
            assert node.get("additionalProperties") is not False
            assert not ("$ref" in node and len(node) > 1 and isinstance(node["$ref"], str))


def test_a_kinds_schema(openapi: OpenApi) -> None:
    schemas = document(openapi, EDGE)["components"]["schemas"]
    own = schemas[FUNCTION]
    assert own["x-kubernetes-group-version-kind"] == [
        {"group": "extensions.apoxy.dev", "version": "v1alpha2", "kind": "EdgeFunction"}
    ]
    assert own["properties"]["metadata"]["allOf"] == [{"$ref": f"#/components/schemas/{META}.ObjectMeta"}]
    assert own["properties"]["metadata"]["default"] == {}
    assert own["required"] == ["spec"]
    assert schemas[f"{FUNCTION}List"]["properties"]["items"]["type"] == "array"
    owners = schemas[f"{META}.ObjectMeta"]["properties"]["ownerReferences"]
    assert owners["x-kubernetes-list-type"] == "map"
    assert owners["x-kubernetes-list-map-keys"] == ["uid"]


def test_every_field_is_described(openapi: OpenApi) -> None:
    schemas = document(openapi, EDGE)["components"]["schemas"]
    blank = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        if not name.startswith(META)
        for field, inner in schema.get("properties", {}).items()
        if field not in {"items", "metadata"} and not inner.get("description")
    ]
    assert blank == []


def test_operation_ids_are_unique(openapi: OpenApi) -> None:
    for path in openapi.by_path:
        ids = [node["operationId"] for node in nodes(document(openapi, path)["paths"]) if "operationId" in node]
        assert len(ids) == len(set(ids))


def test_every_operation_tells_how_it_refuses(openapi: OpenApi) -> None:
    for path in openapi.by_path:
        for operation in (node for node in nodes(document(openapi, path)["paths"]) if "operationId" in node):
            assert {"200", "4XX", "503", "504"} <= set(operation["responses"])
    old = orjson.loads(openapi.version_2.body)
    for operation in (node for node in nodes(old["paths"]) if "operationId" in node):
        assert {"200", "default", "503", "504"} <= set(operation["responses"])


def test_version_2_has_definitions_by_kind(openapi: OpenApi) -> None:
    old = orjson.loads(openapi.version_2.body)
    assert old["swagger"] == "2.0"
    assert old["definitions"][FUNCTION]["x-kubernetes-group-version-kind"][0]["kind"] == "EdgeFunction"
    assert old["definitions"][FUNCTION]["properties"]["metadata"]["$ref"] == f"#/definitions/{META}.ObjectMeta"
    put = old["paths"][f"/{EDGE}/edgefunctions/{{name}}"]["put"]
    assert [p["name"] for p in put["parameters"] if p["in"] == "body"] == ["body"]
    assert put["responses"]["200"]["schema"] == {"$ref": f"#/definitions/{FUNCTION}"}


def test_the_hash_follows_the_content(openapi: OpenApi) -> None:
    assert OpenApi(KINDS, "0").index.hash == openapi.index.hash
    assert OpenApi(KINDS, "1").index.hash != openapi.index.hash
