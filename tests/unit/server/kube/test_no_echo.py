"""Whatever is wrong with a request for a secret, neither the answer nor the log holds its values."""

import base64
from typing import Any

import httpx
import pytest

SECRETS = "/api/v1/namespaces/default/secrets"
SECRET = f"{SECRETS}/db"
CANARY = "c4n4ry-v4lue"
ENCODED = base64.b64encode(CANARY.encode()).decode()
JSON, YAML = "application/json", "application/yaml"
JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH, APPLY_PATCH = "application/strategic-merge-patch+json", "application/apply-patch+yaml"


async def stored(http: httpx.AsyncClient) -> None:
    document = {"metadata": {"name": "db"}, "data": {"password": ENCODED}, "immutable": True}
    assert (await http.post(SECRETS, json=document)).status_code == 201


def silent(answer: httpx.Response, output: str) -> bool:
    told = answer.text + str(answer.headers) + output
    return answer.status_code < 500 and CANARY not in told and ENCODED not in told


@pytest.mark.parametrize(
    "document",
    [
        {"data": CANARY},
        {"data": [CANARY]},
        {"data": {"a": [CANARY]}},
        {"data": {"a": {"b": CANARY}}},
        {"data": {"a": CANARY}},
        {"data": {"bad key!": ENCODED}},
        {"data": {"a": ENCODED + ENCODED[:3]}},
        {"stringData": {"a": [CANARY]}},
        {"stringData": CANARY},
        {"type": 7, "data": {"a": ENCODED}},
        {"type": "kubernetes.io/tls", "stringData": {"a": CANARY}},
        {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": CANARY}},
        {"immutable": "no", "data": {"a": ENCODED}},
        {"unknown": {"a": CANARY}},
        {"data": {"a": ENCODED}, "kind": "ConfigMap"},
        {"data": {"a": ENCODED}, "metadata": {"name": "_"}},
        {"data": {"a": ENCODED}, "metadata": {"name": "x", "annotations": {"last": [CANARY]}}},
        {"data": {"a": ENCODED}, "metadata": {"name": "x", "annotations": {"_bad_": CANARY}}},
        {"data": {"a": ENCODED * 100_000}},
    ],
)
@pytest.mark.parametrize("validation", ["Strict", "Warn"])
async def test_a_bad_object(
    http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], document: dict[str, Any], validation: str
):
    await stored(http)
    query = {"fieldValidation": validation}
    document = {"metadata": {"name": "new"}, **document}
    answers = [await http.post(SECRETS, json=document, params=query)]
    answers.append(await http.put(SECRET, json={**document, "metadata": {"name": "db"}}, params=query))
    for media_type in (MERGE_PATCH, STRATEGIC_PATCH):
        body = {**document, "metadata": {}}
        answers.append(await http.patch(SECRET, json=body, headers={"content-type": media_type}, params=query))
    applied = {"apiVersion": "v1", "kind": "Secret", **document, "metadata": {"name": "db"}}
    query = {"fieldManager": "test", **query}
    answers.append(await http.patch(SECRET, json=applied, headers={"content-type": APPLY_PATCH}, params=query))
    output = "".join(capfd.readouterr())
    for answer in answers:
        assert silent(answer, output) or answer.status_code < 300, answer.text
    assert answers[0].status_code >= 400 or (validation == "Warn" and "unknown" in document)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, '{"data":{"a":"CANARY"'),
        (JSON, '{"data":{"a":"CANARY\\x"}}'),
        (JSON, '{"data":{"a":"CANARY"},"data":{"b":"CANARY"},"type":7}'),
        (JSON, '["CANARY"]'),
        (JSON, '"CANARY"'),
        (YAML, "data: {a: CANARY"),
        (YAML, "data:\n  a: CANARY\n b: CANARY\n"),
        (YAML, "data: {a: !CANARY x}"),
        (YAML, "data: {a: &b CANARY, c: *b}"),
        (YAML, "data: {a: !!binary CANARY}"),
        (YAML, "data: {a: !!int CANARY}"),
        (YAML, "data: {a: !!float CANARY}"),
        (YAML, "data: {a: !!timestamp CANARY}"),
        (YAML, "data: {a: !!bool CANARY}"),
        (YAML, "data: {? [CANARY] : x}"),
        (YAML, 'data: "CANARY\\q"'),
        (YAML, "CANARY"),
        (JSON_PATCH, '[{"op":"test","path":"/data/password","value":"CANARY"}]'),
        (JSON_PATCH, '[{"op":"test","path":"/nowhere","value":"CANARY"}]'),
        (JSON_PATCH, '[{"op":"remove","path":"/data/nothing"}]'),
        (JSON_PATCH, '[{"op":"replace","path":"/data/nothing/below","value":"CANARY"}]'),
        (JSON_PATCH, '[{"op":"add","path":"/data/password/below","value":"CANARY"}]'),
        (JSON_PATCH, '[{"op":"copy","from":"/data/nothing/below","path":"/data/x"}]'),
        (JSON_PATCH, '[{"op":"move","from":"/data","path":"/data/x"}]'),
        (JSON_PATCH, '[{"op":"copy","from":"/data","path":"/data/x"}]'),
        (JSON_PATCH, '[{"op":"replace","path":"/data/password","value":"CANARY"}]'),
        (JSON_PATCH, '[{"op":"CANARY","path":"/data/password"}]'),
        (MERGE_PATCH, '{"data":{"password":"CANARY"}}'),
        (MERGE_PATCH, '["CANARY"]'),
        (STRATEGIC_PATCH, '{"data":{"password":"CANARY"}}'),
        (STRATEGIC_PATCH, '{"data":{"$retainKeys":"CANARY"}}'),
        (APPLY_PATCH, "data: {a: CANARY"),
        (APPLY_PATCH, "data: {password: CANARY}"),
        (APPLY_PATCH, '{"apiVersion":"v1","kind":"Secret","data":{"password":"Y2FuYXJ5"}}'),
    ],
)
async def test_a_bad_body(http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], media_type: str, body: str):
    await stored(http)
    content = body.replace("CANARY", CANARY).encode()
    headers = {"content-type": media_type}
    if media_type in {JSON, YAML}:
        answers = [await http.post(SECRETS, content=content, headers=headers)]
        answers.append(await http.put(SECRET, content=content, headers=headers))
    else:
        answers = [await http.patch(SECRET, content=content, headers=headers, params={"fieldManager": "test"})]
    output = "".join(capfd.readouterr())
    for answer in answers:
        assert answer.status_code >= 400
        assert silent(answer, output), answer.text


async def test_a_conflict_of_an_apply(http: httpx.AsyncClient):
    await http.post(SECRETS, json={"metadata": {"name": "db"}, "data": {"password": ENCODED}})
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": "b3RoZXI="}}
    headers = {"content-type": APPLY_PATCH}
    answer = await http.patch(SECRET, json=other, headers=headers, params={"fieldManager": "test"})
    assert answer.status_code == 409
    assert silent(answer, "")


async def test_the_metrics_and_the_tables(http: httpx.AsyncClient):
    await stored(http)
    await http.get(SECRET)
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    assert silent(await http.get("/metrics"), "")
    assert silent(await http.get(SECRETS, headers=accept), "")
