"""The wire of the Kubernetes door, request by request, as the facts about its clients tell it."""

from typing import Any

import httpx
import orjson
import pytest

CONFIGS = "/api/v1/namespaces/default/configmaps"
FUNCTIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def create(http: httpx.AsyncClient, name: str, **more: Any) -> Any:
    answer = await http.post(CONFIGS, json={"metadata": {"name": name}, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_version_says_what_kubectl_needs(http: httpx.AsyncClient) -> None:
    version = (await http.get("/version/")).json()
    assert (version["major"], version["minor"]) == ("1", "32")
    assert version["gitVersion"].startswith("v1.32.0")


async def test_discovery_in_its_old_form(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/")).json()["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await http.get("/apis")).json()["groups"]}
    assert groups["extensions.apoxy.dev"]["preferredVersion"]["groupVersion"] == "extensions.apoxy.dev/v1alpha2"
    assert (await http.get("/apis/extensions.apoxy.dev")).json()["kind"] == "APIGroup"
    listed = {r["name"]: r for r in (await http.get("/apis/extensions.apoxy.dev/v1alpha2")).json()["resources"]}
    assert listed["edgefunctions"]["shortNames"] == ["ef"]
    assert listed["edgefunctions/status"]["verbs"] == ["get", "patch", "update"]
    assert listed["edgefunctions/log"]["verbs"] == ["get"]


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_discovery_in_one_document(http: httpx.AsyncClient, version: str) -> None:
    accept = AGGREGATED.format(version)
    answer = await http.get("/apis", headers={"accept": accept + ",application/json"})
    assert answer.headers["content-type"] == accept
    assert answer.json()["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    groups = {item["metadata"]["name"]: item for item in answer.json()["items"]}
    assert "authorization.k8s.io" in groups
    core = (await http.get("/api", headers={"accept": accept})).json()["items"]
    assert core[0]["metadata"] == {}
    scopes = {r["resource"]: r["scope"] for r in core[0]["versions"][0]["resources"]}
    assert scopes == {
        "namespaces": "Cluster",
        "secrets": "Namespaced",
        "configmaps": "Namespaced",
        "events": "Namespaced",
        "serviceaccounts": "Namespaced",
    }


async def test_openapi_is_served_with_its_hash(http: httpx.AsyncClient) -> None:
    index = await http.get("/openapi/v3")
    url = index.json()["paths"]["api/v1"]["serverRelativeURL"]
    answer = await http.get(url)
    assert answer.json()["openapi"] == "3.0.0"
    assert answer.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]
    assert index.headers.get_list("cache-control") == ["no-cache, private"]
    assert (await http.get(url, headers={"if-none-match": answer.headers["etag"]})).status_code == 304


async def test_openapi_2_is_empty_for_protobuf_and_full_for_json(http: httpx.AsyncClient) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    empty = await http.get("/openapi/v2", headers={"accept": accept})
    assert empty.status_code == 200
    assert empty.content == b""
    assert empty.headers["content-type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert (await http.get("/openapi/v2", headers={"accept": "application/json"})).json()["swagger"] == "2.0"


async def test_a_body_without_content_type_apiversion_and_kind(http: httpx.AsyncClient) -> None:
    request = http.build_request("POST", CONFIGS, content=b'{"metadata":{"name":"c"},"data":{"a":"b"}}')
    assert "content-type" not in request.headers
    created = (await http.send(request)).json()
    assert (created["apiVersion"], created["kind"]) == ("v1", "ConfigMap")


async def test_lists_carry_their_version_and_continue(http: httpx.AsyncClient) -> None:
    for name in "abc":
        await create(http, name)
    page = (await http.get(CONFIGS, params={"limit": 2})).json()
    assert page["kind"] == "ConfigMapList"
    assert [item["metadata"]["name"] for item in page["items"]] == ["a", "b"]
    assert page["metadata"]["remainingItemCount"] == 1
    rest = (await http.get(CONFIGS, params={"limit": 2, "continue": page["metadata"]["continue"]})).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    assert rest["metadata"] == {"resourceVersion": page["metadata"]["resourceVersion"]}


async def test_tables(http: httpx.AsyncClient) -> None:
    await create(http, "a", data={"k": "v"})
    table = (await http.get(CONFIGS, headers={"accept": TABLE})).json()
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    one = await http.get(f"{CONFIGS}/a", headers={"accept": TABLE}, params={"includeObject": "Object"})
    assert one.json()["rows"][0]["object"]["data"] == {"k": "v"}


async def test_metadata_alone(http: httpx.AsyncClient) -> None:
    await create(http, "a", data={"k": "v"})
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = (await http.get(CONFIGS, headers={"accept": accept})).json()
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}
    one = (await http.get(f"{CONFIGS}/a", headers={"accept": accept.replace("List", "")})).json()
    assert one["kind"] == "PartialObjectMetadata"


async def test_deletes_answer_with_a_status_or_the_object(http: httpx.AsyncClient) -> None:
    created = await create(http, "a")
    status = (await http.request("DELETE", f"{CONFIGS}/a", json={"propagationPolicy": "Background"})).json()
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    await http.post(CONFIGS, json={"metadata": {"name": "b", "finalizers": ["x.io/y"]}})
    held = (await http.delete(f"{CONFIGS}/b")).json()
    assert held["metadata"]["deletionTimestamp"]
    await create(http, "c")
    listed = (await http.request("DELETE", CONFIGS, params={"fieldSelector": "metadata.name=c"})).json()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["c"]


async def test_warnings_are_headers(http: httpx.AsyncClient) -> None:
    answer = await http.post(CONFIGS, json={"metadata": {"name": "a"}, 'bo"gus\n': 1, "other": 2})
    assert answer.headers.get_list("warning") == [
        '299 - "unknown field \\"bo\\"gus \\""',
        '299 - "unknown field \\"other\\""',
    ]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("PUT", CONFIGS, 405),
        ("POST", f"{CONFIGS}/c", 405),
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", f"{FUNCTIONS}/f/status", 405),
        ("POST", "/apis", 405),
        ("PATCH", "/openapi/v3", 405),
        ("GET", "/api/v1/configmaps/c", 404),
        ("GET", "/apis/extensions.apoxy.dev/v1alpha2/namespaces/default/edgefunctions", 404),
        ("GET", f"{CONFIGS}/c/status", 404),
        ("GET", f"{FUNCTIONS}/f/scale", 404),
        ("GET", f"{FUNCTIONS}/none/log", 404),
        ("GET", f"{CONFIGS}/%00", 404),
        ("GET", f"{CONFIGS}/%ff", 404),
    ],
)
async def test_methods_and_paths_that_are_not(http: httpx.AsyncClient, method: str, path: str, code: int) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == code
    assert answer.json()["kind"] == "Status"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b'{"metadata": []}', "application/json"),
        (b'{"metadata": {"name": 5}}', "application/json"),
        (b'{"metadata": {"name": "\\ud800"}}', "application/json"),
        (b'{"metadata": {"name": "a\\u0000"}}', "application/json"),
        (b'{"metadata": {"name": "a"}, "data": {"a": 1e999}}', "application/json"),
        (b'{"metadata": {"name": "a"}, "immutable": 123456789012345678901234567890}', "application/json"),
        (b'{"data":' * 5000, "application/json"),
        (b"- " * 5000, "application/yaml"),
        (b"a: &a [*a]", "application/yaml"),
        (b"k8s\0\xff\xff", "application/vnd.kubernetes.protobuf"),
        (b"<a/>", "application/xml"),
    ],
)
async def test_malformed_bodies_are_the_callers_fault(
    http: httpx.AsyncClient, content: bytes, content_type: str
) -> None:
    before = (await http.get(CONFIGS)).json()["metadata"]
    answer = await http.post(CONFIGS, content=content, headers={"content-type": content_type})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["message"]
    assert (await http.get(CONFIGS)).json()["metadata"] == before


