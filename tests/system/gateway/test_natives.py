"""Native filters in a real Envoy: tried in one of their own, turned on by routes, exchanged without a gap."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.gateway import filter_trial, ir
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.filter_slots import FilterContent, FilterSlots
from skerry.gateway.filter_trial import tried
from skerry.gateway.translate import translate
from skerry.gateway.verdicts import PASSED
from skerry.testing.natives import built_native
from tests.system.gateway.conftest import TIMEOUT_SECONDS

pytestmark = pytest.mark.system

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: skerry
  listeners: [{name: p, port: PORT, protocol: HTTP}]
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {name: f}
spec:
  template: {mode: backend, code: {wasmSource: {url: "https://a.test/f.wasm"}}}
status: {liveRevision: f-1}
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {name: greet}
spec:
  template: {mode: filter, code: {goPluginSource: {url: "https://a.test/g.so"}}}
status: {liveRevision: greet-1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /greeted}}]
      filters: [{type: ExtensionRef, extensionRef: {group: extensions.apoxy.dev, kind: EdgeFunction, name: greet}}]
      backendRefs: [{group: extensions.apoxy.dev, kind: EdgeFunction, name: f}]
    - backendRefs: [{group: extensions.apoxy.dev, kind: EdgeFunction, name: f}]
"""


