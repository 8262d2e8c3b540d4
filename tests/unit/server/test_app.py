"""What all doors share: who is let in, errors as Status, headers, health, metrics."""

import errno
from typing import Any

import httpx
import pytest

from skerry.api.errors import CLASSES
from skerry.server.app import App
from skerry.server.verbs.verbs import Verbs

CONFIGS = "/api/v1/namespaces/default/configmaps"


async def test_no_credential_and_an_unknown_one_are_unauthorized(http: httpx.AsyncClient) -> None:
    for authorization in ("", "Bearer wrong", "Bearer", "Basic YWRtaW46YWRtaW4=", f"Bearer {'x' * 9000}"):
        answer = await http.get("/api/v1/namespaces", headers={"authorization": authorization})
        assert answer.status_code == 401
        assert answer.json() == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        }


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version", "/version/", "/healthz/"])
async def test_health_and_version_need_no_credential(http: httpx.AsyncClient, path: str) -> None:
    del http.headers["authorization"]
    assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/openapi/v2", "/openapi/v3", "/metrics", "/nothing"])
async def test_everything_else_does(http: httpx.AsyncClient, path: str) -> None:
    del http.headers["authorization"]
    assert (await http.get(path)).status_code == 401


async def test_a_user_without_rights_is_forbidden_and_may_ask_who_it_is(http: httpx.AsyncClient) -> None:
    http.headers["authorization"] = "bearer user-token"
    answer = await http.get(f"{CONFIGS}/c")
    assert answer.status_code == 403
    assert answer.json()["message"].startswith(
        'configmaps "c" is forbidden: User "alice" cannot get resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    assert (await http.get("/metrics")).status_code == 403
    assert (await http.get("/api")).status_code == 200
    review = await http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})
    assert review.status_code == 201
    assert review.json()["status"]["userInfo"] == {
        "username": "alice",
        "uid": "7",
        "groups": ["system:authenticated"],
        "extra": {"from": ["here"]},
    }


async def test_access_reviews(http: httpx.AsyncClient) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "configmaps"}}}
    assert (await http.post(path, json=asked)).json()["status"] == {"allowed": True}
    http.headers["authorization"] = "Bearer user-token"
    status = (await http.post(path, json=asked)).json()["status"]
    assert status == {"allowed": False}
    assert (await http.post(path, json={})).status_code == 422
    assert (await http.get(path)).status_code == 403
    http.headers["authorization"] = "Bearer admin-token"
    assert (await http.get(path)).status_code == 405


async def test_unknown_paths_are_not_found_as_kubernetes_says_it(http: httpx.AsyncClient) -> None:
    for path in (
        "/nothing",
        "/apis/x.io",
        "/apis/x.io/v1",
        "/apis/x.io/v1/things",
        "/api/v2",
        "/openapi/v3/apis/x.io/v1",
    ):
        answer = await http.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"] == "the server could not find the requested resource"


async def test_an_unexpected_failure_is_told_without_its_details(
    http: httpx.AsyncClient, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(verbs, "get", fail)
    answer = await http.get(f"{CONFIGS}/c")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "swordfish" not in answer.text


async def test_a_disk_that_is_full_is_told_as_one(
    http: httpx.AsyncClient, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    monkeypatch.setattr(verbs, "get", fail)
    answer = await http.get(f"{CONFIGS}/c")
    assert (answer.status_code, answer.json()["reason"]) == (507, "InsufficientStorage")
    assert answer.json()["message"] == "a disk of the server is full: free space on it"


@pytest.mark.parametrize("error", CLASSES, ids=lambda cls: cls.reason)
async def test_every_error_is_a_status_of_its_own_code(
    http: httpx.AsyncClient, verbs: Verbs, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    async def fail(*_: Any) -> None:
        raise error("because")

    monkeypatch.setattr(verbs, "get", fail)
    answer = await http.get(f"{CONFIGS}/c")
    assert answer.status_code == error.code
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["reason"], answer.json()["message"]) == (error.reason, "because")
    assert answer.headers.get("retry-after") == ("1" if error.code == 429 else None)


async def test_the_audit_id_is_the_callers_or_a_new_one(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api", headers={"audit-id": "mine-1"})).headers["audit-id"] == "mine-1"
    for given in ({}, {"audit-id": "no\ttabs"}, {"audit-id": "x" * 100}):
        made = (await http.get("/api", headers=given)).headers["audit-id"]
        assert len(made) == 36


async def test_health_tells_what_is_missing(http: httpx.AsyncClient, check: Any) -> None:
    assert (await http.get("/readyz")).text == "ok"
    assert (await http.get("/readyz?verbose")).text == "[+]database ok\nreadyz check passed\n"
    check.missing = "it is compacting"
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.text) == (500, "[-]database failed: it is compacting\nreadyz check failed\n")
    check.missing = "raise"
    assert "the check itself failed" in (await http.get("/readyz")).text
    assert (await http.get("/livez")).status_code == 200


async def test_metrics_count_by_verb_and_resource(http: httpx.AsyncClient) -> None:
    await http.get("/api/v1/namespaces/default")
    await http.get("/api/v1/no-such-resource-xyz")
    text = (await http.get("/metrics")).text
    assert 'skerry_api_requests_total{code="200",resource="namespaces",verb="get"}' in text
    assert "no-such-resource-xyz" not in text


async def test_only_http_and_websockets_are_spoken(app: App) -> None:
    with pytest.raises(NotImplementedError):
        await app({"type": "lifespan"}, None, None)  # type: ignore[arg-type] # never called


async def test_bodies_over_the_limit_are_told_the_limit(http: httpx.AsyncClient) -> None:
    answer = await http.post(CONFIGS, content=b" " * (3 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["message"] == "Request entity too large: limit is 3145728"


async def test_a_query_that_can_not_be_read(http: httpx.AsyncClient) -> None:
    assert (await http.get(f"{CONFIGS}?labelSelector=%ff")).status_code == 400
    assert (await http.get(f"{CONFIGS}?" + "&".join(f"q{i}=1" for i in range(101)))).status_code == 400
