"""What happens while configurations change: updates under load, refusals, ports that are taken, drains."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from skerry.gateway.chain_tables import table_name
from skerry.gateway.envoy import OUTPUT_BYTES_MAX
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.resources import Resources
from skerry.gateway.snapshot import LISTENER_TYPE, ROUTE_TYPE, Snapshot, pack
from skerry.gateway.translate import translate
from tests.system.gateway.conftest import TIMEOUT_SECONDS

pytestmark = pytest.mark.system

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default, labels: {skerry.dev/default-functions: "true"}}
spec:
  gatewayClassName: skerry
  listeners: [{name: http, port: PORT, protocol: HTTP}]
"""


def function(name: str, revision: str) -> str:
    return f"""
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: {name}}}
spec:
  template: {{mode: backend, code: {{wasmSource: {{url: "https://a.test/f.wasm"}}}}}}
status: {{liveRevision: {revision}}}
"""


@asynccontextmanager
async def load_on(edge: Any, host: str, *, clients: int) -> AsyncIterator[list[tuple[int, str]]]:
    """Ask without pause while the block runs; yields what was answered: status and revision."""
    seen: list[tuple[int, str]] = []
    running = True

    async def ask() -> None:
        while running:
            response = await edge.get(f"{host}/")
            revision = response.json()["headers"]["x-skerry-revision"] if response.status_code == 200 else ""
            seen.append((response.status_code, revision))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
        yield seen
        running = False


async def test_updates_under_load_fail_no_request(edge_with: Any, engine_with: Any, until: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-0"), node) as edge:
        async with load_on(edge, "f.functions.localhost", clients=4) as seen:
            for number in range(1, 21):
                await edge.apply(GATEWAY + function("f", f"f-{number}") + function(f"g{number}", "g-1"))
                await until(lambda: seen[-1:] == [(200, f"f-{number}")])  # noqa: B023 - awaited within the turn
        assert {status for status, _ in seen} == {200}


async def test_after_an_update_was_applied_every_request_meets_it(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY, node) as edge:
        for number in range(20):
            await edge.apply(GATEWAY + function("f", f"f-{number}"))
            told = (await edge.get("f.functions.localhost/")).json()
            assert told["headers"]["x-skerry-revision"] == f"f-{number}"
        await edge.apply(GATEWAY)
        assert (await edge.get("f.functions.localhost/")).status_code == 404


async def test_a_taken_port_is_told_in_envoys_words_and_hurts_nothing_else(edge_with: Any, engine_with: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        two = GATEWAY.replace(
            "listeners: [", f"listeners: [{{name: taken, port: {port}, protocol: HTTP}}, "
        ) + function("f", "f-1")
        async with engine_with() as (_, node), edge_with(two, node) as edge:
            [rejection] = edge.xds.rejections()
            assert rejection.type_url == LISTENER_TYPE
            assert rejection.name == f"default/edge/127.0.0.1/{port}"
            assert "Address already in use" in rejection.message
            assert (await edge.get("f.functions.localhost/")).status_code == 200
            assert set((await edge.envoy.listener_addresses()).values()) == {f"127.0.0.1:{edge.port}"}


async def test_two_envoys_do_not_share_a_port(edge_with: Any) -> None:
    async with edge_with(GATEWAY) as first, edge_with(GATEWAY, None, first.port) as second:
        assert first.xds.rejections() == ()
        assert "Address already in use" in second.xds.rejections()[0].message


async def test_a_refused_update_leaves_the_last_good_one_serving(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-1"), node) as edge:
        translation, _ = await edge.apply(GATEWAY + function("f", "f-2"))
        good = build_snapshot(translation.ir, edge.edge_settings)
        bad = _with_bad_route_table(good)
        [rejection] = await edge.xds.wait_until_applied(edge.xds.set_snapshot(bad), timeout_seconds=TIMEOUT_SECONDS)
        assert table_name(rejection.name) == f"default/edge/{edge.port}"
        assert rejection.message
        told = (await edge.get("f.functions.localhost/")).json()
        assert told["headers"]["x-skerry-revision"] == "f-2"
        _, rejections = await edge.apply(GATEWAY + function("f", "f-3"))
        assert rejections == ()
        told = (await edge.get("f.functions.localhost/")).json()
        assert told["headers"]["x-skerry-revision"] == "f-3"


def _with_bad_route_table(good: Snapshot) -> Snapshot:
    """Put an expression into a route table that RE2 does not take."""
    [table] = good.resources[ROUTE_TYPE].values()
    message = RouteConfiguration()
    table.body.Unpack(message)
    message.virtual_hosts[0].routes.add(name="bad").match.safe_regex.regex = "(?="
    others = [r for by_name in good.resources.values() for r in by_name.values() if r is not table]
    return Snapshot.of([*others, pack(table.name, message)], good.users)


async def test_an_envoy_that_was_killed_comes_back_with_everything(
    edge_with: Any, engine_with: Any, until: Any
) -> None:

    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-1"), node) as edge:
        pid = edge.envoy.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: edge.envoy.pid not in {None, pid})
        await edge.apply(GATEWAY + function("f", "f-2"))
        await edge.envoy.ready(timeout_seconds=TIMEOUT_SECONDS)
        told = (await edge.get("f.functions.localhost/")).json()
        assert told["headers"]["x-skerry-revision"] == "f-2"


async def test_a_running_request_ends_well_when_the_process_is_drained(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as ([worker], node):
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow(request: Any) -> tuple[int, str]:
            arrived.set()
            await go_on.wait()
            answer: tuple[int, str] = await worker.echo(request)
            return answer

        async with edge_with(GATEWAY + function("f", "f-1"), node) as edge, asyncio.TaskGroup() as group:
            worker.answer = slow
            asking = group.create_task(edge.get("f.functions.localhost/"))
            await arrived.wait()
            draining = group.create_task(edge.envoy.drain())
            assert not draining.done()
            go_on.set()
            assert (await asking).status_code == 200
            await draining


async def test_the_access_log_tells_route_and_revision(edge_with: Any, engine_with: Any, until: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-1"), node) as edge:
        await edge.get("f.functions.localhost/path")
        log = edge.settings.access_log
        await until(lambda: log.exists() and log.read_text().endswith("\n"))
        entry = json.loads(log.read_text().splitlines()[0])
        assert entry["route_name"] == "edgefunction/f/rule/0/match/0"
        assert (entry["x-skerry-revision"], entry["response_code"]) == ("f-1", 200)


async def test_full_logs_are_moved_and_begun_anew(edge_with: Any, engine_with: Any, until: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-1"), node) as edge:
        log = edge.settings.access_log
        with log.open("a") as file:
            file.truncate(edge.settings.log_bytes_max)
        printed = edge.settings.output_file
        with printed.open("a") as file:
            file.truncate(OUTPUT_BYTES_MAX + 1)
        await edge.envoy.rotate_logs()
        assert (printed.stat().st_size, printed.with_name("envoy.out.1").stat().st_size) == (0, OUTPUT_BYTES_MAX + 1)
        assert log.with_name("access.log.1").stat().st_size == edge.settings.log_bytes_max
        await edge.get("f.functions.localhost/")
        await until(lambda: log.exists() and log.stat().st_size)


async def test_translation_is_idempotent_on_the_wire(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("f", "f-1"), node) as edge:
        before = edge.xds.statistics()["generation"]
        await edge.apply(GATEWAY + function("f", "f-1"))
        assert edge.xds.statistics()["generation"] == before


def test_an_empty_world_translates_to_nothing() -> None:

    assert translate(Resources()).ir.bindings == ()
