"""What functions in mode filter make of requests and answers: real workers, a real Envoy, a real upstream."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.filtering import FILTER_BODY_BYTES_MAX
from skerry.engine.manifest import FunctionManifest, write_manifest
from skerry.engine.workers import Workers, WorkerSettings, run_workers
from skerry.gateway.resources import NodeFacts

pytestmark = pytest.mark.system

HOST = "filters.test"
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
---
apiVersion: core.apoxy.dev/v1alpha2
kind: Backend
metadata: {name: upstream}
spec: {endpoints: [{ip: 127.0.0.1}]}
"""


@dataclass(frozen=True)
class Filter:
    """A function in mode filter: the members of its default export, and how it is run."""

    name: str
    hooks: str
    open: bool = False
    timeout_seconds: int = 60
    number: int = 4

    @property
    def revision(self) -> str:
        return f"{self.name}-{self.number}"

    def deploy(self, settings: WorkerSettings) -> None:
        bundle = f'"use strict";\nvar skerryModule = {{ default: {{\n{self.hooks}\n}} }};\nskerryModule;'
        artifact = settings.run_dir / f"{self.revision}.wasm"
        artifact.write_bytes(javascript_module(bundle))
        manifest = FunctionManifest(
            revision=self.revision,
            function=self.name,
            artifact=artifact,
            timeout_seconds=self.timeout_seconds,
            env={"GREETING": "hello"},
        )
        write_manifest(settings.functions_dir, manifest)

    def resource(self) -> str:
        runtime = f"{{failureMode: {'open' if self.open else 'closed'}, timeout: {self.timeout_seconds}s}}"
        return f"""
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: {self.name}}}
spec:
  template:
    mode: filter
    code: {{jsSource: {{entrypoint: a.js, assets: {{files: [{{path: a.js, content: "1"}}]}}}}}}
    runtime: {runtime}
status: {{liveRevision: {self.revision}}}
"""


#: The first call of each method never ends; those after it do at once.
FIRST_TIME_HANGS = """async fetch(request, env) {
        if (await env.KV.get(request.method)) return;
        await env.KV.put(request.method, "seen");
        console.log(request.method);
        await new Promise((done) => setTimeout(done, 90_000));
    }"""

FILTERS = {
    each.name: each
    for each in (
        Filter("nothing", "fetch() {}"),
        Filter("open", "fetch() {}", open=True),
        Filter("hangs", FIRST_TIME_HANGS, timeout_seconds=100),
        Filter(
            "chained",
            'fetch(request) { request.headers.set("x-chain", `${request.headers.get("x-chain") ?? ""},function`); }',
        ),
        Filter(
            "deny",
            """fetch(request) {
            const headers = new Headers([["x-why", "rule"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
            return new Response("not today\\n", { status: 418, headers });
        }""",
        ),
        Filter("redirect", 'fetch() { return Response.redirect("https://other.test/there", 302); }'),
        Filter(
            "headers",
            """fetch(request, env) {
            request.headers.set("x-added", env.GREETING);
            request.headers.delete("x-secret");
            request.headers.append("x-many", "two");
            request.headers.set("x-skerry-revision", "forged");
            request.headers.set("x-forwarded-for", "6.6.6.6");
        }""",
        ),
        Filter(
            "path",
            """fetch(request) {
            const url = new URL(request.url);
            url.pathname = "/elsewhere";
            url.searchParams.set("from", "filter");
            url.host = "inner.test";
            return new Request(url, new Request(request, { method: "PATCH" }));
        }""",
        ),
        Filter(
            "body",
            """async fetch(request) {
            const text = await request.text();
            return new Request(request.url, { method: "PUT", headers: request.headers, body: text.toUpperCase() });
        }""",
        ),
        Filter("replace", 'fetch(request) { return new Request(request.url, { method: "POST", body: "replaced" }); }'),
        Filter(
            "look",
            """async fetch(request) {
            try { request.headers.set("x-length", `${(await request.bytes()).length}`); }
            catch (error) { request.headers.set("x-length", error.name); }
        }""",
        ),
        Filter(
            "answers",
            """fetch() {}, response(response, request, env, ctx) {
            const changed = new Response(response.body, response);
            changed.headers.set("x-seen", `${request.method} ${new URL(request.url).pathname}`);
            changed.headers.append("set-cookie", "c=3");
            changed.headers.delete("x-internal");
            return changed;
        }""",
        ),
        Filter(
            "rewrite",
            """fetch(request) { request.headers.set("x-in", "1"); }, async response(response) {
            return new Response((await response.text()) + "!", { status: 203, headers: response.headers });
        }""",
        ),
        Filter(
            "measures",
            """async fetch(request) {
            try { return Response.json((await request.bytes()).length); }
            catch (error) { return Response.json(error.name); }
        }""",
        ),
        Filter("throws", 'fetch() { throw new Error("no idea"); }'),
        Filter("throws-open", 'fetch() { throw new Error("no idea"); }', open=True),
        Filter("throws-later", 'fetch() {}, response() { throw new Error("too late"); }'),
        Filter("passes", 'fetch(request, env, ctx) { ctx.passThroughOnException(); throw new Error("whatever"); }'),
        Filter("waits", "async fetch() { await new Promise((done) => setTimeout(done, 60000)); }", timeout_seconds=1),
        Filter("loops", "fetch() { for (;;); }", timeout_seconds=1),
        Filter("loops-open", "fetch() { for (;;); }", open=True, timeout_seconds=1),
        Filter("many", "fetch(request) { for (let i = 0; i < 1e4; i++) request.headers.set(`x-${i}`, `${i}`); }"),
        Filter(
            "first",
            """fetch(request) { request.headers.set("x-order", (request.headers.get("x-order") ?? "") + "1"); },
            response(response) { response.headers.append("x-back", "1"); }""",
        ),
        Filter(
            "second",
            """fetch(request) { request.headers.set("x-order", (request.headers.get("x-order") ?? "") + "2"); },
            response(response) { response.headers.append("x-back", "2"); }""",
        ),
        Filter(
            "says",
            """fetch(request, env, ctx) {
            console.warn("saw", request.url);
            ctx.waitUntil(Promise.resolve().then(() => console.log("and more")));
        }""",
        ),
    )
}
#: Rules by the first segment of their path: each filter alone, and some together.
RULES = {name: [name] for name in FILTERS} | {
    "both": ["first", "second"],
    "back": ["second", "first"],
    "stop": ["first", "deny", "second"],
}


