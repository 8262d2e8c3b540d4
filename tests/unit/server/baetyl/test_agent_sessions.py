"""Sessions of Baetyl's own agents, replayed: what they send, to the byte, and that they can take every answer.

The two generations: 2.0 (one machine, no headers, one agent) and the last (machines by name, headers, and two agents of
one node: `baetyl-init`, which looks after the other one, and `baetyl-core`). Source of the shapes: the code of both.
"""

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_configurations import Configuration, ConfigurationObject
from skerry.api.core_v1 import Secret
from skerry.api.model import ObjectMeta
from skerry.testing.fleet import FleetDoors, NodeClient, open_fleet_doors

#: As Go's encoder writes the report of an agent of 2.0: its members in the order of the struct, no headers but JSON's.
OLD = (
    b'{"time":"2020-08-25T08:00:00.123456789Z","node":{"hostname":"docker-desktop","address":"192.168.65.3",'
    b'"arch":"amd64","kernelVer":"4.19.76-linuxkit","os":"linux","containerRuntime":"docker://19.3.8",'
    b'"machineID":"b49d5b1b-1c0a-42a9-9ee5-5cf69f9f8070","bootID":"76f2ec2d-2d5d-4b3f-a0ad-5d8f0c7f7a5d",'
    b'"systemUUID":"b49d5b1b-0000-0000-9ee5-5cf69f9f8070","osImage":"Docker Desktop"},'
    b'"nodestats":{"usage":{"cpu":"336037951n","memory":"4033160Ki"},"capacity":{"cpu":"2","memory":"8066320Ki"}},'
    b'"apps":%b,"sysapps":%b,"appstats":%b,"core":{"goVersion":"go1.13.4","binVersion":"v2.0.0","gitRevision":"abc"}}'
)
#: The same of the last generation, on a machine of its own (`native`).
NEW = (
    b'{"appstats":%b,"apps":%b,"core":{"binVersion":"v2.4.3","gitRevision":"854e324","goVersion":"go1.20"},'
    b'"devices":[{"name":"d","version":"1"}],"modeinfo":"","node":{"host1":{"hostname":"host1","address":"10.0.0.2",'
    b'"arch":"amd64","kernelVer":"","os":"linux","containerRuntime":"","machineID":"","bootID":"","systemUUID":"h1",'
    b'"osImage":"","variant":"","role":"master","labels":{}}},"nodeprops":%b,"nodestats":{"host1":{"diskPressure":false,'
    b'"memoryPressure":false,"pidPressure":false,"NetworkUnavailable":false,"ready":true,"usage":{"cpu":"0.250",'
    b'"memory":"123","disk":"1"},"capacity":{"cpu":"2","memory":"999","disk":"9"},"percent":{"disk":"0.1"},'
    b'"netio":{"netBytesSent":"0","netBytesRecv":"0","netPacketsSent":"0","netPacketsRecv":"0"},"extension":null}},'
    b'"sysapps":%b,"sysappstats":%b,"time":"2026-01-01T00:00:00.1Z"}'
)
#: What the agent of one node that looks after the other one tells.
INIT = b'{"sysapps":[{"name":"baetyl-core","version":"%b"}],"sysappstats":[{"name":"baetyl-core","status":"Running"}]}'
GO = {"content-type": "application/json", "user-agent": "Go-http-client/1.1", "accept-encoding": "gzip"}
CORE = {**GO, "kind": "report", "source": "baetyl-core"}
#: What the agents' template engine would take for an action; their files lie where the one placeholder says.
TEMPLATE = re.compile(rb"\{\{(?!\.BAETYL_HOST_PATH_LIB\}\})")


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        await opened.product(enableWhitelist=0, labels={"site": "lyon"})
        await opened.system_application()
        await prepare(opened)
        yield opened


async def prepare(door: FleetDoors) -> None:
    """Make an application that mounts a configuration, with a file, and a secret."""
    file = ConfigurationObject(source="http", url="https://files.example/model.zip", md5="d41d8c", unpack="zip")
    meta = {name: ObjectMeta(name=name, namespace="default") for name in ("conf", "sec", "web")}
    text = "{{ .Values.x }} <&> é"
    await door.client.create(Configuration(metadata=meta["conf"], data={"a.yml": text}, objects={"model": file}))
    await door.client.create(Secret(metadata=meta["sec"], data={"k": base64.b64encode(b"s3cret").decode()}))
    spec = {
        "selector": "site=lyon",
        "services": [{"name": "web", "image": "nginx", "replica": 1, "env": [{"name": "T", "value": "{{.Env}}"}]}],
        "volumes": [{"name": "c", "config": {"name": "conf"}}, {"name": "s", "secret": {"name": "sec"}}],
    }
    given = ApplicationSpec.model_validate(spec, by_alias=True)
    await door.client.create(Application(metadata=meta["web"], spec=given))


