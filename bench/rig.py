"""What the measurements share: the servers, the upstream that functions fetch from, `wrk`, and what processes take."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.manifest import FunctionManifest, write_manifest
from skerry.gateway.envoy import find_envoy
from skerry.testing.skerry_process import SkerryProcess

ROOT = Path(__file__).resolve().parents[1]
COMPONENT = ROOT / "js-engine" / "dist" / "skerry-js-engine.wasm"
CACHE = ROOT / ".cache" / "engine"
WORKERD = ROOT / "bench" / "node_modules" / ".bin" / "workerd"
CONNECTIONS = 16
START_SECONDS_MAX = 120.0
END_SECONDS_MAX = 15.0
#: Of what a measurement waits for: an answer that changes, a queue that drains.
WAIT_SECONDS_MAX = 300.0

HELLO = 'async fetch(request, env, ctx) { return new Response("Hello from Skerry\\n"); }'
ANSWER = "Hello from the upstream\n"


def module(members: str) -> str:
    """Return the module of a handler."""
    return f"export default {{ {members} }};"


def bundle(members: str) -> str:
    """Return what esbuild makes of `module(members)`."""
    return f'"use strict";\nvar skerryModule = {{ default: {{ {members} }} }};\nskerryModule;'


def free_ports(count: int) -> list[int]:
    """Return so many ports that nothing listens on, beneath those that the system gives away by itself."""
    found = []
    for port in range(10_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)):
                found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"there are no {count} free ports")


def until(holds: Callable[[], bool], what: str, *, pause_seconds: float) -> None:
    """Look again and again whether something holds; raises TimeoutError with `what` after `WAIT_SECONDS_MAX`."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {WAIT_SECONDS_MAX:.0f} s")
        time.sleep(pause_seconds)


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
        try:
            running.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def skerry(data_dir: Path, *flags: str, command: str = "up", settings: str = "") -> Iterator[SkerryProcess]:
    """Run the installed `skerry COMMAND`, as its users do.

    The tests' forks of a process that has imported everything are another thing: they share their memory with it, and
    all of them are of its tree.
    """
    with SkerryProcess.started(
        data_dir, *flags, command=command, settings=settings, cache_dir=CACHE.parent, anew=True
    ) as running:
        yield running


@dataclass(frozen=True)
class Target:
    """What `wrk` asks.

    Attributes:
        port: on loopback.
        header: sent with each request.
        pids: of the processes that answer, where they are ours.
        url: what is asked; "" for the root of the port, without TLS.
    """

    port: int
    header: str = "x-skerry-revision: hello-0"
    pids: tuple[int, ...] = ()
    url: str = ""


@contextmanager
def workerd(directory: Path, functions: Mapping[str, str]) -> Iterator[dict[str, Target]]:
    """Run one workerd with these handlers; yields where each is asked."""
    ports = dict(zip(functions, free_ports(len(functions)), strict=True))
    services, sockets = ['(name = "internet", network = (allow = ["local"]))'], []
    for name, members in functions.items():
        (directory / f"{name}.js").write_text(module(members))
        worker = f'modules = [(name = "{name}.js", esModule = embed "{name}.js")], compatibilityDate = "2025-01-01"'
        services.append(f'(name = "{name}", worker = ({worker}))')
        sockets.append(f'(name = "{name}", address = "127.0.0.1:{ports[name]}", http = (), service = "{name}")')
    config = directory / f"config-{ports[name]}.capnp"
    config.write_text(
        'using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = (\n'
        f"  services = [{', '.join(services)}],\n  sockets = [{', '.join(sockets)}]);\n"
    )
    with process([str(WORKERD), "serve", str(config)]) as running:
        wait_for(ports[name])
        yield {name: Target(port, pids=(_child_or_self(running.pid),)) for name, port in ports.items()}


