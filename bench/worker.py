"""The engine worker against workerd, with the same function, side by side in one run.

    npm ci --prefix bench && .venv/bin/python bench/worker.py [--seconds 5] [--rounds 3] [--pin] [--envoy]

Prints requests per second and latencies under `wrk`, the time of a cold start and of a warm call, and the memory of
one worker with 1, 10 and 100 functions. The rounds alternate between the servers, so that a busy machine hurts all
alike: read the ratios. With `--pin` the servers share core 0 and `wrk` has core 1: one core against one core. With
`--envoy` a whole `skerry up` runs too, and is asked through its gateway.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.code import read_code
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import FunctionInstance, StreamingInstance, Surroundings
from skerry.engine.manifest import FunctionManifest, read_manifest, write_manifest
from skerry.testing.manifests import edge_function
from skerry.testing.skerry_process import SkerryProcess

ROOT = Path(__file__).resolve().parents[1]
COMPONENT = ROOT / "js-engine" / "dist" / "skerry-js-engine.wasm"
CACHE = ROOT / ".cache" / "engine"
WORKERD = ROOT / "bench" / "node_modules" / ".bin" / "workerd"
CONNECTIONS = 16
START_SECONDS_MAX = 60.0
SERVER_CORE, CLIENT_CORE = 0, 1

FETCH = 'async fetch(request, env, ctx) { return new Response("Hello from Skerry\\n"); }'
MODULE = f"export default {{ {FETCH} }};"
BUNDLE = f'"use strict";\nvar skerryModule = {{ default: {{ {FETCH} }} }};\nskerryModule;'
HEAD = b"GET\nhttp://hello.functions.localhost:8080/\nhost\nhello.functions.localhost:8080\nuser-agent\nwrk"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def process(arguments: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(arguments, **options)  # type: ignore[call-overload]
    try:
        yield running
    finally:
        running.terminate()
        running.wait(15)


@dataclass(frozen=True)
class Target:
    """What `wrk` asks."""

    port: int
    header: str = "x-skerry-revision: hello-0"


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Have what is started in the block run on one core; None for any."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def workerd(directory: Path) -> Iterator[int]:
    port = free_port()
    (directory / "hello.js").write_text(MODULE)
    (directory / "config.capnp").write_text(
        f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "hello.js", esModule = embed "hello.js")],
    compatibilityDate = "2025-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")]);
"""
    )
    with process([str(WORKERD), "serve", str(directory / "config.capnp")]):
        wait_for(port)
        yield port


def deploy(directory: Path, count: int) -> None:
    artifact = directory / "hello.wasm"
    artifact.write_bytes(javascript_module(BUNDLE))
    for number in range(count):
        manifest = FunctionManifest(revision=f"hello-{number}", function=f"hello{number}", artifact=artifact)
        write_manifest(directory / "functions", manifest)


@contextmanager
def skerry_worker(directory: Path, processes: int = 1) -> Iterator[tuple[int, list[int]]]:
    """Yield the port and the process ids of workers that accept from one socket."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        arguments = [sys.executable, "-m", "skerry.main.worker", "--listen-fd", str(listener.fileno())]
        arguments += ["--functions-dir", str(directory / "functions"), "--logs-dir", str(directory / "logs")]
        arguments += ["--kv-file", str(directory / "kv.db")]
        arguments += ["--engine-cache", str(CACHE), "--component", str(COMPONENT)]
        running = [stack.enter_context(process(arguments, pass_fds=(listener.fileno(),))) for _ in range(processes)]
        port = int(listener.getsockname()[1])
        for _ in range(20 * processes):  # every process starts an instance
            ask(port, "hello-0")
        yield port, [each.pid for each in running]


def ask(port: int, revision: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(
            f"GET / HTTP/1.1\r\nhost: a\r\nx-skerry-revision: {revision}\r\nconnection: close\r\n\r\n".encode()
        )
        with sock.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 200 "), answer


@contextmanager
def behind_envoy(directory: Path) -> Iterator[Target]:
    """Yield the gateway of a whole Skerry that serves the function."""
    with SkerryProcess.started(directory / "skerry", cache_dir=CACHE.parent) as skerry:
        skerry.kubectl("apply", "-f", "-", stdin=edge_function("hello", MODULE))
        skerry.kubectl("wait", "--for=condition=Ready", "edgefunction/hello", "--timeout=60s")
        port = urlsplit(skerry.http).port
        assert port is not None
        yield Target(port, "Host: hello.functions.localhost")


def wrk(target: Target, seconds: int) -> tuple[float, float, float]:
    """Return requests per second, p50 and p99 in milliseconds."""
    arguments = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", "-H", target.header]
    done = subprocess.run([*arguments, f"http://127.0.0.1:{target.port}/"], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert rate, done.stdout
    return float(rate[1]), _milliseconds(done.stdout, "50%"), _milliseconds(done.stdout, "99%")


def _milliseconds(text: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)\n", text)
    assert found, text
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def compare_rates(directory: Path, options: argparse.Namespace) -> None:
    server_core, client_core = (SERVER_CORE, CLIENT_CORE) if options.pin else (None, None)
    with ExitStack() as stack:
        with on_core(server_core):
            targets = {
                "workerd, 1 process": Target(stack.enter_context(workerd(directory))),
                "skerry, 1 worker": Target(stack.enter_context(skerry_worker(directory))[0]),
                "skerry, 2 workers": Target(stack.enter_context(skerry_worker(directory, 2))[0]),
            }
            if options.envoy:
                targets["skerry, behind Envoy"] = stack.enter_context(behind_envoy(directory))
        stack.enter_context(on_core(client_core))
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in targets}
        for target in targets.values():
            wrk(target, 1)  # warm
        for _ in range(options.rounds):
            for name, target in targets.items():
                results[name].append(wrk(target, options.seconds))
    base = statistics.median(rate for rate, _, _ in results["workerd, 1 process"])
    where = "on another core; each server on one" if options.pin else "on the same machine"
    print(f"\nhello function, wrk with {CONNECTIONS} connections {where}, median of {options.rounds} rounds")
    print(f"{'':22}{'requests/s':>12}{'of workerd':>12}{'p50 ms':>9}{'p99 ms':>9}")
    for name, measured in results.items():
        rate, p50, p99 = (statistics.median(each) for each in zip(*measured, strict=True))
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


def memory_kib(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) for name, size in re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE)}


def weigh(directory: Path) -> None:
    print(f"\n{'one worker with':22}{'RSS MiB':>10}{'PSS MiB':>10}")
    with skerry_worker(directory) as (port, (pid,)):
        for count in (1, 10, 100):
            for number in range(count):
                ask(port, f"hello-{number}")
            used = memory_kib(pid)
            print(f"{count:4} functions        {used['Rss'] / 1024:10.0f}{used['Pss'] / 1024:10.0f}")


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
        deploy(directory, 100)
        compare_rates(directory, options)
        time_starts(directory)
        weigh(directory)
        time_restart(directory)


if __name__ == "__main__":
    main()
