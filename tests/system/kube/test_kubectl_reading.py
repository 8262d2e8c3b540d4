"""kubectl's reading commands show what they show on Kubernetes."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import Target, WriteOptions
from skerry.testing.api_server import ApiServer
from skerry.testing.log_lines import LogLines
from tests.system.kube.conftest import until

pytestmark = pytest.mark.system


@pytest.fixture
async def hello(kubectl: Any, function: Any) -> None:
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(function(labels={"app": "web"})))


def words(line: str) -> list[str]:
    return line.split()


@pytest.mark.usefixtures("hello")
async def test_get_prints_the_columns_of_the_kind(kubectl: Any) -> None:
    head, row = (await kubectl.ok("get", "edgefunctions")).splitlines()
    assert words(head) == ["NAME", "MODE", "SOURCE", "TYPE", "LIVE", "REVISION", "READY", "AGE"]
    assert words(row)[:3] == ["hello", "backend", "JavaScript"]
    assert words(row)[-1].endswith("s")
    assert "app=web" in await kubectl.ok("get", "ef", "--show-labels")


@pytest.mark.usefixtures("hello")
async def test_get_all_finds_the_kinds_of_that_category(kubectl: Any) -> None:
    assert "hello" in await kubectl.ok("get", "all")


@pytest.mark.usefixtures("hello")
async def test_get_in_every_output_format(kubectl: Any) -> None:
    assert (await kubectl.ok("get", "ef", "-o", "name")) == "edgefunction.extensions.apoxy.dev/hello\n"
    assert "kind: EdgeFunction" in await kubectl.ok("get", "ef", "hello", "-o", "yaml")
    assert (await kubectl.json("get", "ef"))["items"][0]["kind"] == "EdgeFunction"
    assert await kubectl.ok("get", "ef", "-o", "jsonpath={.items[*].metadata.name}") == "hello"
    assert "backend" in await kubectl.ok("get", "ef", "-o", "wide")
    assert await kubectl.ok("get", "ef.v1alpha2.extensions.apoxy.dev", "--no-headers", "-o", "name")


async def test_selectors(kubectl: Any) -> None:
    for name, label in (("a", "tier=front"), ("b", "tier=back"), ("c", "other=x")):
        await kubectl.ok("create", "cm", name)
        await kubectl.ok("label", "cm", name, label)

    async def names(*arguments: str) -> list[str]:
        listed: str = await kubectl.ok("get", "cm", "-o", "jsonpath={.items[*].metadata.name}", *arguments)
        return listed.split()

    assert await names("-l", "tier=front") == ["a"]
    assert await names("-l", "tier in (front, back)") == ["a", "b"]
    assert await names("-l", "tier!=front") == ["b", "c"]
    assert await names("-l", "!tier") == ["c"]
    assert await names("--field-selector", "metadata.name=b") == ["b"]
    assert await names("--field-selector", "metadata.name!=b,metadata.namespace=default") == ["a", "c"]
    assert "field label not supported: spec.x" in await kubectl.fails("get", "cm", "--field-selector", "spec.x=1")


async def test_chunks_add_up_to_the_list(kubectl: Any) -> None:
    for number in range(5):
        await kubectl.ok("create", "cm", f"c{number}")
    listed = await kubectl.ok("get", "cm", "--chunk-size=2", "-o", "name")
    assert listed.split() == [f"configmap/c{number}" for number in range(5)]
    assert len((await kubectl.ok("get", "cm", "--chunk-size=2", "-A")).splitlines()) == 6
    assert await kubectl.ok("get", "cm", "--sort-by=.metadata.name", "-o", "name") == listed


async def test_get_watch_shows_each_change_once(kubectl: Any) -> None:
    async with kubectl.lines("get", "cm", "-w", "--output-watch-events", "--no-headers") as lines:
        await kubectl.ok("create", "cm", "c")
        assert words((await lines.readline()).decode())[:2] == ["ADDED", "c"]
        await kubectl.ok("label", "cm", "c", "a=b")
        assert words((await lines.readline()).decode())[:2] == ["MODIFIED", "c"]
        await kubectl.ok("delete", "cm", "c")
        assert words((await lines.readline()).decode())[:2] == ["DELETED", "c"]


@pytest.mark.usefixtures("hello")
async def test_wait_returns_when_the_condition_is_met(kubectl: Any, server: ApiServer) -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    async with kubectl.lines("wait", "--for=condition=Ready", "ef/hello", "--timeout=60s") as lines:
        await until(lambda: server.app.statistics()["streams"] == 1)  # the wait has opened its watch
        target = Target(EDGE_FUNCTION, "", "hello", "status")
        await server.verbs.patch(target, MergePatch({"status": {"conditions": [condition]}}), WriteOptions())
        assert await lines.readline() == b"edgefunction.extensions.apoxy.dev/hello condition met\n"


@pytest.mark.usefixtures("hello")
async def test_describe_and_its_events(kubectl: Any) -> None:
    uid = (await kubectl.json("get", "ef", "hello"))["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "hello.1"},
        "involvedObject": {
            "apiVersion": "extensions.apoxy.dev/v1alpha2",
            "kind": "EdgeFunction",
            "name": "hello",
            "uid": uid,
        },
        "reason": "Built",
        "message": "the code is built",
        "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(event))
    told = await kubectl.ok("describe", "ef", "hello")
    assert "app=web" in told
    assert "the code is built" in told
    assert words((await kubectl.ok("get", "events")).splitlines()[0]) == [
        "LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE",
    ]  # fmt: skip
    assert "Status:       Active" in await kubectl.ok("describe", "ns", "default")


async def test_explain_tells_types_defaults_enums_and_what_is_required(kubectl: Any) -> None:
    runtime = await kubectl.ok("explain", "edgefunction.spec.template.runtime")
    assert "KIND:       EdgeFunction" in runtime
    assert "port\t<integer>" in runtime
    template = await kubectl.ok("explain", "ef.spec.template")
    assert "-required-" in template
    assert "ENUM:\n    Active" in await kubectl.ok("explain", "ns.status.phase")
    assert "<[]OwnerReference>" in await kubectl.ok("explain", "cm.metadata")


async def test_api_resources_and_versions(kubectl: Any) -> None:
    rows = [words(line) for line in (await kubectl.ok("api-resources")).splitlines()]
    assert ["edgefunctions", "ef", "extensions.apoxy.dev/v1alpha2", "false", "EdgeFunction"] in rows
    assert ["configmaps", "cm", "v1", "true", "ConfigMap"] in rows
    assert "extensions.apoxy.dev/v1alpha2" in await kubectl.ok("api-versions")
    assert "v1.32.0" in await kubectl.ok("version")


async def test_auth_tells_who_and_what(kubectl: Any) -> None:
    assert "admin" in await kubectl.ok("auth", "whoami")
    assert await kubectl.ok("auth", "can-i", "create", "configmaps") == "yes\n"
    assert "*.*" in await kubectl.ok("auth", "can-i", "--list")


@pytest.mark.usefixtures("hello")
async def test_raw_log_gives_lines_and_follows(kubectl: Any, log_lines: LogLines) -> None:
    path = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/hello/log"
    for line in ("one", "two", "three"):
        await log_lines.add("hello", line)
    assert await kubectl.ok("get", "--raw", path) == "one\ntwo\nthree\n"
    assert await kubectl.ok("get", "--raw", f"{path}?tailLines=1") == "three\n"
    async with kubectl.lines("get", "--raw", f"{path}?follow=true&tailLines=0") as lines:
        read = asyncio.ensure_future(lines.readline())
        while not read.done():  # lines that come before the follower has opened are not its own
            await log_lines.add("hello", "four")
            await asyncio.wait([read], timeout=0.05)
        assert await read == b"four\n"


async def test_clients_that_stream_their_lists(kubectl: Any) -> None:
    await kubectl.ok("create", "cm", "c")
    told = await kubectl.ok(
        "wait", "--for=jsonpath={.metadata.name}=c", "cm/c", "--timeout=60s", KUBE_FEATURE_WatchListClient="true"
    )
    assert told == "configmap/c condition met\n"


async def test_get_watch_of_a_selection_shows_what_enters_and_leaves_it(kubectl: Any, server: ApiServer) -> None:
    await kubectl.ok("create", "cm", "before")
    arguments = ("get", "cm", "-l", "tier=front", "-w", "--output-watch-events", "--no-headers")
    async with kubectl.lines(*arguments) as lines:
        await until(lambda: server.app.statistics()["streams"] == 1)
        await kubectl.ok("label", "cm", "before", "tier=front")
        assert words((await lines.readline()).decode())[:2] == ["ADDED", "before"]
        await kubectl.ok("annotate", "cm", "before", "note=mine")
        assert words((await lines.readline()).decode())[:2] == ["MODIFIED", "before"]
        await kubectl.ok("label", "--overwrite", "cm", "before", "tier=back")
        assert words((await lines.readline()).decode())[:2] == ["DELETED", "before"]


async def test_wait_for_a_creation_a_value_and_a_deletion(kubectl: Any, server: ApiServer) -> None:
    async with kubectl.lines("wait", "--for=create", "cm/c", "--timeout=60s") as lines:
        await kubectl.ok("create", "cm", "c")
        assert await lines.readline() == b"configmap/c condition met\n"
    async with kubectl.lines("wait", "--for=jsonpath={.data.a}=1", "cm/c", "--timeout=60s") as lines:
        await until(lambda: server.app.statistics()["streams"] == 1)
        await kubectl.ok("patch", "cm", "c", "-p", '{"data":{"a":"1"}}')
        assert await lines.readline() == b"configmap/c condition met\n"
    await until(lambda: server.app.statistics()["streams"] == 0)
    async with kubectl.lines("wait", "--for=delete", "cm/c", "--timeout=60s") as lines:
        await until(lambda: server.app.statistics()["streams"] == 1)
        await kubectl.ok("delete", "cm", "c")
        assert await lines.readline() == b"configmap/c condition met\n"


async def test_events_of_one_object_and_as_they_come(kubectl: Any, server: ApiServer) -> None:
    await kubectl.ok("create", "cm", "c")

    async def tell(message: str) -> None:
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "c."},
            "involvedObject": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "default"},
            "reason": "Told",
            "message": message,
            "type": "Warning",
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }
        await kubectl.ok("create", "-f", "-", stdin=json.dumps(event))

    await tell("the first")
    head, row = (await kubectl.ok("events", "--for", "configmap/c")).splitlines()
    assert words(head) == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert words(row)[1:] == ["Warning", "Told", "ConfigMap/c", "the", "first"]
    assert await kubectl.ok("events", "--types=Normal") == ""
    async with kubectl.lines("events", "--watch", "--no-headers") as lines:
        assert b"the first" in await lines.readline()
        await until(lambda: server.app.statistics()["streams"] == 1)
        await tell("the second")
        assert b"the second" in await lines.readline()


async def test_proxy_hands_requests_through(kubectl: Any) -> None:
    async with kubectl.lines("proxy", "--port=0") as lines:
        address = (await lines.readline()).decode().split()[-1]  # Starting to serve on 127.0.0.1:...
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=60) as http:
            created = await http.post("/api/v1/namespaces/default/configmaps", json={"metadata": {"name": "c"}})
            assert created.status_code == 201
            assert (await http.get("/api/v1/namespaces/default/configmaps/c")).json()["metadata"]["name"] == "c"
            assert (await http.get("/apis")).json()["kind"] == "APIGroupList"
            watch = "/api/v1/namespaces/default/configmaps?watch=true"
            async with http.stream("GET", watch) as answer:
                async for line in answer.aiter_lines():
                    assert json.loads(line)["object"]["metadata"]["name"] == "c"
                    break