def _child_or_self(pid: int) -> int:
    """Return the process that does the work: npm's `workerd` is a script that starts it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def deploy(directory: Path, functions: Mapping[str, str]) -> None:
    """Make handlers known to the workers of this directory."""
    for name, members in functions.items():
        artifact = directory / f"{name}.wasm"
        artifact.write_bytes(javascript_module(bundle(members)))
        manifest = FunctionManifest(revision=f"{name}-0", function=name, artifact=artifact, timeout_seconds=300)
        write_manifest(directory / "functions", manifest)


@contextmanager
def skerry_workers(directory: Path, processes: int = 1) -> Iterator[Target]:
    """Run workers that accept from one socket, and may fetch from loopback."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        arguments = [sys.executable, "-m", "skerry.main.worker", "--listen-fd", str(listener.fileno())]
        arguments += ["--functions-dir", str(directory / "functions"), "--logs-dir", str(directory / "logs")]
        arguments += ["--kv-file", str(directory / "kv.db"), "--egress-allow", "127.0.0.1"]
        arguments += ["--engine-cache", str(CACHE), "--component", str(COMPONENT)]
        running = [stack.enter_context(process(arguments, pass_fds=(listener.fileno(),))) for _ in range(processes)]
        port = int(listener.getsockname()[1])
        assert all(each.poll() is None for each in running), "a worker has ended"
        for _ in range(20 * processes):  # every process starts an instance
            ask(port, "hello-0")
        yield Target(port, pids=tuple(each.pid for each in running))


def ask(port: int, revision: str) -> None:
    """Ask a server once, for a function of a worker or for what the port stands for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS_MAX)
    try:
        connection.request("GET", "/", headers={"x-skerry-revision": revision or "none"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
    finally:
        connection.close()


@contextmanager
def upstream(directory: Path) -> Iterator[str]:
    """Run an Envoy that answers by itself; yields its URL."""
    (port,) = free_ports(1)
    filters = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "upstream",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200, "body": {"inline_string": ANSWER}},
                        }
                    ],
                }
            ]
        },
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    config = directory / "upstream.yaml"
    config.write_text(
        yaml.safe_dump({"static_resources": {"listeners": [{"address": address, "filter_chains": [chain]}]}})
    )
    arguments = [str(find_envoy()), "-c", str(config), "--concurrency", "1", "--log-level", "error"]
    with process([*arguments, "--disable-hot-restart"]):
        wait_for(port)
        yield f"http://127.0.0.1:{port}/"


@dataclass(frozen=True)
class Measured:
    """What `wrk` saw.

    Attributes:
        rate: requests a second.
        p50: milliseconds.
        p99: milliseconds.
        cpu: microseconds of processor time that a request took, of the target's processes.
        requests: that were answered.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    requests: int


def wrk(target: Target, seconds: float, *, script: Path | None = None, connections: int = CONNECTIONS) -> Measured:
    """Ask as fast as it goes, on what the servers leave of the cores (`_waits_its_turn`).

    Raises:
        RuntimeError: not every request was answered with success: of such a run no figure counts.
    """
    arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "30s", "--latency", "-H", target.header]
    arguments += ["-s", str(script)] if script else []
    before = cpu_seconds(target.pids)
    url = target.url or f"http://127.0.0.1:{target.port}/"
    with _waits_its_turn():
        done = subprocess.run([*arguments, url], capture_output=True, text=True, check=True)
    rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout), re.search(r"(\d+) requests in", done.stdout)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout or not rate or not requests or not int(requests[1]):
        raise RuntimeError(f"{url}, {target.header}: not all was answered:\n{done.stdout}")
    spent, count = cpu_seconds(target.pids) - before, int(requests[1])
    p50, p99 = (_milliseconds(done.stdout, percentile) for percentile in ("50%", "99%"))
    return Measured(float(rate[1]), p50, p99, spent / count * 1e6, count)


@contextmanager
def _waits_its_turn() -> Iterator[None]:
    """Have what this thread starts in the block take a core only when its turn has come (SCHED_BATCH).

    A client that is woken by each answer, and then has the server's core at once, is what no client on a machine of its
    own does.
    """
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return how much processor time processes have taken so far."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def family_seconds(pid: int) -> float:
    """Return the processor time of a process, of all that it has started, and of those of them that have ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has just ended
    own = sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(family_seconds(int(child)) for child in children)


def resident_mib(pid: int) -> float:
    return memory_kib(pid)["Rss"] / 1024


def _milliseconds(text: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s|m)\s*\n", text)
    assert found, text
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[found[2]]


def memory_kib(pid: int) -> dict[str, int]:
    """Return Rss and Pss of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) for name, size in re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE)}


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