async def test_stored_bytes_survive_odd_texts(http: httpx.AsyncClient) -> None:
    odd = {"a": "\0\u2028\U0001f600", "b": "</script>"}
    await create(http, "odd", data=odd)
    assert orjson.loads((await http.get(f"{CONFIGS}/odd")).content)["data"] == odd


APPLY = {"content-type": "application/apply-patch+yaml"}
CONFIG = "apiVersion: v1\nkind: ConfigMap\ndata: {a: '1'}\n"


async def test_an_apply_in_yaml_creates_then_updates(http: httpx.AsyncClient) -> None:
    created = await http.patch(f"{CONFIGS}/c?fieldManager=me", content=CONFIG, headers=APPLY)
    assert (created.status_code, created.json()["metadata"]["name"]) == (201, "c")
    again = await http.patch(f"{CONFIGS}/c?fieldManager=me&force=true", content=CONFIG, headers=APPLY)
    assert (again.status_code, again.json()) == (200, created.json())
    dry = await http.patch(f"{CONFIGS}/d?fieldManager=me&dryRun=All", content=CONFIG, headers=APPLY)
    assert dry.status_code == 201
    assert (await http.get(f"{CONFIGS}/d")).status_code == 404


@pytest.mark.parametrize(
    ("query", "content", "code", "told"),
    [
        (
            "",
            CONFIG,
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        ),
        (f"fieldManager={'x' * 129}", CONFIG, 422, "fieldManager: Invalid value"),
        ("fieldManager=me&force=perhaps", CONFIG, 400, "force"),
        ("fieldManager=me", "a: [", 400, "not valid YAML"),
        ("fieldManager=me", "- a", 400, "an apply patch must be an object"),
        ("fieldManager=me", CONFIG + "metadata: {managedFields: []}", 400, "metadata.managedFields must be nil"),
        ("fieldManager=me&fieldValidation=Strict", CONFIG + "x: 1", 400, 'unknown field "x"'),
        (
            "fieldManager=me&fieldValidation=Strict",
            '{"apiVersion": "v1", "data": {"a": "1", "a": "1"}}',
            400,
            'duplicate field "data.a"',
        ),
    ],
)
async def test_an_apply_that_is_refused(
    http: httpx.AsyncClient, query: str, content: str, code: int, told: str
) -> None:
    answer = await http.patch(f"{CONFIGS}/c?{query}", content=content, headers=APPLY)
    assert answer.status_code == code
    assert told in answer.json()["message"]


async def test_the_manager_is_named_or_the_client_itself(http: httpx.AsyncClient) -> None:
    await create(http, "c", data={"x": "1"})
    patch = {"content-type": "application/merge-patch+json", "user-agent": "tool/v1 (linux)"}
    await http.patch(f"{CONFIGS}/c", json={"data": {"a": "1"}}, headers=patch)
    answer = await http.patch(f"{CONFIGS}/c?fieldManager=me", json={"data": {"b": "1"}}, headers=patch)
    managers = {entry["manager"]: entry["fieldsV1"] for entry in answer.json()["metadata"].get("managedFields", [])}
    assert managers["tool"] == {"f:data": {"f:a": {}}}
    assert managers["me"] == {"f:data": {"f:b": {}}}