async def say(node: NodeClient, route: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Send a body as it is, and return that of the answer, which an agent can take."""
    answer = await node.http.post(f"/v1/sync/{route}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert not TEMPLATE.search(answer.content)
    return answer.content


def wanted(answer: Any, member: str) -> list[dict[str, str]]:
    """Return the applications of a delta: agents take name and version for texts, and fail on anything else."""
    found: list[dict[str, str]] = answer[member]
    for each in found:
        assert set(each) == {"name", "version"}
        assert all(type(value) is str for value in each.values())
    return found


def infos(kind: str, *resources: dict[str, str]) -> bytes:
    asked = b",".join(
        b'{"kind":"%b","name":"%b","version":"%b"}' % (kind.encode(), each["name"].encode(), each["version"].encode())
        for each in resources
    )
    return b'{"infos":[%b]}' % asked


async def fetched(node: NodeClient, kind: str, headers: dict[str, str], *resources: dict[str, str]) -> list[Any]:
    """Fetch resources, and return their values; each carries the version that was asked for."""
    answer = orjson.loads(await say(node, "desire", infos(kind, *resources), headers))
    assert set(answer) == {"values"}
    for each, resource in zip(answer["values"], resources, strict=True):
        assert set(each) == {"kind", "name", "version", "value"}
        assert (each["kind"], each["name"], each["version"]) == (kind, resource["name"], resource["version"])
        assert each["value"]["version"] == resource["version"]
    return [each["value"] for each in answer["values"]]


async def applied(node: NodeClient, told: list[dict[str, str]], headers: dict[str, str]) -> bytes:
    """Fetch what an agent does of its applications, in its order, and return how it reports them."""
    (app,) = await fetched(node, "application", headers, *told)
    assert app["namespace"] == "default"
    assert (app["type"], app["selector"], app["services"][0]["name"]) == ("container", "site=lyon", "web")
    assert app["services"][0]["env"] == [{"name": "T", "value": "{{.Env}}"}]
    volumes = {each["name"]: each for each in app["volumes"]}
    (config,) = await fetched(node, "configuration", headers, volumes["c"]["config"])
    assert set(config["data"]) == {"a.yml", "_object_model"}
    assert config["data"]["a.yml"] == "{{ .Values.x }} <&> é"
    told_of_file = orjson.loads(config["data"]["_object_model"])
    assert told_of_file == {"md5": "d41d8c", "url": "https://files.example/model.zip", "unpack": "zip"}
    (secret,) = await fetched(node, "secret", headers, volumes["s"]["secret"])
    assert base64.b64decode(secret["data"]["k"]) == b"s3cret"
    for value in (app, config, secret):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value["createTime"])
    return orjson.dumps([{"name": "web", "version": told[0]["version"], "status": "Running", "instances": {}}])


async def test_an_agent_of_2_0_syncs_until_nothing_is_left(door: FleetDoors) -> None:
    node = await door.joined()
    delta = orjson.loads(await say(node, "report", OLD % (b"[]", b"[]", b"[]"), GO))
    assert set(delta) == {"apps", "sysapps"}
    apps, sysapps = wanted(delta, "apps"), wanted(delta, "sysapps")
    assert [each["name"] for each in sysapps] == ["baetyl-core"]
    stats = await applied(node, apps, GO)
    same = OLD % (orjson.dumps(apps), orjson.dumps(sysapps), stats)
    assert await say(node, "report", same, GO) == b"{}"
    shown = (await door.ask("GET", "/v1/nodes/sn001/stats"))["report"]
    assert shown["node"]["hostname"] == "docker-desktop"
    assert shown["nodestats"]["usage"] == {"cpu": "0.337", "memory": "4129955840"}
    assert shown["nodestats"]["percent"] == {"cpu": 0.1685, "memory": 0.5}
    assert shown["appstats"][0]["name"] == "web"
    await door.ask("DELETE", "/v1/apps/web")
    assert await say(node, "report", same, GO) == b'{"apps":[]}'


async def test_the_two_agents_of_a_node_sync_apart(door: FleetDoors) -> None:
    node = await door.joined()
    core, init = CORE, {**GO, "kind": "report", "source": "baetyl-init"}
    for_desire = {**GO, "kind": "desire", "source": "baetyl-core", "x-baetyl-platform": "linux-amd64"}
    first = orjson.loads(await say(node, "report", NEW % (b"[]", b"[]", b"{}", b"[]", b"[]"), core))
    apps, (sysapp,) = wanted(first, "apps"), wanted(first, "sysapps")
    # The one tells of the other, which does not know of itself; neither takes away what the other one told.
    after = orjson.loads(await say(node, "report", INIT % sysapp["version"].encode(), init))
    assert set(after) == {"apps"}
    stats = await applied(node, apps, for_desire)
    same = NEW % (stats, orjson.dumps(apps), b"{}", b"[]", b"[]")
    assert await say(node, "report", same, core) == b"{}"
    assert await say(node, "report", INIT % sysapp["version"].encode(), init) == b"{}"
    kept = (await door.ask("GET", "/v1/nodes/sn001/stats"))["report"]
    assert (kept["apps"], kept["sysapps"]) == (apps, [sysapp])
    await door.ask("PUT", "/v1/nodes/sn001/properties", {"state": {"desire": {"k": "v"}}})
    assert await say(node, "report", same, core) == b'{"nodeprops":{"k":"v"}}'


async def test_a_node_that_is_left_to_itself_is_answered_null(door: FleetDoors) -> None:
    node = await door.joined()
    await door.ask("PUT", "/v1/nodes/sn001/mode", {"mode": "local"})
    assert await say(node, "report", OLD % (b"[]", b"[]", b"[]"), GO) == b"null"


async def test_old_names_of_kinds_are_understood_and_other_kinds_are_an_error(door: FleetDoors) -> None:
    node = await door.joined()
    (told,) = wanted(orjson.loads(await say(node, "report", OLD % (b"[]", b"[]", b"[]"), GO)), "apps")
    (app,) = await fetched(node, "app", GO, told)
    (config,) = await fetched(node, "config", GO, app["volumes"][0]["config"])
    assert config["name"] == "conf"
    other = await node.http.post("/v1/sync/desire", content=infos("device", told), headers=GO)
    assert (other.status_code, other.json()["code"]) == (400, "ErrRequestParamInvalid")
