"""What Wasm plugins cost: a request, and a change.

    .venv/bin/python bench/plugins.py [--seconds 2] [--rounds 9] [--counts 10,100,1000]

First `wrk` against two Envoys with 0, 1 and 5 plugins: one configured by Skerry over xDS, one by a static file with
the same listener, limits and time-outs. The rounds alternate, so that a busy machine hurts both alike: read the
ratios, which are medians of the rounds', and the requests that a second of Envoy's own processor time did, which other
processes disturb less. Then the time from the API's answer to a change of a plugin's configuration until the first
request that is served with it, in a whole Skerry with so many plugins on as many routes: one plugin is on the gateway
that is asked, the others on another one. All run at once and are changed in turns; so they need some 4 MiB of memory
for each plugin.
"""

import argparse
import asyncio
import hashlib
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml
from rig import ROOT, Target, free_ports, skerry, until, wrk

from skerry.gateway import ir
from skerry.gateway.envoy import find_envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import ACCESS_LOG_FORMAT, EdgeSettings
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.xds import serve_xds
from skerry.kit.deadlines import within
from skerry.testing.plugins import built
from skerry.testing.skerry_process import ANY_FILE, SkerryProcess

START_SECONDS_MAX = 60.0
CHANGES = 100
#: Between two looks whether a change is in force: asking without a pause would take the cores from what is measured.
ASK_SECONDS = 0.001
CHAINS = (0, 1, 5)
CONFIG = '{"name":"x-greeting","value":"hello"}'
HOST = "bench.test"


def model(port: int, module: Path, count: int) -> ir.Ir:
    route = ir.Route("hello", ir.EVERYTHING, ir.Respond(200, "hello\n"))
    plugins = tuple(
        ir.Plugin(f"default.p{number}", "http", ir.Wasm(str(module), root_id="add_header", configuration=CONFIG))
        for number in range(count)
    )
    chain = ir.Chain("bench", http_filters=tuple(ir.PluginUse(plugin.name, "deny") for plugin in plugins))
    return ir.Ir(
        bindings=(ir.Binding("bench", "default/bench", "127.0.0.1", port, (chain,)),),
        tables=(ir.RouteTable("bench", (ir.VirtualHost("*", (route,)),)),),
        plugins=ir.plugins_by_name(plugins),
    )


@asynccontextmanager
async def by_skerry(directory: Path, module: Path, count: int) -> AsyncIterator[tuple[int, int]]:
    (port,) = free_ports(1)
    settings = EnvoySettings("bench", directory, directory, str(directory / "xds.sock"))
    async with serve_xds(settings.xds_socket) as xds:
        edge = EdgeSettings(access_log=str(settings.access_log))
        generation = xds.set_snapshot(build_snapshot(model(port, module, count), edge))
        async with run_envoy(settings) as envoy:
            await envoy.ready(timeout_seconds=START_SECONDS_MAX)
            assert await xds.wait_until_applied(generation, timeout_seconds=START_SECONDS_MAX) == ()
            assert envoy.pid
            yield port, envoy.pid