def reference(name: str) -> str:
    return f"{{type: ExtensionRef, extensionRef: {{group: extensions.apoxy.dev, kind: EdgeFunction, name: {name}}}}}"


def rule(path: str, filters: list[str], port: int, more: str = "") -> str:
    steps = ", ".join([*(reference(name) for name in filters), *([more] if more else [])])
    return f"""
  - matches: [{{path: {{value: /{path}}}}}]
    filters: [{steps}]
    backendRefs: [{{group: core.apoxy.dev, kind: Backend, name: upstream, port: {port}}}]"""


def route(name: str, rules: str) -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{HOST}]
  rules:{rules}
"""


@dataclass
class World:
    """Workers, an Envoy before them, and an upstream behind it."""

    edge: Any
    workers: Workers
    settings: WorkerSettings
    upstream: Any
    port: int

    async def ask(self, path: str, **more: Any) -> httpx.Response:
        self.upstream.requests.clear()
        answer: httpx.Response = await self.edge.get(f"{HOST}/{path}", **more)
        return answer

    @property
    def seen(self) -> Any:
        """The request that the upstream saw."""
        (request,) = self.upstream.requests
        return request

    async def apply(self, change: Callable[[str], str] = str) -> Any:
        """Take in the resources of all tests, changed."""
        return await self.edge.apply(change(resources(self.port)))


def resources(port: int) -> str:
    routes = (route(path, rule(path, filters, port)) for path, filters in RULES.items())
    return GATEWAY + "".join(each.resource() for each in FILTERS.values()) + "".join(routes)


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, cache_dir: Path, any_edge: Any, new_upstream: Any
) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("filters")
    settings = WorkerSettings(
        run_dir=directory / "w",
        functions_dir=directory / "functions",
        logs_dir=directory / "logs",
        kv_file=directory / "kv.db",
        engine_cache=cache_dir / "engine",
        component=repository / "js-engine" / "dist" / "skerry-js-engine.wasm",
        count=2,
    )
    upstream = new_upstream("upstream")
    port = await upstream.listen_tcp()
    async with run_workers(settings) as workers:
        for each in FILTERS.values():
            each.deploy(settings)
        node = NodeFacts(engine_sockets=tuple(str(path) for path in workers.socket_paths))
        (directory / "edge").mkdir()
        async with any_edge(directory / "edge", resources(port), node) as edge:
            yield World(edge, workers, settings, upstream, port)
    upstream.kill()


async def test_a_request_that_a_filter_leaves_alone_arrives_as_it_was_sent(world: World) -> None:
    answer = await world.ask("nothing/a%20b?c=d&e", method="POST", content=b"body", headers={"x-many": "one"})
    assert answer.status_code == 200
    assert (world.seen.method, world.seen.path, world.seen.body) == ("POST", "/nothing/a%20b?c=d&e", b"body")
    assert world.seen.headers["x-many"] == "one"


async def test_a_response_of_a_filter_is_the_answer(world: World) -> None:
    answer = await world.ask("deny")
    assert (answer.status_code, answer.text, answer.headers["x-why"]) == (418, "not today\n", "rule")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert world.upstream.requests == []


async def test_a_head_request_is_answered_without_a_body(world: World) -> None:
    answer = await world.ask("deny", method="HEAD")
    assert (answer.status_code, answer.content) == (418, b"")


async def test_a_filter_redirects(world: World) -> None:
    answer = await world.ask("redirect")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://other.test/there")


async def test_a_filter_changes_headers_but_for_the_gateways_own(world: World) -> None:
    await world.ask("headers", headers={"x-secret": "s", "x-many": "one"})
    seen = world.seen.headers
    assert (seen["x-added"], seen["x-many"]) == ("hello", "one, two")
    assert not seen.keys() & {"x-secret", "x-skerry-revision"}
    assert "6.6.6.6" not in seen["x-forwarded-for"]


async def test_a_filter_changes_method_host_path_and_query_and_keeps_the_body(world: World) -> None:
    await world.ask("path?a=b", method="POST", content=b"as it was")
    assert (world.seen.method, world.seen.path) == ("PATCH", "/elsewhere?a=b&from=filter")
    assert (world.seen.headers["host"], world.seen.body) == ("inner.test", b"as it was")


async def test_a_filter_changes_a_body_that_it_has_read(world: World) -> None:
    await world.ask("body", method="POST", content=b"quiet", headers={"x-kept": "yes"})
    assert (world.seen.method, world.seen.body) == ("PUT", b"QUIET")
    assert (world.seen.headers["content-length"], world.seen.headers["x-kept"]) == ("5", "yes")


async def test_a_filter_replaces_a_body_of_any_size_that_it_does_not_look_at(world: World) -> None:
    await world.ask("replace", method="POST", content=bytes(3 * FILTER_BODY_BYTES_MAX))
    assert (world.seen.method, world.seen.body) == ("POST", b"replaced")


async def test_a_body_up_to_the_limit_is_seen_and_a_larger_one_passes_by_unseen(world: World) -> None:
    await world.ask("look", method="POST", content=bytes(FILTER_BODY_BYTES_MAX))
    assert (world.seen.headers["x-length"], len(world.seen.body)) == (f"{FILTER_BODY_BYTES_MAX}", FILTER_BODY_BYTES_MAX)
    await world.ask("look", method="POST", content=bytes(3 * FILTER_BODY_BYTES_MAX))
    assert (world.seen.headers["x-length"], len(world.seen.body)) == ("TypeError", 3 * FILTER_BODY_BYTES_MAX)


async def test_a_body_without_a_declared_length_is_seen_up_to_the_limit_likewise(world: World) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(256 * 1024)

    answers = [await world.ask("measures", method="POST", content=pieces(count)) for count in (2, 8)]
    assert [answer.json() for answer in answers] == [512 * 1024, "TypeError"]


async def test_the_response_hook_changes_headers_and_lets_the_body_pass(world: World) -> None:
    world.upstream.headers = "set-cookie: a=1\r\nset-cookie: b=2\r\nx-internal: 1\r\n"
    answer = await world.ask("answers/deep")
    world.upstream.headers = ""
    assert answer.headers["x-seen"] == "GET /answers/deep"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2", "c=3"]
    assert "x-internal" not in answer.headers
    assert answer.json()["path"] == "/answers/deep"


async def test_both_hooks_change_a_request_and_status_and_body_of_its_answer(world: World) -> None:
    answer = await world.ask("rewrite")
    assert world.seen.headers["x-in"] == "1"
    assert (answer.status_code, answer.text[-2:]) == (203, "}!")
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("throws", 500, "exception"),
        ("throws-later", 500, "exception"),
        ("waits", 504, "timeout"),
        ("loops", 504, "timeout"),
        ("many", 500, "bad-response"),
    ],
)
async def test_a_filter_that_fails_answers_with_its_failure(world: World, path: str, status: int, kind: str) -> None:
    answer = await world.ask(path)
    assert (answer.status_code, answer.headers["x-skerry-error"]) == (status, kind)


@pytest.mark.parametrize("path", ["throws-open", "loops-open", "passes"])
async def test_a_request_goes_on_past_a_failure_that_lets_it(world: World, path: str) -> None:
    answer = await world.ask(path, method="POST", content=b"still here")
    assert (answer.status_code, world.seen.body) == (200, b"still here")


async def test_filters_see_a_request_in_their_order_and_its_answer_in_the_other(world: World) -> None:
    answer = await world.ask("both")
    assert (world.seen.headers["x-order"], answer.headers["x-back"]) == ("12", "2, 1")
    answer = await world.ask("back")
    assert (world.seen.headers["x-order"], answer.headers["x-back"]) == ("21", "1, 2")


async def test_an_answer_of_a_filter_passes_those_before_it_and_none_behind(world: World) -> None:
    answer = await world.ask("stop")
    assert (answer.status_code, answer.headers["x-back"]) == (418, "1")


async def load(world: World, path: str, until: asyncio.Event) -> list[int]:
    """Ask again and again; return the statuses."""
    statuses = []
    while not until.is_set():
        statuses.append((await world.edge.get(f"{HOST}/{path}")).status_code)
    return statuses


async def test_a_worker_that_is_killed_fails_no_more_than_what_it_had_and_is_back(world: World, until: Any) -> None:
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        closed = [group.create_task(load(world, "nothing", done)) for _ in range(4)]
        opened = [group.create_task(load(world, "open", done)) for _ in range(4)]
        killed = world.workers.pids[0]
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: world.workers.pids[0] not in (None, killed))
        await world.workers.statistics()  # it answers
        done.set()
    assert {status for task in opened for status in task.result()} == {200}
    statuses = [status for task in closed for status in task.result()]
    assert set(statuses) <= {200, 502}
    assert statuses.count(502) <= len(closed)


async def test_what_does_not_reach_a_worker_is_shown_to_another(world: World) -> None:
    path = world.workers.socket_paths[0]
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        for _ in range(10):
            assert (await world.ask("nothing", method="POST")).status_code == 200
    finally:
        aside.rename(path)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("DELETE", 200), ("POST", 502)])
async def test_what_a_killed_worker_looked_at_is_shown_to_another_where_a_second_look_does_no_harm(
    world: World, until: Any, method: str, status: int
) -> None:
    asked = asyncio.ensure_future(world.edge.get(f"{HOST}/hangs", method=method))

    log = world.settings.logs_dir / "hangs.log"
    await until(lambda: log.exists() and method in log.read_text())
    statistics = await world.workers.statistics()
    (index,) = [index for index, each in enumerate(statistics) if each["requests_running"]]
    killed = world.workers.pids[index]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert (await asked).status_code == status
    await until(lambda: world.workers.pids[index] not in (None, killed))
    await world.workers.statistics()  # it answers


async def test_new_revisions_lose_no_request_and_leave_listeners_alone(world: World) -> None:
    def renamed(text: str, number: int) -> str:
        return text.replace("nothing-4", f"nothing-{number}")

    before = await world.edge.envoy.statistics("listener_manager.listener_modified")
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(load(world, "nothing", done)) for _ in range(4)]
        for number in range(5, 15):
            replace(FILTERS["nothing"], number=number).deploy(world.settings)
            await world.apply(partial(renamed, number=number))
        assert (await world.ask("nothing")).status_code == 200
        done.set()
    await world.apply()
    assert {status for each in loads for status in each.result()} == {200}
    assert await world.edge.envoy.statistics("listener_manager.listener_modified") == before
    draining = await world.edge.envoy.statistics("listener_manager.total_filter_chains_draining")
    assert set(draining.values()) == {0}


async def test_what_a_filter_says_is_in_its_log_with_the_requests_id(world: World, until: Any) -> None:
    answer = await world.ask("says")
    log = world.settings.logs_dir / "says.log"
    await until(lambda: log.exists() and log.read_text().count("\n") >= 2)
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["message"] for line in said] == [f"saw http://{HOST}/says", "and more"]
    assert {line["requestId"] for line in said} == {world.seen.headers["x-request-id"]}
    assert answer.status_code == 200


async def test_filters_of_a_backend_follow_those_of_the_rule(world: World) -> None:
    own = f"port: {world.port}, filters: [{reference('second')}]"
    ref = f"{{group: core.apoxy.dev, kind: Backend, name: upstream, {own}}}"
    rules = f"""
  - matches: [{{path: {{value: /own}}}}]
    filters: [{reference("first")}]
    backendRefs: [{ref}]"""
    await world.apply(lambda text: text + route("own", rules))
    await world.ask("own")
    assert world.seen.headers["x-order"] == "12"


async def test_a_rewrite_of_the_rule_acts_on_what_a_filter_leaves(world: World) -> None:
    rewrite = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}"
    rules = [route(f"w-{name}", rule(f"w-{name}", [name], world.port, rewrite)) for name in ("path", "headers")]
    await world.apply(lambda text: text + "".join(rules))
    await world.ask("w-headers/deep")
    assert world.seen.path == "/new/deep"
    await world.ask("w-path/deep")
    assert world.seen.path == "/elsewhere?from=filter"


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("absent", "BackendNotFound", "does not exist"),
        ("answering", "InvalidKind", "has mode backend"),
        ("unready", "BackendNotFound", "no live revision"),
    ],
)
async def test_requests_do_not_pass_a_filter_that_can_not_be_had(
    world: World, name: str, reason: str, message: str
) -> None:
    answering = (
        FILTERS["nothing"]
        .resource()
        .replace("name: nothing", "name: answering")
        .replace("mode: filter", "mode: backend")
    )
    unready = FILTERS["nothing"].resource().replace("name: nothing", "name: unready").replace("nothing-4", '""')
    answering = answering.replace("failureMode: closed, ", "")
    more = answering + unready + route("refused", rule("refused", [name], world.port))
    translation, _ = await world.apply(lambda text: text + more)
    answer = await world.ask("refused")
    assert (answer.status_code, message in answer.json()["message"]) == (500, True)
    assert world.upstream.requests == []
    (report,) = translation.conditions.routes["default", "refused"]
    told = {each.type: (each.status, each.reason) for each in report.decisions}
    assert told["ResolvedRefs"] == ("False", reason)
    assert told["Accepted"] == ("False", "UnsupportedValue")


async def test_the_own_address_of_a_filter_says_where_it_belongs(world: World) -> None:
    answer = await world.edge.get("nothing.functions.localhost/")
    assert (answer.status_code, "mode filter" in answer.json()["message"]) == (404, True)


async def test_filters_run_between_plugins_of_a_phase_and_plugins_without(
    world: World, probe: Path, until: Any
) -> None:
    def plugin(name: str, phase: str) -> str:
        document = {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"url": f"file://{probe}", "pluginName": "probe", "pluginConfig": {"append": name}}
            | {"phase": phase},
        }
        return "\n---\n" + json.dumps(document)

    await world.apply(lambda text: text + plugin("counted", "STATS") + plugin("late", "UNSPECIFIED_PHASE"))

    async def chain() -> str:
        await world.ask("chained", headers={"connection": "close"})
        return str(world.seen.headers.get("x-chain"))

    async def is_in_order() -> bool:
        return (await chain()).replace(" ", "") == "counted,function,late"

    await until(is_in_order)  # the listener has changed: Envoy takes that before its threads have it
    await world.apply()


async def test_a_websocket_passes_filters_of_both_directions(world: World) -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        writer.write(await reader.readexactly(4))
        writer.close()

    async with await asyncio.start_server(upgrade, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await world.apply(lambda text: text + route("ws", rule("ws", ["headers", "answers"], port)))
        reader, writer = await asyncio.open_connection("127.0.0.1", world.edge.port)
        head = f"GET /ws HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        writer.write(head.encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.split()[1] == b"101"
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        writer.close()
        await writer.wait_closed()


async def test_grpc_passes_with_its_streams_and_trailers(world: World) -> None:
    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        context.set_trailing_metadata([("x-trailer", "kept")])
        async for request in requests:
            yield request

    class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(echo)

    server = grpc.aio.server(handlers=[Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = GATEWAY[GATEWAY.rindex("---") :].replace("upstream", "calls").replace("spec: {", "spec: {protocol: h2c, ")
    rules = rule("calls", ["headers", "answers"], port).replace("name: upstream", "name: calls")
    await world.apply(lambda text: text + backend + route("calls", rules))
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{world.edge.port}", options=[("grpc.default_authority", HOST)]
    ) as channel:
        call = channel.stream_stream("/calls/Echo")()
        for message in (b"one", b"two"):
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert dict(await call.initial_metadata())["x-seen"] == "POST /calls/Echo"
        assert dict(await call.trailing_metadata())["x-trailer"] == "kept"
    await server.stop(None)
