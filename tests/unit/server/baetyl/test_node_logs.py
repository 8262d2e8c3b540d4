"""Commands to nodes: the routes of people, the frames that their nodes get, and what comes of their answers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from skerry.cli.app import app
from skerry.server.baetyl import node_metrics
from skerry.server.baetyl.commands import BUFFER_BYTES_MAX
from skerry.server.credentials import write_kubeconfig
from skerry.testing.node_links import NodeLink, ServedFleet, served_fleet
from skerry.testing.waiting import SECONDS_MAX

LOGS = "/v1/nodes/sn001/apps/web/logs"
METRICS = "/v1/nodes/sn001/metrics"
REPORT: dict[str, Any] = {
    "node": {"host1": {"hostname": "host1"}},
    "apps": [],
    "sysapps": [],
    "appstats": [
        {"name": "web", "instances": {"pod-2": {"name": "pod-2"}, "pod-1": {"name": "pod-1"}}},
        {"name": "broken", "instances": {}},
    ],
    "sysappstats": [{"name": "baetyl-core", "instances": {"core-1": {"name": "core-1"}}}],
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedFleet]:
    async with served_fleet(tmp_path) as running:
        yield running


@pytest.fixture
async def link(served: ServedFleet) -> AsyncIterator[NodeLink]:
    """A node that has reported over its link."""
    async with served.link() as opened:
        await opened.ask("report", REPORT)
        yield opened


async def asked(link: NodeLink) -> tuple[dict[str, str], Any]:
    """Return meta and content of the command that a node gets next."""
    frame = await link.receive()
    assert frame["kind"] == "cmd"
    return frame["meta"], frame["content"]


async def data(link: NodeLink, token: str, text: str) -> None:
    await link.send("data", base64.b64encode(text.encode()).decode(), success="true", msg="ok", token=token)


async def end(link: NodeLink, token: str, reason: str = "disconnect") -> None:
    await link.send("cmd", success="false", msg=reason, token=token)


async def test_the_lines_of_an_instance_are_read_as_they_were_asked_for(served: ServedFleet, link: NodeLink) -> None:
    query = {"tailLines": "5", "limitBytes": "100", "timestamps": "true", "container": "main", "instance": "pod-2"}
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.http.get(LOGS, params=query))
        meta, content = await asked(link)
        assert (meta["cmd"], meta["namespace"], meta["name"]) == ("logs", "baetyl-edge", "pod-2")
        assert meta["container"] == "main"
        assert content == {
            "Follow": False,
            "Previous": False,
            "Timestamps": True,
            "TailLines": 5,
            "LimitBytes": 100,
        }
        await data(link, meta["token"], "one\n")
        await data(link, meta["token"], "two\n")
        await end(link, meta["token"])
    assert answer.result().text == "one\ntwo\n"
    assert answer.result().headers["content-type"] == "text/plain; charset=utf-8"
    assert (await asked(link))[0]["cmd"] == "disconnect"


async def test_a_log_that_is_followed_comes_as_it_is_printed_until_its_reader_leaves(
    served: ServedFleet, link: NodeLink
) -> None:
    headers = {"authorization": "Bearer root"}
    async with (
        httpx.AsyncClient(
            base_url=served.at.url, verify=served.trust_of_people, headers=headers, timeout=SECONDS_MAX
        ) as http,
        http.stream("GET", LOGS, params={"follow": "true"}, timeout=60) as answer,
    ):
        meta, _ = await asked(link)
        assert meta["name"] == "pod-1"  # the first, where none is named
        lines = answer.aiter_lines()
        for text in ("one", "two"):
            await data(link, meta["token"], f"{text}\n")
            assert await anext(lines) == text
    told, _ = await asked(link)
    assert (told["cmd"], told["token"]) == ("disconnect", meta["token"])


async def test_a_node_describes_an_application(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.http.get("/v1/nodes/sn001/apps/broken/describe"))
        meta, _ = await asked(link)
        assert (meta["cmd"], meta["resourceType"], meta["name"]) == ("describe", "po", "broken")
        await data(link, meta["token"], "Name: broken\n")
        await end(link, meta["token"])
    assert answer.result().text == "Name: broken\n"


async def test_what_the_node_refuses_is_told_in_its_words(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.refused("GET", LOGS))
        await end(link, (await asked(link))[0]["token"], "no such pod")
    assert answer.result() == "ErrNodeCommand: The node answered: no such pod"


async def test_a_stream_that_breaks_says_why(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.http.get(LOGS))
        token = (await asked(link))[0]["token"]
        await data(link, token, "one\n")
        await end(link, token, "the disk is gone")
    assert answer.result().text == "one\n\n[it ends here: The node answered: the disk is gone]\n"


async def test_a_link_that_is_lost_ends_its_commands(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.refused("GET", LOGS))
        await asked(link)
        await link.connection.close()
    assert answer.result() == "ErrNodeCommand: The node answered: its link was lost"


async def test_a_reader_that_is_too_slow_loses_its_stream_and_the_link_goes_on(
    served: ServedFleet, link: NodeLink
) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.http.get(LOGS))
        token = (await asked(link))[0]["token"]
        # In one go, before anybody can read.
        await data(link, token, "x" * (BUFFER_BYTES_MAX // 2 + 100_000) + "\n")
        await data(link, token, "y" * (BUFFER_BYTES_MAX // 2 + 100_000) + "\n")
        await end(link, token)
    assert answer.result().text.startswith("x")
    assert (await link.receive())["meta"]["cmd"] == "disconnect"
    assert (await link.ask("report", REPORT))["kind"] == "report"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/nodes/ghost/apps/web/logs", 404, "The (node) resource (ghost) is not found"),
        ("/v1/nodes/ghost/metrics", 404, "The (node) resource (ghost) is not found"),
        ("/v1/nodes/sn001/apps/ghost/logs", 404, "has not reported the application (ghost)"),
        (f"{LOGS}?instance=pod-9", 404, "The (instance) resource (pod-9) is not found"),
        (f"{LOGS}?tailLines=x", 400, "tailLines"),
        (f"{LOGS}?previous=maybe", 400, "previous"),
    ],
    ids=["node", "node-of-metrics", "application", "instance", "lines", "previous"],
)
async def test_what_there_is_not_is_refused(
    served: ServedFleet, link: NodeLink, path: str, status: int, said: str
) -> None:
    assert said in await served.doors.refused("GET", path, status=status)
    assert link.connection.close_code is None


async def test_a_node_without_a_link_takes_no_commands(served: ServedFleet) -> None:
    async with httpx.AsyncClient(base_url=served.at.url, verify=served.trust, timeout=SECONDS_MAX) as node:
        assert (await node.post("/v1/sync/report", json=REPORT)).status_code == 200
    for path in (LOGS, METRICS):
        told = await served.doors.refused("GET", path)
        assert told.startswith("ErrNodeNotLinked: The node (sn001) has no WebSocket link")


@pytest.mark.parametrize(
    ("arguments", "command", "wish"),
    [(["logs", "sn001", "web", "--tail", "2"], "logs", {"TailLines": 2}), (["metrics", "sn001"], "metrics", {})],
    ids=["logs", "metrics"],
)
async def test_the_command_prints_what_the_node_prints(
    served: ServedFleet, link: NodeLink, tmp_path: Path, arguments: list[str], command: str, wish: dict[str, Any]
) -> None:
    config = tmp_path / "kubeconfig"
    write_kubeconfig(config, url=served.at.url, authority_pem=served.doors.authority.pem, token="root")
    arguments = ["node", *arguments, "--kubeconfig", str(config)]
    async with asyncio.TaskGroup() as group:
        printed = group.create_task(asyncio.to_thread(CliRunner().invoke, app, arguments))
        meta, content = await asked(link)
        assert meta["cmd"] == command
        assert wish.items() <= (content or {}).items()
        await data(link, meta["token"], "one\ntwo\n")
        await end(link, meta["token"])
    assert (printed.result().exit_code, printed.result().output) == (0, "one\ntwo\n")


async def test_the_lines_of_a_function_are_asked_for_as_such(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        path = "/v1/nodes/sn001/edgefunctions/hello/logs"
        answer = group.create_task(served.doors.http.get(path, params={"tailLines": "5"}))
        meta, content = await asked(link)
        assert (meta["cmd"], meta["resourceType"], meta["name"]) == ("logs", "edgefunction", "hello")
        assert content["TailLines"] == 5
        await data(link, meta["token"], "one\n")
        await end(link, meta["token"])
    assert (await answer).text == "one\n"


async def test_what_functions_count_on_a_node_is_read_as_prometheus_reads_it(
    served: ServedFleet, link: NodeLink
) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.http.get(METRICS))
        meta, _ = await asked(link)
        assert meta["cmd"] == "metrics"
        await data(link, meta["token"], "skerry_function_cold_")
        await data(link, meta["token"], 'starts_total{function="hello"} 1.0\n')
        await end(link, meta["token"])
    (family,) = text_string_to_metric_families(answer.result().text)
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"function": "hello"}, 1.0)]
    assert answer.result().headers["content-type"] == CONTENT_TYPE_LATEST


async def test_metrics_that_break_off_are_refused_and_not_cut(served: ServedFleet, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.refused("GET", METRICS))
        token = (await asked(link))[0]["token"]
        await data(link, token, 'skerry_function_cold_starts_total{function="hello"} 1')
        await end(link, token, "a worker is gone")
    assert answer.result() == "ErrNodeCommand: The node answered: a worker is gone"


async def test_metrics_are_taken_up_to_a_size(
    served: ServedFleet, link: NodeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_metrics, "METRICS_BYTES_MAX", 100)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(served.doors.refused("GET", METRICS))
        token = (await asked(link))[0]["token"]
        await data(link, token, "x" * 101)
    assert answer.result() == "ErrNodeCommand: The node's metrics are over 100 bytes."
    assert (await asked(link))[0]["cmd"] == "disconnect"


async def test_prometheus_is_told_where_the_nodes_of_a_fleet_are_scraped(served: ServedFleet) -> None:
    (found,) = await served.doors.ask("GET", "/v1/fleet/scrape-targets?selector=site%3Dlyon")
    assert found["targets"] == [served.doors.http.base_url.netloc.decode()]
    labels = {
        "__metrics_path__": METRICS,
        "__meta_skerry_node_label_site": "lyon",
        "__meta_skerry_node_label_baetyl_node_name": "sn001",
        "namespace": "default",
        "node": "sn001",
    }
    assert labels.items() <= found["labels"].items()
    assert await served.doors.ask("GET", "/v1/fleet/scrape-targets?selector=site%3Doslo") == []