def static_config(port: int, module: Path, count: int, access_log: Path) -> dict[str, Any]:
    """Write the same listener by hand: every limit and time-out that Skerry's has, and the plugins inline."""
    types = "type.googleapis.com/envoy.extensions"
    vm = {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}}
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": CONFIG}
    plugins = [
        {
            "name": f"p{number}",
            "typed_config": {
                "@type": f"{types}.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": f"p{number}",
                    "root_id": "add_header",
                    "vm_config": vm | {"vm_id": f"p{number}"},
                    "configuration": text,
                },
            },
        }
        for number in range(count)
    ]
    strip = {"remove_on_match": {"key_matcher": {"prefix": "x-skerry-", "ignore_case": True}}}
    mutation = {
        "@type": f"{types}.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": [strip]},
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello\n"}}}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "server_name": "skerry",
        "server_header_transformation": "APPEND_IF_ABSENT",
        "scheme_header_transformation": {"scheme_to_overwrite": "http"},
        "stream_idle_timeout": "300s",
        "request_headers_timeout": "10s",
        "max_request_headers_kb": 60,
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": 100},
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "192.0.2.1", "prefix_len": 32}]},
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{types}.access_loggers.file.v3.FileAccessLog",
                    "path": str(access_log),
                    "log_format": {"json_format": ACCESS_LOG_FORMAT},
                },
            }
        ],
        "http_filters": [
            {"name": "strip", "typed_config": mutation},
            *plugins,
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        route
                        | {
                            "response_headers_to_add": [
                                {"header": {"key": "content-type", "value": "text/plain"}, "append_action": 2}
                            ]
                        }
                    ],
                }
            ]
        },
    }
    listener = {
        "name": "bench",
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": 1048576,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


@asynccontextmanager
async def by_hand(directory: Path, module: Path, count: int) -> AsyncIterator[tuple[int, int]]:
    (port,), config = free_ports(1), directory / "envoy.yaml"
    config.write_text(yaml.safe_dump(static_config(port, module, count, directory / "access.log")))
    arguments = [str(find_envoy()), "--config-path", str(config), "--concurrency", "2", "--log-level", "error"]
    # In a session of its own, as Skerry starts its Envoy: Linux shares the cores between sessions (autogroup).
    process = await asyncio.create_subprocess_exec(*arguments, "--disable-hot-restart", start_new_session=True)
    try:
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()


async def load(port: int, pid: int, seconds: int) -> tuple[float, float, float]:
    """Return requests a second, the 99th percentile of latencies in milliseconds, and requests a processor second."""
    seen = await asyncio.to_thread(wrk, Target(port, f"Host: {HOST}", pids=(pid,)), seconds)
    return seen.rate, seen.p99, 1e6 / seen.cpu


async def wait_for(port: int) -> None:
    with within(START_SECONDS_MAX):
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)


async def price_of_a_request(module: Path, seconds: int, rounds: int) -> None:
    print(f"{'plugins':<9}{'':<9}{'requests/s':>12}{'p99':>11}{'requests/CPU s':>16}")
    for count in CHAINS:
        found: dict[str, list[tuple[float, float, float]]] = {"by hand": [], "Skerry": []}
        async with AsyncExitStack() as stack:
            running = {}
            for name, start in (("by hand", by_hand), ("Skerry", by_skerry)):
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                running[name] = await stack.enter_async_context(start(directory, module, count))
                await wait_for(running[name][0])
            for number in range(rounds):
                for name, (port, pid) in sorted(running.items(), reverse=bool(number % 2)):
                    found[name].append(await load(port, pid, seconds))
        medians = {
            name: [statistics.median(values) for values in zip(*rows, strict=True)] for name, rows in found.items()
        }
        for name, (rate, p99, efficiency) in medians.items():
            print(f"{count:<9}{name:<9}{rate:>12,.0f}{p99:>8.2f} ms{efficiency:>16,.0f}")
        # Of the two that ran one after the other, so that what else the machine does is nearly the same for both.
        pairs = zip(found["Skerry"], found["by hand"], strict=True)
        ratios = [
            statistics.median(values)
            for values in zip(*([o / h for o, h in zip(ours, hand, strict=True)] for ours, hand in pairs), strict=True)
        ]
        print(f"{'':<9}{'ratio':<9}{ratios[0]:>12.2f}{ratios[1]:>11.2f}{ratios[2]:>16.2f}", flush=True)


class Api:
    """The API of a running Skerry, over one connection."""

    def __init__(self, skerry: SkerryProcess) -> None:
        self._client = skerry.api_client()

    def send(self, method: str, path: str, document: Any = None, kind: str = "application/json") -> Any:
        answer = self._client.request(
            method, path, content=json.dumps(document) if document else None, headers={"content-type": kind}
        )
        answer.raise_for_status()
        return answer.json()


PLUGINS = "/apis/extensions.istio.io/v1alpha1/namespaces/default/wasmplugins"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
RESPONSES = "/apis/extensions.apoxy.dev/v1alpha2/directresponses"


