"""The WebSocket links of nodes, over real TLS: frames as Baetyl's agents send them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import NodeReport
from skerry.api.model import ObjectMeta
from skerry.fleet.reports import REPORT_BYTES_MAX
from skerry.server import serve as serve_module
from skerry.server.baetyl import links as links_module
from skerry.server.conversations import LOCKED_OUT, REPLACED
from skerry.server.inflight import InflightLimits
from skerry.server.serve import BoundedHttpProtocol, ServeSettings, serve
from skerry.testing.fleet import FleetDoors, open_fleet_doors
from skerry.testing.node_links import ServedFleet, linked, node_trust, served_fleet
from skerry.testing.waiting import SECONDS_MAX

REPORT: dict[str, Any] = {"node": {"host1": {"hostname": "host1", "machineID": "m1"}}, "apps": [], "sysapps": []}
QUESTION = {"x-baetyl-request-id": "q1", "sync": "true"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedFleet]:
    async with served_fleet(tmp_path) as running:
        yield running


async def application(doors: FleetDoors, name: str = "web") -> Application:
    given = {"selector": "site=lyon", "services": [{"name": "web", "image": "nginx"}]}
    spec = ApplicationSpec.model_validate(given, by_alias=True)
    return await doors.client.create(Application(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))


@pytest.mark.parametrize("meta", [{}, {"source": "baetyl-core"}, QUESTION], ids=["old", "asynchronous", "waiting"])
async def test_a_report_is_answered_with_what_is_to_change(served: ServedFleet, meta: dict[str, str]) -> None:
    async with served.link() as link:
        answer = await link.ask("report", REPORT, **meta)
    assert answer["kind"] == "report"
    assert [item["name"] for item in answer["content"]["sysapps"]] == ["baetyl-core"]
    assert answer["meta"] == {
        **{name: value for name, value in meta.items() if name != "source"},
        "x-skerry-report-seconds": "20",
        "x-skerry-relink-seconds": "1",
    }


async def test_nodes_are_told_to_come_back_over_as_long_as_they_are_many(
    served: ServedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "RELINKS_PER_SECOND", 1)
    async with served.link() as first, served.link() as second:
        assert (await first.ask("report", REPORT))["meta"]["x-skerry-relink-seconds"] == "2"
        assert (await second.ask("report", REPORT, source="baetyl-init"))["meta"]["x-skerry-relink-seconds"] == "2"
        await application(served.doors)
        assert (await first.receive())["meta"]["x-skerry-relink-seconds"] == "2"


async def test_a_change_is_told_without_a_report(served: ServedFleet) -> None:
    async with served.link() as link:
        await link.ask("report", REPORT)
        made = await application(served.doors)
        told = await link.receive()
        assert told["kind"] == "report"
        assert told["content"]["apps"] == [{"name": "web", "version": made.metadata.resource_version}]
        assert [item["name"] for item in told["content"]["sysapps"]] == ["baetyl-core"]
        await served.doors.client.delete(made)
        assert (await link.receive())["content"]["apps"] == []


async def test_a_link_lasts_longer_than_the_head_of_a_request_may_take(
    served: ServedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = BoundedHttpProtocol.handle_websocket_upgrade

    def upgraded(protocol: BoundedHttpProtocol) -> None:
        monkeypatch.setattr(serve_module, "HEAD_SECONDS", 0.0)  # whatever waits for a head from now on is cut at once
        upgrade(protocol)

    monkeypatch.setattr(BoundedHttpProtocol, "handle_websocket_upgrade", upgraded)
    async with served.link() as link:
        assert (await link.ask("report", REPORT))["kind"] == "report"


async def test_a_new_property_and_another_interval_are_told_without_a_report(served: ServedFleet) -> None:
    async with served.link() as link:
        await link.ask("report", REPORT)
        await served.doors.ask("PUT", "/v1/nodes/sn001/properties", {"state": {"desire": {"colour": "green"}}})
        assert (await link.receive())["content"]["nodeprops"] == {"colour": "green"}


async def test_a_link_that_has_not_reported_is_told_nothing(served: ServedFleet) -> None:
    async with served.link() as link:
        await application(served.doors)
        answer = await link.ask("report", REPORT)
        assert {item["name"] for item in answer["content"]["apps"]} == {"web"}


async def test_resources_are_fetched_over_the_link(served: ServedFleet) -> None:
    made = await application(served.doors)
    info = {"kind": "application", "name": "web", "version": made.metadata.resource_version}
    async with served.link() as link:
        answer = await link.ask("desire", {"infos": [info]}, **QUESTION)
    assert answer["meta"] == QUESTION
    assert answer["content"]["values"][0]["value"]["services"][0]["image"] == "nginx"


#: Frames that can't be taken, and what is said of each.
REFUSED = (
    ("{", "the body is no JSON"),
    ("[]", "the body must be a JSON object"),
    ('{"content": {}}', "kind must be a text"),
    ('{"kind": "report", "meta": {"a": 1}}', "meta.a must be a text"),
    ('{"kind": "report", "meta": null, "content": []}', "must be an object"),
    ('{"kind": "deviceReport", "content": {}}', "frames of the kind deviceReport are not taken"),
    ('{"kind": "desire", "content": {"infos": [{"kind": "secret", "name": "x"}]}}', "is not found"),
    ('{"a":' * 40 + "1" + "}" * 40, "nested deeper"),
)


async def test_a_frame_that_can_not_be_taken_is_answered_and_the_link_goes_on(served: ServedFleet) -> None:
    async with served.link() as link:
        for frame, said in REFUSED:
            await link.connection.send(frame)
            answer = await link.receive()
            assert (answer["kind"], answer["meta"]["name"]) == ("error", "sn001")
            assert said in answer["content"]
        assert (await link.ask("keepalive"))["kind"] == "keepalive"


async def test_a_frame_that_is_too_large_ends_the_link(served: ServedFleet) -> None:
    async with served.link() as link:
        await link.connection.send('{"kind": "' + "x" * (REPORT_BYTES_MAX + 70_000))
        assert (await link.closed())[0] == 1009


async def test_a_node_that_is_revoked_is_locked_out_of_its_link_and_of_another(served: ServedFleet) -> None:
    async with served.link() as link:
        await link.ask("report", REPORT)
        await served.doors.ask("POST", "/v1/nodes/sn001/revoke")
        assert (await link.closed())[0] == LOCKED_OUT
    with pytest.raises(InvalidStatus) as refused:
        async with served.link():
            pass
    assert refused.value.response.status_code == 401


async def test_a_node_that_is_deleted_is_locked_out_of_its_link(served: ServedFleet) -> None:
    async with served.link() as link:
        await link.ask("report", REPORT)
        await served.doors.ask("DELETE", "/v1/nodes/sn001")
        assert (await link.closed())[0] == LOCKED_OUT


async def test_the_newest_link_of_an_agent_takes_the_place_of_the_one_before(served: ServedFleet) -> None:
    async with served.link() as first, served.link() as second, served.link() as other_agent:
        await first.ask("report", REPORT, source="baetyl-core")
        await other_agent.ask("report", {"sysapps": []}, source="baetyl-init")
        await second.ask("report", REPORT, source="baetyl-core")
        assert (await first.closed())[0] == REPLACED
        await application(served.doors)
        assert (await second.receive())["content"]["apps"][0]["name"] == "web"
        assert (await other_agent.receive())["content"]["apps"][0]["name"] == "web"


async def test_two_agents_with_one_identity_are_noticed(served: ServedFleet) -> None:
    def report(agent: str) -> dict[str, Any]:
        return {**REPORT, "core": {"session": agent}}

    async with served.link() as one:
        await one.ask("report", report("a"))
        async with served.link() as other:
            await other.ask("report", report("b"))
            await one.closed()
            async with served.link() as again:
                await again.ask("report", report("a"))
    kept = await served.doors.client.get(NodeReport, "sn001", namespace="default")
    assert kept.conflict_time == kept.time


async def test_the_path_is_a_link_of_nodes_and_of_nothing_else(served: ServedFleet) -> None:
    stranger = node_trust(served.doors.authority.pem.decode(), None)
    with pytest.raises(InvalidStatus) as refused:
        async with linked(served.at, stranger):
            pass
    assert refused.value.response.status_code == 401
    async with httpx.AsyncClient(base_url=served.at.url, verify=served.trust, timeout=SECONDS_MAX) as http:
        answer = await http.get("/v1/sync")
        assert (answer.status_code, answer.json()["code"]) == (400, "ErrRequestParamInvalid")
    with pytest.raises(InvalidStatus) as passed_over:
        async with linked(served.at, served.trust, "/healthz"):
            pass
    assert passed_over.value.response.status_code == 200


async def test_nodes_report_over_either_link_and_hear_the_same(served: ServedFleet) -> None:
    async with (
        httpx.AsyncClient(base_url=served.at.url, verify=served.trust, timeout=SECONDS_MAX) as http,
        served.link() as link,
    ):
        over_http = await http.post("/v1/sync/report", json=REPORT)
        assert over_http.headers["x-skerry-report-seconds"] == "20"
        assert (await link.ask("report", REPORT))["content"] == over_http.json()


async def test_a_change_for_all_reaches_every_link(served: ServedFleet) -> None:
    trusts = [
        node_trust(served.doors.authority.pem.decode(), await served.doors.certificate(f"SN1{n:02}")) for n in range(5)
    ]

    async def wait(trust: ssl.SSLContext, ready: asyncio.Semaphore) -> Any:
        async with linked(served.at, trust) as link:
            await link.ask("report", REPORT)
            ready.release()
            return (await link.receive())["content"]["apps"]

    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(wait(trust, ready)) for trust in trusts]
        for _ in trusts:
            await ready.acquire()
        made = await application(served.doors)
    expected = [{"name": "web", "version": made.metadata.resource_version}]
    assert [task.result() for task in waiting] == [expected] * len(trusts)


async def test_a_server_that_stops_ends_links_at_once(tmp_path: Path) -> None:
    async with open_fleet_doors(tmp_path) as doors:
        await doors.product(enableWhitelist=0)
        await doors.system_application()
        trust = node_trust(doors.authority.pem.decode(), await doors.certificate())
        async with AsyncExitStack() as links:
            async with serve(doors.app, ServeSettings(port=0, drain_seconds=60), doors.identity) as at:
                link = await links.enter_async_context(linked(at, trust))
                await link.ask("report", REPORT)
            assert (await link.closed())[0] == 1012


async def test_a_node_has_no_more_links_than_it_may(served: ServedFleet) -> None:
    async with AsyncExitStack() as links:
        for _ in range(InflightLimits().max_node_own_links_inflight):
            await links.enter_async_context(served.link())
        with pytest.raises(InvalidStatus) as refused:
            async with served.link():
                pass
    assert refused.value.response.status_code == 429
