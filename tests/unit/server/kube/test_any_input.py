"""Whatever JSON is sent: it is stored soundly or refused with 4xx; never a 500."""

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.api.registry import KINDS

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)

KEYS = st.sampled_from([
    "metadata", "spec", "status", "data", "template", "code", "jsSource", "assets", "files", "path", "content", "name",
    "labels", "annotations", "finalizers", "ownerReferences", "uid", "resourceVersion", "managedFields", "generation",
    "deletionTimestamp", "conditions", "type", "stringData", "immutable", "runtime", "timeout", "port", "parentRefs",
    "rules", "listeners", "hostnames", "$patch", "$retainKeys", "apiVersion", "kind", "x",
])  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["default", "thing", "v1", "2026-01-01T00:00:00Z", "Delete", "replace", "1"])
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, ANY, max_size=5)


def body(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # integers over 64 bits, lone surrogates: other tests send those
        return b"{}"


def holds(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert answer.json()["kind"]


@SHARED
@given(kind=st.sampled_from(KINDS), document=OBJECTS)
async def test_any_create(http: httpx.AsyncClient, kind: Any, document: Any) -> None:
    path = kind.path("default") if kind.namespaced else kind.path()
    holds(await http.post(path, content=body(document)))
    holds(await http.get(path))


@pytest.mark.parametrize("media_type", ["merge-patch", "strategic-merge-patch"])
@SHARED
@given(patch=OBJECTS, status=st.booleans())
async def test_any_patch(http: httpx.AsyncClient, media_type: str, patch: Any, *, status: bool) -> None:
    path = "/api/v1/namespaces/default" if media_type.startswith("strategic") else await function(http)
    headers = {"content-type": f"application/{media_type}+json"}
    holds(await http.patch(f"{path}/status" if status else path, content=body(patch), headers=headers))
    holds(await http.get(path))


@SHARED
@given(kind=st.sampled_from(KINDS), documents=st.lists(OBJECTS, min_size=1, max_size=3), status=st.booleans())
async def test_any_apply(http: httpx.AsyncClient, kind: Any, documents: Any, *, status: bool) -> None:
    await function(http)
    path = kind.path("default" if kind.namespaced else "", "f", "status" if status and kind.has_status else "")
    headers = {"content-type": "application/apply-patch+yaml"}
    for manager, document in enumerate(documents):
        content = body({**document, "apiVersion": kind.api_version, "kind": kind.kind})
        query = {"fieldManager": f"m{manager}" if manager else "kubectl"}
        holds(await http.patch(path, content=content, headers=headers, params=query))
    holds(await http.get(path))


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"operation": st.sampled_from(["Apply", "Update"]) | ANY, "apiVersion": st.just("v1") | ANY},
        optional={
            "manager": st.text(max_size=3) | ANY,
            "fieldsType": st.just("FieldsV1") | ANY,
            "fieldsV1": ANY | st.dictionaries(st.sampled_from(["f:a", "k:{}", 'k:{"a":1}', "v:1", "."]), ANY),
            "subresource": ANY,
            "time": ANY,
        },
    ),
    max_size=3,
)


@SHARED
@given(entries=ENTRIES)
async def test_any_managed_fields(http: httpx.AsyncClient, entries: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps/c"
    await http.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "c"}, "data": {"a": "1"}})
    headers = {"content-type": "application/merge-patch+json"}
    content = body({"metadata": {"managedFields": entries}})
    holds(await http.patch(path, content=content, headers=headers))
    apply = {"content-type": "application/apply-patch+yaml"}
    holds(await http.patch(f"{path}?fieldManager=m&force=true", content=b"apiVersion: v1", headers=apply))
    holds(await http.get(path))


@SHARED
@given(document=OBJECTS)
async def test_any_replace(http: httpx.AsyncClient, document: Any) -> None:
    path = await function(http)
    version = (await http.get(path)).json()["metadata"]["resourceVersion"]
    meta = document.get("metadata")
    document["metadata"] = {**(meta if isinstance(meta, dict) else {}), "resourceVersion": version}
    holds(await http.put(path, content=body(document)))
    holds(await http.get(path))


@SHARED
@given(query=st.dictionaries(
    st.sampled_from(["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch"]),
    st.text(max_size=8) | st.sampled_from(["0", "1", "Exact", "NotOlderThan", "a in (b)", "metadata.name=x"]),
    max_size=4,
))  # fmt: skip
async def test_any_query(http: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await http.get("/api/v1/namespaces/default/configmaps", params=query)
    assert answer.status_code < 500 or answer.json()["reason"] == "Timeout"


async def function(http: httpx.AsyncClient) -> str:
    """Make sure that there is a sound edge function; return its path."""
    collection = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
    files = [{"path": "index.js", "content": "export default {}"}]
    code = {"jsSource": {"entrypoint": "index.js", "assets": {"files": files}}}
    await http.post(
        collection, json={"metadata": {"name": "f"}, "spec": {"template": {"mode": "backend", "code": code}}}
    )
    return f"{collection}/f"
