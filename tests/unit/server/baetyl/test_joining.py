"""Joining: activation and installing over their routes, and who may fetch what."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.model import ObjectMeta
from skerry.testing.fleet import ADDRESS, FleetDoors, open_fleet_doors

PROGRAM = Path(__file__)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        opened.give_as_program(PROGRAM)
        yield opened


async def node(door: FleetDoors, name: str = "n1") -> Node:
    return await door.client.create(Node(metadata=ObjectMeta(name=name, namespace="default")))


async def token(door: FleetDoors, path: str = "/v1/nodes/n1/init") -> str:
    """Return the token of an install command."""
    command = (await door.ask("GET", path))["cmd"]
    url: str = next(part for part in command.split("'") if part.startswith("https://"))
    assert url.startswith(f"{ADDRESS}/v1/active/setup.sh?")
    return parse_qs(urlsplit(url).query)["token"][0]


async def fetched(door: FleetDoors, name: str, held: str, status: int = 200, under: str = "init") -> Any:
    answer = await door.device.get(f"/v1/{under}/{name}", params={"token": held})
    assert answer.status_code == status, answer.text
    return answer


async def test_a_device_joins_without_a_credential_and_may_report(door: FleetDoors):
    await door.product(enableWhitelist=0)
    await door.system_application()
    joined = await door.joined()
    assert "sysapps" in await joined.report({})


async def test_the_slash_at_the_end_of_upstreams_route_is_taken(door: FleetDoors):
    await door.product(enableWhitelist=0)
    answer = await door.device.post("/v1/active/", json=door.activation())
    assert answer.json()["nodeName"] == "sn001"


async def test_a_refused_activation_carries_the_id_of_its_request(door: FleetDoors):
    answer = await door.device.post("/v1/active", json={}, headers={"x-bce-request-id": "abc"})
    assert answer.headers["x-bce-request-id"] == answer.json()["request-id"] == "abc"


@pytest.mark.parametrize("path", ["/v1/nodes/n1/init", "/v1/register/factory/init"])
async def test_a_command_fetches_a_script_that_a_shell_understands(door: FleetDoors, path: str):
    await node(door)
    await door.product()
    held = await token(door, path)
    for under, name in (("active", "setup.sh"), ("init", "setup.sh"), ("init", "baetyl-install.sh")):
        script = (await fetched(door, name, held, under=under)).content
        for check in (["sh", "-n"], ["shellcheck", "-"]):
            process = await asyncio.create_subprocess_exec(*check, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            told, _ = await process.communicate(script)
            assert process.returncode == 0, told.decode()
        assert held.encode() in script
        assert f"addresses={ADDRESS}".encode() in script


async def test_the_command_names_the_key_of_the_server_it_believes(door: FleetDoors):
    await node(door)
    command = (await door.ask("GET", "/v1/nodes/n1/init"))["cmd"]
    assert command.startswith("curl -skSfL --retry 5 --pinnedpubkey 'sha256//")
    assert command.endswith("' -osetup.sh && sh setup.sh")


async def test_a_node_is_told_where_to_go_and_who_it_is(door: FleetDoors):
    await door.system_application()
    await node(door)
    told = (await fetched(door, "agent.json", await token(door))).json()
    assert told["addresses"] == [ADDRESS]
    assert told["ca"] == told["node"]["certificate"]["ca"]
    assert (told["node"]["namespace"], told["node"]["name"]) == ("default", "n1")
    assert "sysapps" in await door.node(told["node"]["certificate"]["cert"]).report({})


async def test_a_device_of_a_product_is_told_how_to_join(door: FleetDoors):
    await door.product(fingerprint={"type": 5, "snPath": "/etc/serial"})
    told = (await fetched(door, "agent.json", await token(door, "/v1/register/factory/init"))).json()
    assert told["batch"] == {
        "namespace": "default",
        "name": "factory",
        "securityType": "Token",
        "securityKey": "key",
        "snPath": "/etc/serial",
        "fingerprints": [{"proof": "sn", "value": "serial"}, {"proof": "hostName", "value": ""}],
    }


async def test_the_program_is_fetched_whole(door: FleetDoors):
    await node(door)
    answer = await fetched(door, "skerry-runtime.tar.gz", await token(door))
    assert answer.content == await asyncio.to_thread(PROGRAM.read_bytes)


async def test_a_token_for_one_use_gives_one_configuration(door: FleetDoors):
    await node(door)
    held = await token(door, "/v1/nodes/n1/init?once=true")
    await fetched(door, "setup.sh", held)
    await fetched(door, "agent.json", held)
    assert "used already" in (await fetched(door, "agent.json", held, 400)).json()["message"]
    await fetched(door, "agent.json", await token(door))


async def test_a_token_for_one_use_that_many_use_at_once_serves_one(door: FleetDoors):
    await node(door)
    held = await token(door, "/v1/nodes/n1/init?once=true")
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(door.device.get("/v1/init/agent.json", params={"token": held})) for _ in range(5)]
    assert sorted(task.result().status_code for task in asked) == [200, 400, 400, 400, 400]


async def test_the_token_of_a_node_that_was_deleted_opens_nothing_of_its_successor(door: FleetDoors):
    first = await node(door)
    held = await token(door)
    await door.client.delete(first)
    await fetched(door, "agent.json", held, 404)
    await node(door)
    await fetched(door, "agent.json", held, 404)


async def test_a_server_that_is_asked_under_no_name_gives_no_command(door: FleetDoors):
    await node(door)
    answer = await door.http.get("/v1/nodes/n1/init", headers={"host": "a'; rm -rf /"})
    assert (answer.status_code, answer.json()["code"]) == (400, "ErrRequestParamInvalid")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/active"), ("POST", "/v1/init/x")])
async def test_another_method_is_no_route(door: FleetDoors, method: str, path: str):
    answer = await door.http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "ErrRequestMethodNotFound")
