"""Plugins in a real Envoy: what requests meet, in which order, and what happens when a module fails."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.gateway.snapshot import EXTENSION_TYPE

pytestmark = pytest.mark.system

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
"""
REFUSED = "Unable to create Wasm plugin"


def gateway(*ports: object, name: str = "edge", namespace: str = "default", labels: str = "") -> str:
    listeners = ", ".join(f"{{name: p{port}, port: {port}, protocol: HTTP}}" for port in ports)
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}, labels: {{skerry.dev/default-functions: "true"{labels}}}}}
spec:
  gatewayClassName: skerry
  listeners: [{listeners}]
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: f}}
spec:
  template: {{mode: backend, code: {{wasmSource: {{url: "https://a.test/f.wasm"}}}}}}
status: {{liveRevision: f-1}}
"""


FUNCTION = "{group: extensions.apoxy.dev, kind: EdgeFunction, name: f}"
GATEWAY = CLASS + gateway("PORT")


def plugin(module: Path | str, name: str = "p", *, namespace: str = "default", **spec: Any) -> str:
    """Write a plugin of a module; `config` is its configuration."""
    document: dict[str, Any] = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"url": f"file://{module}", "pluginName": "probe", "pluginConfig": spec.pop("config", None), **spec},
    }
    if failed := document["spec"].pop("failed", ""):
        condition = {"type": "Fetched", "status": "False", "reason": "Failed", "message": failed}
        document["status"] = {"conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    return "\n---\n" + json.dumps(document)


async def ask(edge: Any, **headers: str) -> httpx.Response:
    """Ask on a connection of its own: one that is open may stay with the chain that it began with."""
    response: httpx.Response = await edge.get("f.functions.localhost/", headers={"connection": "close", **headers})
    return response


async def outcome(edge: Any) -> int | str:
    """Ask, and return the status, or "closed" where the connection is."""
    try:
        return (await ask(edge)).status_code
    except httpx.TransportError:
        return "closed"


async def met(edge: Any, header: str | None) -> bool:
    """Tell what a request meets; for changes of a listener alone, which Envoy takes before its threads have it."""
    try:
        return bool((await ask(edge)).headers.get("x-probe") == header)
    except httpx.TransportError:
        return False


async def test_a_plugin_is_met_from_the_next_request_on(
    edge_with: Any, engine_with: Any, probe: Path, until: Any
) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY, node) as edge:
        for number in range(10):
            config = {"header": f"v{number}", "append": "mark"}
            _, rejections = await edge.apply(GATEWAY + plugin(probe, f"p{number}", config=config))
            assert rejections == ()
            response = await ask(edge)
            assert response.headers["x-probe"] == f"v{number}"
            assert response.json()["headers"]["x-chain"] == "mark"
        await edge.apply(GATEWAY)
        await until(lambda: met(edge, None))


async def test_a_new_configuration_is_met_on_open_connections_and_leaves_the_listener(
    edge_with: Any, engine_with: Any, probe: Path
) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + plugin(probe, config={"header": "0"}), node) as edge:
        before = await edge.envoy.statistics("listener_manager.listener_modified")
        for number in range(20):
            await edge.apply(GATEWAY + plugin(probe, config={"header": str(number)}))
            response = await edge.get("f.functions.localhost/")
            assert response.headers["x-probe"] == str(number)
        assert await edge.envoy.statistics("listener_manager.listener_modified") == before
        draining = await edge.envoy.statistics("listener_manager.total_filter_chains_draining")
        assert set(draining.values()) == {0}


async def test_plugins_run_by_phase_priority_name_and_namespace(edge_with: Any, engine_with: Any, probe: Path) -> None:
    def marked(name: str, **spec: Any) -> str:
        return plugin(probe, name, config={"append": f"{spec.get('namespace', 'default')}.{name}"}, **spec)

    plugins = [
        marked("z-unspecified", priority=2**31 - 1),
        marked("b"),
        marked("b", namespace="istio-system"),
        marked("a", namespace="istio-system"),
        marked("negative", priority=-1),
        marked("stats", phase="STATS"),
        marked("check-header", phase="AUTHZ", priority=10),
        marked("acl", phase="AUTHZ", priority=1000),
        marked("openid", phase="AUTHN", priority=-5),
    ]
    expected = [
        "default.openid",
        "default.acl",
        "default.check-header",
        "default.stats",
        "default.z-unspecified",
        "istio-system.a",
        "default.b",
        "istio-system.b",
        "default.negative",
    ]
    async with engine_with() as (_, node), edge_with(GATEWAY, node) as edge:
        for given in (plugins, plugins[::-1]):
            await edge.apply(GATEWAY + "".join(given))
            assert (await ask(edge)).json()["headers"]["x-chain"].split(",") == expected


async def test_a_plugin_meets_only_the_ports_and_modes_that_it_matches(
    edge_with: Any, engine_with: Any, probe: Path, free_port_number: int
) -> None:
    text = CLASS + gateway("PORT", free_port_number)
    matches = {
        "all": [],
        "client": [{"mode": "CLIENT"}],
        "server": [{"mode": "SERVER"}],
        "other": [{"ports": [{"number": free_port_number}]}],
        "either": [{"mode": "SERVER"}, {"mode": "CLIENT", "ports": [{"number": free_port_number}]}],
    }
    plugins = "".join(plugin(probe, name, config={"append": name}, match=match) for name, match in matches.items())
    async with engine_with() as (_, node), edge_with(text + plugins, node) as edge:
        assert (await ask(edge)).json()["headers"]["x-chain"] == "all,client"
        edge.port = free_port_number
        assert (await ask(edge)).json()["headers"]["x-chain"] == "all,client,either,other"


async def test_a_plugin_reads_its_environment_and_a_new_one_arrives(
    edge_with: Any, engine_with: Any, environment_module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_TEST_HOST", "of the host")

    def with_environment(*env: dict[str, str]) -> str:
        return GATEWAY + plugin(environment_module, vmConfig={"env": list(env)})

    inline = {"name": "GREETING", "value": "hello"}
    host = {"name": "SKERRY_TEST_HOST", "valueFrom": "HOST"}
    absent = {"name": "SKERRY_TEST_ABSENT", "valueFrom": "HOST"}
    async with engine_with() as (_, node), edge_with(with_environment(inline, host, absent), node) as edge:
        told = (await ask(edge)).headers["x-env"].split(",")
        assert sorted(told) == ["GREETING=hello", "SKERRY_TEST_HOST=of the host"]
        await edge.apply(with_environment(inline | {"value": "good bye"}))
        assert (await ask(edge)).headers["x-env"] == "GREETING=good bye"


async def test_the_plugin_name_chooses_among_the_plugins_of_a_module(
    edge_with: Any, engine_with: Any, probe: Path
) -> None:
    text = GATEWAY + plugin(probe, config={"header": "x"}, pluginName="named")
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        assert (await ask(edge)).headers["x-probe"] == "named:x"
        _, [rejection] = await edge.apply(GATEWAY + plugin(probe, config={"header": "y"}, pluginName="absent"))
        assert rejection.name == "default.p"
        assert (await ask(edge)).headers["x-probe"] == "named:x", "what ran before keeps running"


async def test_a_plugin_denies_requests_changes_bodies_and_asks_others(
    edge_with: Any, engine_with: Any, probe: Path
) -> None:
    config = {"deny": "x-deny", "body": "another body", "call": "engine", "append": "a"}
    async with engine_with() as ([worker], node), edge_with(GATEWAY + plugin(probe, config=config), node) as edge:
        denied = await ask(edge, **{"x-deny": "1"})
        assert (denied.status_code, denied.text) == (418, "another body")
        assert worker.requests == []
        assert (await ask(edge)).text == "another body"
        assert [request.path for request in worker.requests] == ["/asked", "/"]
        assert worker.requests[1].headers["x-called"] == "answered"


async def test_a_network_plugin_meets_connections(
    edge_with: Any, engine_with: Any, close_module: Path, free_port_number: int
) -> None:
    text = CLASS + gateway("PORT", free_port_number)
    match = [{"ports": [{"number": free_port_number}]}]
    closing = plugin(close_module, type="NETWORK", match=match)
    async with engine_with() as (_, node), edge_with(text + closing, node) as edge:
        assert await outcome(edge) == 200
        edge.port = free_port_number
        assert await outcome(edge) == "closed"


async def test_one_name_may_change_its_type(
    edge_with: Any, engine_with: Any, probe: Path, close_module: Path, until: Any
) -> None:
    http = GATEWAY + plugin(probe, config={"header": "http"})
    async with engine_with() as (_, node), edge_with(http, node) as edge:
        _, rejections = await edge.apply(GATEWAY + plugin(close_module, type="NETWORK"))
        assert rejections == ()
        assert await outcome(edge) == "closed"
        _, rejections = await edge.apply(http)
        assert rejections == ()
        await until(lambda: met(edge, "http"))


@pytest.mark.parametrize(("strategy", "status"), [("FAIL_CLOSE", 403), ("FAIL_RELOAD", 403), ("FAIL_OPEN", 200)])
async def test_code_that_cannot_be_had_is_stood_in_for(
    edge_with: Any, engine_with: Any, probe: Path, strategy: str, status: int
) -> None:
    missing = plugin(probe, failStrategy=strategy, failed="the registry answers 404")
    async with engine_with() as (_, node), edge_with(GATEWAY + missing, node) as edge:
        assert (await ask(edge)).status_code == status
        await edge.apply(GATEWAY + plugin(probe, failStrategy=strategy, config={"header": "now"}))
        assert (await ask(edge)).headers["x-probe"] == "now"
        await edge.apply(GATEWAY + missing)
        assert (await ask(edge)).status_code == status


@pytest.mark.parametrize(("strategy", "expected"), [("FAIL_CLOSE", "closed"), ("FAIL_OPEN", 200)])
async def test_connections_are_denied_too_where_the_code_cannot_be_had(
    edge_with: Any, engine_with: Any, close_module: Path, strategy: str, expected: int | str
) -> None:
    missing = plugin(close_module, type="NETWORK", failStrategy=strategy, failed="gone")
    async with engine_with() as (_, node), edge_with(GATEWAY + missing, node) as edge:
        assert await outcome(edge) == expected


@pytest.mark.parametrize(("strategy", "status"), [("FAIL_CLOSE", 403), ("FAIL_RELOAD", 403), ("FAIL_OPEN", 200)])
async def test_a_configuration_that_the_module_refuses_never_takes_the_listener_down(
    edge_with: Any, engine_with: Any, probe: Path, strategy: str, status: int
) -> None:
    def configured(**config: str) -> str:
        return GATEWAY + plugin(probe, failStrategy=strategy, config=config)

    async with engine_with() as (_, node), edge_with(configured(refuse="at first"), node) as edge:
        [rejection] = edge.xds.rejections()
        assert (rejection.type_url, rejection.name) == (EXTENSION_TYPE, "default.p")
        assert REFUSED in rejection.message
        assert (await ask(edge)).status_code == status
        _, rejections = await edge.apply(configured(header="good"))
        assert rejections == ()
        _, [rejection] = await edge.apply(configured(refuse="later"))
        assert REFUSED in rejection.message
        assert (await ask(edge)).headers["x-probe"] == "good", "what ran before keeps running"


@pytest.mark.parametrize(
    "content",
    [b"", b"not wasm at all", b"\0asm\1\0\0\0 truncated", b"\0asm\1\0\0\0"],
    ids=["empty", "not wasm", "truncated", "without the exports of Proxy-Wasm"],
)
async def test_a_bad_module_hurts_no_other_plugin(
    edge_with: Any, engine_with: Any, probe: Path, tmp_path: Path, content: bytes
) -> None:
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(content)
    text = GATEWAY + plugin(bad, "bad", failStrategy="FAIL_OPEN") + plugin(probe, "good", config={"header": "1"})
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        assert [rejection.name for rejection in edge.xds.rejections()] == ["default.bad"]
        assert (await ask(edge)).headers["x-probe"] == "1"


async def test_a_trap_is_answered_as_the_fail_strategy_says(
    edge_with: Any, engine_with: Any, probe: Path, until: Any
) -> None:
    def trapping(strategy: str, header: str = "1") -> str:
        return GATEWAY + plugin(
            probe, strategy[5:].lower(), failStrategy=strategy, config={"trap": "x-trap", "header": header}
        )

    async def statuses() -> set[int]:
        return {(await ask(edge)).status_code for _ in range(20)}

    async with engine_with() as (_, node), edge_with(GATEWAY, node) as edge:
        await edge.apply(trapping("FAIL_CLOSE"))
        assert (await ask(edge, **{"x-trap": "1"})).status_code == 503
        assert 503 in await statuses(), "later requests on that worker thread of Envoy too"
        await edge.apply(trapping("FAIL_CLOSE", header="2"))
        assert await statuses() == {200}, "a change starts fresh VMs"

        await edge.apply(trapping("FAIL_OPEN"))
        assert (await ask(edge, **{"x-trap": "1"})).status_code == 503, "this request is lost"
        assert await statuses() == {200}, "later ones pass by the plugin"

        await edge.apply(trapping("FAIL_RELOAD"))
        assert (await ask(edge, **{"x-trap": "1"})).status_code == 503

        async def is_back() -> bool:
            return {(await ask(edge)).headers.get("x-probe") for _ in range(20)} == {"1"}

        await until(is_back)


async def test_plugins_that_come_and_go_under_load_fail_no_request(
    edge_with: Any, engine_with: Any, probe: Path, until: Any
) -> None:
    seen: list[tuple[int, str]] = []
    running = True

    async def load(edge: Any) -> None:
        while running:
            response = await edge.get("f.functions.localhost/")
            chain = response.json()["headers"].get("x-chain", "") if response.status_code == 200 else ""
            seen.append((response.status_code, chain))

    text = GATEWAY + plugin(probe, "stays", config={"append": "stays"})
    async with engine_with() as (_, node), edge_with(text, node) as edge, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(load(edge))
        for number in range(5):
            await edge.apply(text + plugin(probe, f"come-and-go{number}", config={"append": "x"}))
            before = len(seen)
            await until(lambda: len(seen) >= before + 20)  # noqa: B023 - awaited within the turn
        running = False
    assert set(seen) <= {(200, "stays"), (200, "x,stays")}


async def test_no_request_of_a_new_route_passes_without_the_plugin_that_came_with_it(
    edge_with: Any, engine_with: Any, probe: Path, until: Any
) -> None:
    """Connections that are open may stay with the listener that they began with; then they have its routes, too."""
    hosts = [f"guarded{number}.test" for number in range(3)]
    seen: set[tuple[int, bool]] = set()
    met: set[str] = set()
    running = True

    async def load(edge: Any, connection: str) -> None:
        while running:
            for host in hosts:
                response = await edge.get(f"{host}/", headers={"connection": connection})
                chain = response.json()["headers"].get("x-chain", "") if response.status_code == 200 else ""
                seen.add((response.status_code, host in chain.split(",")))
                if response.status_code == 200 and connection == "close":
                    met.add(host)

    def guarded(host: str) -> str:
        spec = f'parentRefs: [{{name: edge}}], hostnames: ["{host}"], rules: [{{backendRefs: [{FUNCTION}]}}]'
        route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": host}}
        return plugin(probe, host, config={"append": host}, priority=hosts.index(host)) + (
            "\n---\n" + json.dumps(route)[:-1] + f", spec: {{{spec}}}}}"
        )

    async with engine_with() as (_, node), edge_with(GATEWAY, node) as edge, asyncio.TaskGroup() as group:
        for connection in ("keep-alive", "close"):
            group.create_task(load(edge, connection))
        text = GATEWAY
        for host in hosts:
            text += guarded(host)
            await edge.apply(text)
            await until(lambda: host in met)  # noqa: B023 - awaited within the turn
        running = False
    assert seen == {(404, False), (200, True)}


async def test_a_module_of_c_adds_headers_changes_bodies_denies_traps_and_refuses(
    edge_with: Any, engine_with: Any, sentry: Path
) -> None:
    def configured(**config: str) -> str:
        return GATEWAY + plugin(sentry, config=config)

    config = {"header": "of C", "body": "a body of C", "deny": "x-deny", "trap": "x-trap"}
    async with engine_with() as ([worker], node), edge_with(configured(**config), node) as edge:
        answer = await ask(edge)
        assert (answer.status_code, answer.text, answer.headers["x-sentry"]) == (200, "a body of C", "of C")
        denied = await ask(edge, **{"x-deny": "1"})
        assert (denied.status_code, denied.text) == (403, "a body of C")
        assert len(worker.requests) == 1
        _, [rejection] = await edge.apply(configured(refuse="no such key"))
        assert REFUSED in rejection.message
        assert (await ask(edge)).headers["x-sentry"] == "of C"
        assert (await ask(edge, **{"x-trap": "1"})).status_code == 503


async def test_envoys_statistics_have_the_plugin_as_a_tag(edge_with: Any, engine_with: Any, probe: Path) -> None:
    text = GATEWAY + plugin(probe, "tagged", config={"header": "1"})
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        told = await edge.envoy.exposition()
        assert 'envoy_wasm_vm_reload_success{wasm_plugin="default.tagged"} 0' in told
        assert 'envoy_extension_config_discovery_http_filter_config_reload{wasm_plugin="default.tagged"} 1' in told
        assert "default_tagged" not in told, "in no name of a metric"


async def test_a_hundred_plugins_run_side_by_side(edge_with: Any, engine_with: Any, probe: Path) -> None:
    text = "".join(plugin(probe, f"p{number:03}", config={"append": f"{number}"}) for number in range(100))
    async with engine_with() as (_, node), edge_with(GATEWAY + text, node) as edge:
        assert (await ask(edge)).json()["headers"]["x-chain"] == ",".join(map(str, range(100)))
        changed = GATEWAY + text.replace('"append": "50"', '"append": "fifty"')
        before = await edge.envoy.statistics("wasm.envoy.wasm.runtime.v8.created")
        await edge.apply(changed)
        assert "49,fifty,51" in (await ask(edge)).json()["headers"]["x-chain"]
        after = await edge.envoy.statistics("wasm.envoy.wasm.runtime.v8.created")
        assert sum(after.values()) - sum(before.values()) <= 4, "only the changed plugin is made anew"
