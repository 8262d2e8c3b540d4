"""The sync protocol, as agents of both generations speak it; who may, and what each refusal is."""

import base64
import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_configurations import Configuration, ConfigurationObject
from skerry.api.baetyl_v1alpha1 import Node, NodeReport
from skerry.api.core_v1 import Secret
from skerry.api.errors import NotFound
from skerry.api.model import ObjectMeta
from skerry.fleet.reports import REPORT_BYTES_MAX
from skerry.kit.clock import SystemClock
from skerry.server.auth import BAETYL_NODES
from skerry.server.client_certificates import issue_client_certificate
from skerry.testing.fleet import FleetDoors, NodeClient, open_fleet_doors

#: What an agent of version 2.0 sends: one machine, no headers.
OLD: dict[str, Any] = {
    "time": "2026-01-01T00:00:00Z",
    "core": {"goVersion": "go1.13", "binVersion": "v2.0.0", "gitRevision": "abc"},
    "node": {"hostname": "host1", "address": "10.0.0.2", "arch": "amd64", "machineID": "m1", "bootID": "b1"},
    "nodestats": {"usage": {"cpu": "0.25", "memory": "1Gi"}, "capacity": {"cpu": "2", "memory": "4Gi"}},
    "apps": [],
    "sysapps": [],
}
#: What one of the last version sends: machines by name.
NEW: dict[str, Any] = {
    **OLD,
    "modeinfo": "",
    "node": {"host1": {**OLD["node"], "role": "master", "labels": {}}},
    "nodestats": {"host1": {**OLD["nodestats"], "ready": True, "extension": None}},
    "appstats": [],
    "sysappstats": [],
    "nodeprops": {},
    "devices": [{"name": "d", "version": "1"}],
}
HEADERS = {"kind": "report", "source": "baetyl-core"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        await opened.product(enableWhitelist=0, labels={"site": "lyon"})
        yield opened


async def application(door: FleetDoors, name: str = "web", **spec: Any) -> Application:
    service = {"name": "web", "image": "nginx"}
    given = ApplicationSpec.model_validate({"selector": "site=lyon", "services": [service], **spec}, by_alias=True)
    return await door.client.create(Application(metadata=ObjectMeta(name=name, namespace="default"), spec=given))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


async def ready(door: FleetDoors) -> NodeClient:
    """Return a node that is to run no application of users."""
    await door.system_application()
    return await door.joined()


async def kept(door: FleetDoors) -> NodeReport:
    return await door.client.get(NodeReport, "sn001", namespace="default")


@pytest.mark.parametrize(("report", "headers"), [(OLD, {}), (NEW, HEADERS)], ids=["2.0", "2.4"])
async def test_an_agent_reports_and_is_told_until_it_has_what_it_is_to_run(
    door: FleetDoors, report: dict[str, Any], headers: dict[str, str]
):
    node = await ready(door)
    app = await application(door)
    delta = await node.report(report, headers=headers)
    assert delta["apps"] == [{"name": "web", "version": app.metadata.resource_version}]
    assert [each["name"] for each in delta["sysapps"]] == ["baetyl-core"]
    assert await node.report({**report, **delta}, headers=headers) == {}
    await door.client.delete(app)
    assert await node.report({**report, **delta}, headers=headers) == {"apps": []}


@pytest.mark.parametrize(("report", "headers"), [(OLD, {}), (NEW, HEADERS)], ids=["2.0", "2.4"])
async def test_a_report_is_kept_before_it_is_answered_and_shown_as_the_document_has_it(
    door: FleetDoors, report: dict[str, Any], headers: dict[str, str]
):
    node = await ready(door)
    await node.report(report, headers=headers)
    assert (await kept(door)).report["node"] == report["node"]
    shown = (await door.ask("GET", "/v1/nodes/sn001/stats"))["report"]
    assert shown["node"]["hostname"] == "host1"
    assert shown["nodestats"]["percent"] == {"cpu": 0.125, "memory": 0.25}
    assert shown["time"] != report["time"]


async def test_a_report_is_of_the_time_at_which_it_came(door: FleetDoors):
    node = await ready(door)
    await node.report({**OLD, "time": "1999-01-01T00:00:00Z"})
    first = (await kept(door)).time
    await node.report(OLD)
    assert "1999-01-01T00:00:00Z" < first < (await kept(door)).time


async def test_a_node_that_decides_for_itself_is_told_nothing(door: FleetDoors):
    node = await ready(door)
    await application(door)
    found = await door.client.get(Node, "sn001", namespace="default")
    await door.client.change(found, lambda obj: setattr(obj.spec, "mode", "local"))
    assert await node.report(OLD) is None
    assert (await kept(door)).report["core"] == OLD["core"]


async def test_a_node_for_which_nothing_is_known_is_not_ready_and_its_report_is_kept(door: FleetDoors):
    node = await door.joined()
    assert (await node.report(OLD, 400))["code"] == "ErrNodeNotReady"
    assert (await kept(door)).report["core"] == OLD["core"]


async def test_properties_of_a_node_reach_it(door: FleetDoors):
    node = await ready(door)
    await door.ask("PUT", "/v1/nodes/sn001/properties", {"state": {"desire": {"k": "v"}}})
    assert (await node.report(NEW, headers=HEADERS))["nodeprops"] == {"k": "v"}


async def test_two_agents_that_are_one_node_are_noticed(door: FleetDoors):
    node = await ready(door)
    copy = {**OLD, "node": {"hostname": "host2", "machineID": "m2"}}
    for report in (OLD, copy):
        await node.report(report)
        assert (await kept(door)).conflict_time is None
    await node.report(OLD)
    assert (await kept(door)).conflict_time is not None


BAD = [
    (b"", 400, "ErrRequestParamInvalid"),
    (b"{", 400, "ErrRequestParamInvalid"),
    (b"[]", 400, "ErrRequestParamInvalid"),
    (b"null", 400, "ErrRequestParamInvalid"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "ErrRequestParamInvalid"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "ErrRequestParamInvalid"),
    (b'{"a":"' + b"x" * REPORT_BYTES_MAX + b'"}', 413, "ErrDataTooLarge"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD, ids=[f"bad-{number}" for number in range(len(BAD))])
async def test_what_is_no_report_is_refused_and_not_kept(door: FleetDoors, body: bytes, status: int, code: str):
    node = await ready(door)
    for route in ("report", "desire"):
        answer = await node.http.post(f"/v1/sync/{route}", content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    with pytest.raises(NotFound):
        await kept(door)


async def test_a_report_with_members_of_any_form_is_taken_and_can_be_shown(door: FleetDoors):
    node = await ready(door)
    for source in ("", "baetyl-core", "baetyl-init"):
        for member in ("apps", "sysapps", "node", "nodestats", "appstats", "nodeprops"):
            for junk in (None, 1, "x", [1], {"a": 1}, [{"name": 1}], [{"name": ["a"]}]):
                await node.report({**OLD, member: junk}, headers={"source": source})
                await door.ask("GET", "/v1/nodes/sn001/stats")


async def test_without_a_certificate_nobody_reports(door: FleetDoors):
    for client in (door.device, door.http):
        answer = await client.post("/v1/sync/report", json=OLD)
        assert answer.status_code in {400, 401}
    assert (await door.device.post("/v1/sync/report", json=OLD)).json()["code"] == "ErrRequestAccessDenied"
    named = {"common-name": "default.sn001"}
    assert (await door.device.post("/v1/sync/report", json=OLD, headers=named)).status_code == 401


@pytest.mark.parametrize("name", ["default.ghost", "default", ".", "default.", ".sn001", "kube-system.sn001"])
@pytest.mark.parametrize("group", [BAETYL_NODES, "other"])
async def test_a_certificate_that_names_no_node_reports_nothing(door: FleetDoors, name: str, group: str):
    await ready(door)
    now = SystemClock().now()
    pem, _ = issue_client_certificate(door.authority, name, [group], (now, now + dt.timedelta(days=365)))
    answer = await door.node(pem.decode()).http.post("/v1/sync/report", json=OLD)
    assert answer.status_code == (401 if group == BAETYL_NODES else 403)


async def test_a_node_that_was_deleted_is_locked_out_and_so_it_is_when_another_has_its_name(door: FleetDoors):
    node = await ready(door)
    await node.report(OLD)
    await door.client.delete(await door.client.get(Node, "sn001", namespace="default"))
    await node.report(OLD, 401)
    other = await door.joined()
    await node.report(OLD, 401)
    assert "sysapps" in await other.report(OLD)


async def test_a_node_whose_certificates_are_revoked_is_locked_out(door: FleetDoors):
    node = await ready(door)
    await node.report(OLD)
    await door.ask("POST", "/v1/nodes/sn001/revoke")
    await node.report(OLD, 401)
    again = await door.joined()  # its product's token still lets it join
    assert "sysapps" in await again.report(OLD)
    await node.report(OLD, 401)


async def test_a_node_may_do_nothing_else(door: FleetDoors):
    node = await ready(door)
    for path in ("/v1/nodes", "/v1/nodes/sn001/stats", "/v1/register/factory", "/v1/secrets", "/v1/sync/other"):
        assert (await node.http.get(path)).status_code in {403, 404}


def named(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="default")


async def mounting(door: FleetDoors) -> Application:
    """Make an application that mounts a configuration and a secret."""
    await door.client.create(Configuration(metadata=named("conf"), data={"a": "{{ .Env }}"}, description="c"))
    secret = base64.b64encode(b"s3cret").decode()
    for name in ("sec", "other"):
        await door.client.create(Secret(metadata=named(name), data={"k": secret}))
    volumes = [{"name": "c", "config": {"name": "conf"}}, {"name": "s", "secret": {"name": "sec"}}]
    return await application(door, volumes=volumes)


async def test_a_node_fetches_what_it_is_to_run_and_all_that_this_mounts(door: FleetDoors):
    node = await ready(door)
    await mounting(door)
    (told,) = (await node.report(OLD))["apps"]
    (value,) = (await node.desire({"kind": "application", **told}))["values"]
    assert (value["kind"], value["name"], value["version"]) == ("application", "web", told["version"])
    app = value["value"]
    assert app["services"][0]["image"] == "nginx"
    mounts = {each["name"]: each.get("config") or each.get("secret") for each in app["volumes"]}
    answer = await node.desire({"kind": "configuration", **mounts["c"]}, {"kind": "secret", **mounts["s"]})
    config, secret = (each["value"] for each in answer["values"])
    assert (config["data"], config["description"], config["version"]) == (
        {"a": "{{ .Env }}"},
        "c",
        mounts["c"]["version"],
    )
    assert base64.b64decode(secret["data"]["k"]) == b"s3cret"


async def test_no_template_is_left_in_an_answer(door: FleetDoors):
    node = await ready(door)
    await mounting(door)
    answer = await node.http.post("/v1/sync/desire", json={"infos": [{"kind": "config", "name": "conf"}]})
    assert b"{{" not in answer.content
    assert orjson.loads(answer.content)["values"][0]["value"]["data"] == {"a": "{{ .Env }}"}


async def test_a_node_gets_the_version_that_it_asks_for(door: FleetDoors):
    node = await ready(door)
    await mounting(door)
    (told,) = (await node.report(OLD))["apps"]
    conf = await door.client.get(Configuration, "conf", namespace="default")
    await door.client.change(conf, lambda obj: setattr(obj, "data", {"a": "new"}))
    (now,) = (await node.report(OLD))["apps"]
    assert int(now["version"]) > int(told["version"])
    for version, content in ((told, "{{ .Env }}"), (now, "new")):
        (app,) = (await node.desire({"kind": "app", **version}))["values"]
        mounted = next(each["config"] for each in app["value"]["volumes"] if "config" in each)
        (config,) = (await node.desire({"kind": "config", **mounted}))["values"]
        assert config["value"]["data"] == {"a": content}


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"kind": "application", "name": "ghost", "version": "1"}, 404),
        ({"kind": "application", "name": "elsewhere"}, 404),
        ({"kind": "secret", "name": "other"}, 404),
        ({"kind": "secret", "name": "ghost"}, 404),
        ({"kind": "config", "name": "ghost"}, 404),
        ({"kind": "config", "name": "conf", "version": "1"}, 404),
        ({"kind": "config", "name": "conf", "version": "99999999"}, 200),
        ({"kind": "node", "name": "sn001"}, 400),
        ({"kind": "config"}, 400),
        ({"name": "conf"}, 400),
        ({"kind": 1, "name": "conf"}, 400),
    ],
)
async def test_a_node_gets_nothing_that_is_not_meant_for_it(door: FleetDoors, info: dict[str, str], status: int):
    node = await ready(door)
    await mounting(door)
    await application(door, "elsewhere", selector="site=paris")
    await node.desire(info, status=status)


