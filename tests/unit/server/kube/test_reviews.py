"""Questions about users, over HTTP."""

from typing import Any

import httpx
import pytest

from skerry.server.verbs.requests import Target, WriteOptions
from skerry.server.verbs.verbs import Verbs

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
OWN, OTHERS, RULES = (
    f"{AUTHORIZATION}/{plural}"
    for plural in ("selfsubjectaccessreviews", "subjectaccessreviews", "selfsubjectrulesreviews")
)
LOCAL = f"{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews"
GET = {"verb": "get", "resource": "configmaps", "namespace": "default"}
ALICE = {"authorization": "Bearer user-token"}


@pytest.fixture(autouse=True)
async def alice_views(verbs: Verbs) -> None:
    """Give alice the role `view` in the namespace `default`."""
    kind = next(kind for kind in verbs.kinds.built_in if kind.plural == "rolebindings")
    document = {
        "metadata": {"name": "alice-views"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "alice"}],
    }
    await verbs.create(Target(kind, "default"), document, WriteOptions())


async def ask(http: httpx.AsyncClient, path: str, headers: Any = None, **spec: Any) -> Any:
    answer = await http.post(path, json={"spec": spec}, headers=headers)
    return answer.json().get("status") if answer.status_code == 201 else (answer.status_code, answer.json()["message"])


async def test_one_may_ask_about_oneself(http: httpx.AsyncClient) -> None:
    reason = 'RBAC: allowed by RoleBinding "alice-views/default" of ClusterRole "view" to User "alice"'
    assert await ask(http, OWN, ALICE, resourceAttributes=GET) == {"allowed": True, "reason": reason}
    assert await ask(http, OWN, ALICE, resourceAttributes={**GET, "verb": "delete"}) == {"allowed": False}
    assert await ask(http, OWN, ALICE, resourceAttributes={**GET, "namespace": ""}) == {"allowed": False}
    assert (await ask(http, OWN, ALICE, nonResourceAttributes={"verb": "get", "path": "/api"}))["allowed"]


async def test_asking_about_others_needs_the_right(http: httpx.AsyncClient) -> None:
    status, message = await ask(http, OTHERS, ALICE, resourceAttributes=GET, user="bob")
    assert status == 403
    assert message == (
        'subjectaccessreviews.authorization.k8s.io is forbidden: User "alice" cannot create resource '
        '"subjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope'
    )
    assert (await ask(http, OTHERS, resourceAttributes=GET, user="alice"))["allowed"]
    assert not (await ask(http, OTHERS, resourceAttributes=GET, user="bob"))["allowed"]
    assert (await ask(http, OTHERS, resourceAttributes={"verb": "x"}, groups=["system:masters"]))["allowed"]


async def test_a_local_review_is_about_its_namespace(http: httpx.AsyncClient) -> None:
    assert (await ask(http, LOCAL, resourceAttributes=GET, user="alice"))["allowed"]
    far = {**GET, "namespace": "other"}
    status, message = await ask(http, LOCAL, resourceAttributes=far, user="alice")
    assert (status, "must be the namespace of the request, default" in message) == (422, True)
    assert (await ask(http, LOCAL, nonResourceAttributes={"path": "/x"}, user="alice"))[0] == 422
    assert (await http.post(LOCAL.replace("/namespaces/default", ""), json={})).status_code == 404
    elsewhere = {"metadata": {"namespace": "other"}, "spec": {"resourceAttributes": GET, "user": "alice"}}
    assert (await http.post(LOCAL, json=elsewhere)).status_code == 400


@pytest.mark.parametrize(
    ("path", "spec", "message"),
    [
        (OWN, {}, "exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        (
            OWN,
            {"resourceAttributes": GET, "nonResourceAttributes": {"path": "/"}},
            "cannot be specified in combination",
        ),
        (OWN, {"resourceAttributes": {"verb": 7}}, "spec.resourceAttributes.verb in body must be of type string"),
        (OWN, {"resourceAttributes": "x"}, "spec.resourceAttributes in body must be of type object"),
        (OTHERS, {"resourceAttributes": GET}, "at least one of user or group must be specified"),
        (OTHERS, {"resourceAttributes": GET, "groups": "x"}, "spec.groups in body must be of type array"),
    ],
)
async def test_a_question_that_cannot_be_read(http: httpx.AsyncClient, path: str, spec: Any, message: str) -> None:
    status, told = await ask(http, path, **spec)
    assert (status, message in told) == (422, True), told


async def test_every_wrong_field_is_told_at_once(http: httpx.AsyncClient) -> None:
    answer = await http.post(OTHERS, json={"spec": {}})
    assert [cause["field"] for cause in answer.json()["details"]["causes"]] == ["spec.user", "spec.resourceAttributes"]


async def test_the_rules_that_one_holds(http: httpx.AsyncClient) -> None:
    status = await ask(http, RULES, ALICE, namespace="default")
    assert status["incomplete"] is False
    readable = [rule for rule in status["resourceRules"] if "configmaps" in rule["resources"]]
    assert [rule["verbs"] for rule in readable] == [["get", "list", "watch"]]
    assert any("/api/*" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
    elsewhere = await ask(http, RULES, ALICE, namespace="kube-system")
    assert not [rule for rule in elsewhere["resourceRules"] if "configmaps" in rule["resources"]]
    assert await ask(http, RULES, ALICE) == (400, "no namespace on request")
    everything = await ask(http, RULES, namespace="default")
    assert everything["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
