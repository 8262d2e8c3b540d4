"""Bad input gets a clear error that names field and fix, and changes nothing."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.system


async def test_unknown_fields_are_refused_under_strict_validation_and_told_under_warn(
    kubectl: Any, function: Any
) -> None:
    bad = json.dumps({**function(), "bogus": 1})
    told = await kubectl.fails("create", "--validate=strict", "-f", "-", stdin=bad)
    assert 'strict decoding error: unknown field "bogus"' in told
    warned = await kubectl.run("create", "--validate=warn", "-f", "-", stdin=bad)
    assert warned.code == 0
    assert 'Warning: unknown field "bogus"' in warned.err
    assert "bogus" not in await kubectl.json("get", "ef", "hello")


async def test_duplicate_fields_are_refused_by_path(kubectl: Any) -> None:
    raw = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","a":"2"}}'
    told = await kubectl.fails(
        "create", "--raw", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", "-f", "-", stdin=raw
    )
    assert 'duplicate field "data.a"' in told


async def test_every_wrong_type_and_name_is_told_at_once(kubectl: Any, function: Any) -> None:
    bad = function("Not_A_Name")
    bad["spec"]["template"]["runtime"] = {"port": "eighty"}
    told = await kubectl.fails("create", "-f", "-", stdin=json.dumps(bad))
    assert 'The EdgeFunction "Not_A_Name" is invalid' in told
    assert "* metadata.name: Invalid value" in told
    assert "a lowercase RFC 1123 subdomain must consist of" in told
    assert "* spec.template.runtime.port: Invalid value" in told
    assert "must be of type integer" in told


async def test_an_object_over_the_limit_names_the_limit(kubectl: Any) -> None:
    big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x" * 4_000_000}}
    told = await kubectl.fails("create", "-f", "-", stdin=json.dumps(big))
    assert "RequestEntityTooLarge" in told
    assert "limit is 3145728" in told


async def test_too_many_annotations(kubectl: Any) -> None:
    big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "annotations": {"a": "x" * 300_000}}}
    told = await kubectl.fails("create", "-f", "-", stdin=json.dumps(big))
    assert "metadata.annotations: Too long: may not be more than 262144 bytes" in told


async def test_missing_namespace(kubectl: Any) -> None:
    assert 'namespaces "nowhere" not found' in await kubectl.fails("create", "cm", "c", "-n", "nowhere")


async def test_second_create(kubectl: Any) -> None:
    await kubectl.ok("create", "cm", "c")
    assert 'configmaps "c" already exists' in await kubectl.fails("create", "cm", "c")


async def test_unknown_resource(kubectl: Any) -> None:
    assert 'the server doesn\'t have a resource type "pods"' in await kubectl.fails("get", "pods")
    assert "could not find the requested resource" in await kubectl.fails("get", "--raw", "/apis/nothing/v1")


async def test_a_json_patch_whose_test_fails(kubectl: Any) -> None:
    await kubectl.ok("create", "cm", "c", "--from-literal=a=1")
    patch = '[{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}]'
    told = await kubectl.fails("patch", "cm", "c", "--type=json", "-p", patch)
    assert 'The request is invalid: patch[0]: test "/data/a": the object has another value there' in told
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "1"}