def populate(api: Api, module: Path, count: int) -> None:
    """Make `count` plugins and routes; the first plugin is on the default Gateway."""
    gateway_group = "gateway.networking.k8s.io"
    crowd = {"name": "http", "port": free_ports(1)[0], "protocol": "HTTP"}
    api.send(
        "POST", GATEWAYS, {"metadata": {"name": "crowd"}, "spec": {"gatewayClassName": "skerry", "listeners": [crowd]}}
    )
    api.send("POST", RESPONSES, {"metadata": {"name": "hello"}, "spec": {"statusCode": 200}})
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    reference = {"group": "extensions.apoxy.dev", "kind": "DirectResponse", "name": "hello"}
    rules = [{"filters": [{"type": "ExtensionRef", "extensionRef": reference}]}]
    for number in range(count):
        hostnames = [HOST if number == 0 else f"r{number}.bench.test"]
        route = {"parentRefs": [{"name": "default"}], "hostnames": hostnames, "rules": rules}
        api.send("POST", ROUTES, {"metadata": {"name": f"r{number}"}, "spec": route})
        target = {"group": gateway_group, "kind": "Gateway", "name": "default" if number == 0 else "crowd"}
        spec = {
            "url": f"file://{module}",
            "sha256": digest,  # pinned, so that the controller has nothing to look for
            "pluginName": "probe",
            "pluginConfig": {"header": "start"},
            "targetRefs": [target],
        }
        api.send("POST", PLUGINS, {"metadata": {"name": f"p{number}"}, "spec": spec})
    until(lambda: all(map(is_ready, api.send("GET", PLUGINS)["items"])), "all plugins are ready", pause_seconds=0.2)


def is_ready(plugin: dict[str, Any]) -> bool:
    conditions = (plugin.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def change_seconds(api: Api, connection: http.client.HTTPConnection, value: str) -> float:
    """Change the first plugin; return the time from the API's answer to the first request that meets the change."""
    patch = {"spec": {"pluginConfig": {"header": value}}}
    api.send("PATCH", f"{PLUGINS}/p0", patch, "application/merge-patch+json")
    answered = time.perf_counter()

    def in_force() -> bool:
        connection.request("GET", "/", headers={"Host": HOST})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return answer.headers["x-probe"] == value

    until(in_force, "a change is in force", pause_seconds=ASK_SECONDS)
    return time.perf_counter() - answered


@contextmanager
def populated(module: Path, count: int) -> Iterator[Callable[[str], float]]:
    """Run a Skerry with `count` plugins; yields what changes the first one to a value, and returns the seconds."""
    with (
        tempfile.TemporaryDirectory() as directory,
        skerry(Path(directory) / "data", settings=ANY_FILE) as running,
    ):
        api = Api(running)
        populate(api, module, count)
        gateway = urlsplit(running.http)
        connection = http.client.HTTPConnection(gateway.hostname or "", gateway.port)
        change_seconds(api, connection, "warm-up")
        yield partial(change_seconds, api, connection)


def price_of_a_change(module: Path, counts: Sequence[int], rounds: int) -> None:
    """Change in turns, so that what else the machine does hurts all counts alike."""
    with ExitStack() as stack:
        running = {count: stack.enter_context(populated(module, count)) for count in counts}
        found: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(rounds):
            for count in counts[:: -1 if number % 2 else 1]:
                change = running[count]
                change(f"round-{number}")  # its caches are cold after the others' turns
                found[count] += [change(f"v{number}-{each}") * 1e3 for each in range(CHANGES // rounds)]
    for count, times in found.items():
        print(f"{count:<9}{statistics.median(times):>10.1f} ms{max(times):>10.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--counts", default="10,100,1000")
    options = parser.parse_args()
    asyncio.run(price_of_a_request(built(ROOT, "add-header"), options.seconds, options.rounds))
    print(f"\n{'plugins':<9}{'change p50':>13}{'most':>13}", flush=True)
    price_of_a_change(built(ROOT, "probe"), [int(count) for count in options.counts.split(",")], options.rounds)


if __name__ == "__main__":
    main()
