"""The engine worker against workerd, with the same function, side by side in one run.

    npm ci --prefix bench && .venv/bin/python bench/worker.py [--seconds 5] [--rounds 3] [--pin] [--envoy]

Prints requests per second and latencies under `wrk`, and the time of a cold start, of a warm call and of a restart
(functions.py compares more functions). The rounds alternate between the servers, so that a busy machine hurts all
alike: read the ratios. With `--pin` the servers share core 0 and `wrk` has core 1: one core against one core. With
`--envoy` a whole `skerry up` runs too, and is asked through its gateway.
"""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rig import (
    CACHE,
    COMPONENT,
    CONNECTIONS,
    HELLO,
    WORKERD,
    Measured,
    Target,
    deploy,
    module,
    on_core,
    skerry,
    skerry_workers,
    workerd,
    wrk,
)

from skerry.engine.code import read_code
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import FunctionInstance, StreamingInstance, Surroundings
from skerry.engine.manifest import read_manifest
from skerry.testing.manifests import edge_function

SERVER_CORE, CLIENT_CORE = 0, 1

MODULE = module(HELLO)
HEAD = b"GET\nhttp://hello.functions.localhost:8080/\nhost\nhello.functions.localhost:8080\nuser-agent\nwrk"


@contextmanager
def behind_envoy(directory: Path) -> Iterator[Target]:
    """Yield the gateway of a whole Skerry that serves the function."""
    with skerry(directory / "skerry") as running:
        running.kubectl("apply", "-f", "-", stdin=edge_function("hello", MODULE))
        running.kubectl("wait", "--for=condition=Ready", "edgefunction/hello", "--timeout=60s")
        port = urlsplit(running.http).port
        assert port is not None
        yield Target(port, "Host: hello.functions.localhost")


def compare_rates(directory: Path, options: argparse.Namespace) -> None:
    server_core, client_core = (SERVER_CORE, CLIENT_CORE) if options.pin else (None, None)
    with ExitStack() as stack:
        with on_core(server_core):
            targets = {
                "workerd, 1 process": stack.enter_context(workerd(directory, {"hello": HELLO}))["hello"],
                "skerry, 1 worker": stack.enter_context(skerry_workers(directory)),
                "skerry, 2 workers": stack.enter_context(skerry_workers(directory, 2)),
            }
            if options.envoy:
                targets["skerry, behind Envoy"] = stack.enter_context(behind_envoy(directory))
        stack.enter_context(on_core(client_core))
        results: dict[str, list[Measured]] = {name: [] for name in targets}
        for target in targets.values():
            wrk(target, 1)  # warm
        for _ in range(options.rounds):
            for name, target in targets.items():
                results[name].append(wrk(target, options.seconds))
    base = statistics.median(each.rate for each in results["workerd, 1 process"])
    where = "on another core; each server on one" if options.pin else "on the same machine"
    print(f"\nhello function, wrk with {CONNECTIONS} connections {where}, median of {options.rounds} rounds")
    print(f"{'':22}{'requests/s':>12}{'of workerd':>12}{'p50 ms':>9}{'p99 ms':>9}")
    for name, measured in results.items():
        rate, p50, p99 = (
            statistics.median(getattr(each, field) for each in measured) for field in ("rate", "p50", "p99")
        )
        print(f"{name:22}{rate:12.0f}{rate / base:12.2f}{p50:9.2f}{p99:9.2f}")


def time_starts(directory: Path) -> None:
    hello = read_manifest(directory / "functions", "hello-0")
    wasm = hello.artifact.read_bytes()
    quiet = Surroundings(log=lambda *_: None)
    started = time.perf_counter()
    with JavaScriptEngine(COMPONENT, CACHE) as engine:
        loaded = time.perf_counter() - started

        def started_instance() -> FunctionInstance:
            instance = read_code(engine, wasm, CACHE).start(hello, quiet)
            assert not isinstance(instance, StreamingInstance)
            return instance

        def cold() -> float:
            begun = time.perf_counter()
            fresh = started_instance()
            fresh.handle(HEAD, b"", 30)
            return time.perf_counter() - begun

        starts = [cold() for _ in range(30)]
        instance = started_instance()
        for _ in range(200):
            instance.handle(HEAD, b"", 30)
        calls = []
        for _ in range(5000):
            begun = time.perf_counter()
            instance.handle(HEAD, b"", 30)
            calls.append(time.perf_counter() - begun)
    print(f"\nengine mapped from its cache   {loaded * 1e3:8.1f} ms")
    print(f"cold start, link to answer     {statistics.median(starts) * 1e3:8.2f} ms (median of 30)")
    print(f"warm call from Python          {statistics.median(calls) * 1e6:8.1f} us (median of 5000)")


def time_restart(directory: Path) -> None:
    """Kill a worker and count the time to the next answer."""
    from skerry.engine.workers import WorkerSettings, run_workers

    async def measure() -> float:
        settings = WorkerSettings(
            run_dir=directory / "run",
            functions_dir=directory / "functions",
            logs_dir=directory / "logs",
            kv_file=directory / "kv.db",
            engine_cache=CACHE,
            component=COMPONENT,
        )
        async with run_workers(settings) as workers:
            (pid,) = workers.pids
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            begun = time.perf_counter()
            await workers.statistics()
            return time.perf_counter() - begun

    print(f"\nkilled worker answers again after {asyncio.run(measure()):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=5, help="length of one wrk run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pin", action="store_true", help="servers on core 0, wrk on core 1")
    parser.add_argument("--envoy", action="store_true", help="ask a whole `skerry up` too, through its gateway")
    options = parser.parse_args()
    for tool, fix in ((shutil.which("wrk"), "apt-get install wrk"), (WORKERD.exists(), "npm ci --prefix bench")):
        if not tool:
            sys.exit(f"bench/worker.py needs `{fix}` first")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as name:
        directory = Path(name)
        deploy(directory, {"hello": HELLO})
        compare_rates(directory, options)
        time_starts(directory)
        time_restart(directory)


if __name__ == "__main__":
    main()