@pytest.fixture(scope="module")
def build(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a variant of the example's module."""
    directory = tmp_path_factory.mktemp("natives")
    numbers = iter(range(100))
    return lambda *arguments: built_native(pytestconfig.rootpath, directory / f"{next(numbers)}.so", *arguments)


@pytest.fixture(scope="module")
def module(build: Callable[..., Path]) -> Path:
    return build()


def native(code: Path, value: str = "hi", **config: Any) -> ir.Native:
    return ir.Native("dynamic_module", str(code), "greet", json.dumps({"header": "x-greet", "value": value} | config))


async def verdict(code: Path, *, route: str = "", **config: Any) -> str:
    return await tried(FilterContent(native(code, **config), route))


async def test_a_module_and_its_configurations_pass(module: Path) -> None:
    assert await verdict(module) == PASSED
    assert await verdict(module, route='{"header": "x-greet", "value": "you"}') == PASSED


async def test_a_configuration_that_the_module_refuses_is_refused(module: Path) -> None:
    assert "Failed to initialize" in await verdict(module, value=1)
    assert "per-route" in await verdict(module, route='{"header": "x"}')


async def test_a_module_that_lacks_a_function_is_refused_by_its_name(build: Callable[..., Path]) -> None:
    lacking = build("-Denvoy_dynamic_module_on_http_filter_new=renamed")
    assert "envoy_dynamic_module_on_http_filter_new" in await verdict(lacking)


async def test_a_module_that_calls_what_envoy_lacks_is_refused_by_its_name(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    source = tmp_path / "caller.c"
    source.write_text(
        "void envoy_dynamic_module_callback_gone(void); void f(void) { envoy_dynamic_module_callback_gone(); }"
    )
    assert "undefined symbol: envoy_dynamic_module_callback_gone" in await verdict(build(str(source)))


@pytest.mark.parametrize("version", ["v9.0.0", "v0.3.0", "v1.2.0", "nonsense"])
async def test_a_module_of_another_abi_is_refused_with_both_versions(build: Callable[..., Path], version: str) -> None:
    refusal = await verdict(build(f'-DABI_VERSION="{version}"'))
    assert version in refusal
    assert "v0.2" in refusal


async def test_a_module_of_the_abi_before_is_taken_as_envoy_takes_it(build: Callable[..., Path]) -> None:
    assert await verdict(build('-DABI_VERSION="v0.1.0"')) == PASSED


@pytest.mark.parametrize(
    ("body", "told"),
    [("raise(SIGSEGV);", "SIGSEGV"), ("abort();", "SIGABRT"), ("exit(0);", "gave no reason")],
)
async def test_a_module_that_ends_its_process_at_load_is_refused(
    build: Callable[..., Path], tmp_path: Path, body: str, told: str
) -> None:
    source = tmp_path / "ender.c"
    source.write_text(
        f"#include <signal.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void f(void) {{ {body} }}"
    )
    assert told in await verdict(build(str(source)))


async def test_a_module_that_never_comes_back_is_ended(
    build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_trial, "TRIAL_SECONDS_MAX", 0.3)
    source = tmp_path / "looper.c"
    source.write_text('__attribute__((constructor)) static void f(void) { for (;;) __asm__ volatile(""); }')
    assert "did not come back" in await verdict(build(str(source)))


async def test_a_go_filter_is_refused_where_envoy_has_none(module: Path) -> None:
    assert "no Go filter" in await tried(FilterContent(replace(native(module), loader="go")))


async def test_wasm_modules_are_tried_likewise(probe: Path) -> None:
    assert await tried(FilterContent(ir.Wasm(str(probe), root_id="probe", configuration="{}"))) == PASSED
    refused = ir.Wasm(str(probe), root_id="probe", configuration='{"refuse":"the key is missing"}')
    assert "the key is missing" in await tried(FilterContent(refused))


class Served:
    """An Envoy with one route through a native filter."""

    def __init__(self, edge: Any) -> None:
        self.edge = edge
        self.slots = FilterSlots()

    async def serve(self, content: FilterContent) -> None:
        resources = replace(self.edge.load(ROUTES), filters=self.slots.settle({"edgefunction/greet": content}))
        generation = self.edge.xds.set_snapshot(build_snapshot(translate(resources).ir, self.edge.edge_settings))
        assert await self.edge.xds.wait_until_applied(generation, timeout_seconds=TIMEOUT_SECONDS) == ()

    async def ask(self, path: str = "greeted") -> httpx.Response:
        response: httpx.Response = await self.edge.get(f"a.test/{path}")
        return response


async def test_routes_turn_a_filter_on_and_exchange_it_without_losing_a_request(
    edge_with: Any, engine_with: Any, build: Callable[..., Path], until: Any
) -> None:
    first, second = build(), build("-g")
    async with engine_with() as (_, node), edge_with(ROUTES, node) as edge:
        served = Served(edge)
        await served.serve(FilterContent(native(first, "one")))

        async def says(value: str | None) -> bool:
            return bool((await served.ask()).headers.get("x-greet") == value)

        await until(lambda: says("one"))
        assert (await served.ask()).json()["headers"]["x-greet"] == "one"
        assert "x-greet" not in (await served.ask("plain")).headers

        drained = "listener_manager.listener_modified"
        before = (await edge.envoy.statistics(drained))[drained]
        seen: list[tuple[int, str | None]] = []

        async def keep_asking() -> None:
            while True:
                answer = await served.ask()
                seen.append((answer.status_code, answer.headers.get("x-greet")))

        asking = asyncio.create_task(keep_asking())
        try:
            for number in range(20):
                code = (first, second)[number % 2]
                route = '{"header": "x-greet", "value": "routed"}' if number % 3 == 0 else ""
                await served.serve(FilterContent(native(code, f"v{number}"), route))
                await until(lambda n=number, r=route: says("routed" if r else f"v{n}"))
        finally:
            asking.cancel()
        assert {status for status, _ in seen} == {200}
        assert None not in {value for _, value in seen}
        assert (await edge.envoy.statistics(drained))[drained] == before


async def test_no_request_of_a_new_route_passes_without_the_native_function_that_came_with_it(
    edge_with: Any, engine_with: Any, module: Path, until: Any
) -> None:
    without_route = ROUTES.rpartition("---")[0]
    seen: dict[str, set[tuple[int, str | None]]] = {"keep-alive": set(), "close": set()}
    greeted = (200, "one")
    running = True

    async def keep_asking(edge: Any, connection: str) -> None:
        while running:
            answer = await edge.get("a.test/greeted", headers={"connection": connection})
            seen[connection].add((answer.status_code, answer.headers.get("x-greet")))

    async with engine_with() as (_, node), edge_with(without_route, node) as edge, asyncio.TaskGroup() as group:
        for connection in seen:
            group.create_task(keep_asking(edge, connection))
        await until(lambda: all(seen.values()))
        await Served(edge).serve(FilterContent(native(module, "one")))
        await until(lambda: all(greeted in each for each in seen.values()))
        running = False
    assert set.union(*seen.values()) == {(404, None), greeted}