async def test_one_resource_that_is_missing_fails_the_whole_question(door: FleetDoors):
    node = await ready(door)
    await mounting(door)
    answer = await node.desire({"kind": "config", "name": "conf"}, {"kind": "secret", "name": "other"}, status=404)
    assert answer["message"] == "The (secret) resource (other) is not found."


@pytest.mark.parametrize("infos", [None, {}, "x", [1], [{"kind": "config", "name": "conf"}] * 1001])
async def test_a_question_of_another_form_is_refused(door: FleetDoors, infos: Any):
    node = await ready(door)
    answer = await node.http.post("/v1/sync/desire", json={"infos": infos})
    assert (answer.status_code, answer.json()["code"]) == (400, "ErrRequestParamInvalid")


async def test_a_file_that_was_uploaded_is_fetched_by_the_url_that_a_node_is_given(door: FleetDoors):
    node = await ready(door)
    uploaded = (await door.http.post("/v1/objects", content=b"model")).json()
    assert uploaded == {"source": "skerry", "object": f"sha256:{sha256(b'model')}", "md5": md5(b"model")}
    stored = {name: uploaded[name] for name in ("source", "object", "md5")}
    item = ConfigurationObject.model_validate(stored)
    other = ConfigurationObject(source="minio", endpoint="http://10.0.0.1", bucket="b", object="o", ak="A", sk="S")
    await door.client.create(Configuration(metadata=named("conf"), objects={"m.bin": item, "o": other}))
    await application(door, volumes=[{"name": "c", "config": {"name": "conf"}}])
    (answer,) = (await node.desire({"kind": "config", "name": "conf"}))["values"]
    told = {name: orjson.loads(text) for name, text in answer["value"]["data"].items()}
    assert told["_object_m.bin"]["md5"] == uploaded["md5"]
    assert "X-Amz-Signature" in told["_object_o"]["url"]
    url = told["_object_m.bin"]["url"]
    assert (await door.device.get(url)).content == b"model"
    for changed in (url.replace("digest=sha256%3A", "digest=sha256%3A0"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        assert (await door.device.get(changed)).status_code == 400


async def test_a_file_that_was_never_uploaded_is_not_found(door: FleetDoors):
    item = ConfigurationObject(source="skerry", object="sha256:" + "0" * 64)
    url = door.parts.objects.urls_at("https://x")(item)
    assert (await door.device.get(url)).status_code == 404
