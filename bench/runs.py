"""Runs of a function, against functions-framework serving the same one in Python, side by side in one run.

    .venv/bin/python bench/runs.py [--seconds 3] [--rounds 5] [--connections 16]

functions-framework (Google's, from PyPI, in an environment of its own: requirements-bench.lock) runs as
`functions-framework --target` does in production: its own server with its own defaults, plain HTTP, nothing checked and
nothing kept. Skerry answers blocking runs through its front door as it is shipped: TLS, a token, access control, input
and output checked against schemas, one secret injected, and each run on disk before it is answered: the function in
Python, and in JavaScript within the Wasm engine. The rounds alternate, so that a busy machine hurts all alike: read the
ratio. All share the machine with `wrk`. Beside it stands the processor time of a run, of all processes of its server.

Before that what is submitted without waiting (each on disk before its 202) and how fast the queue drains, after it the
memory of functions that nobody calls.
"""

import argparse
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rig import (
    CONNECTIONS,
    ROOT,
    Target,
    family_seconds,
    free_ports,
    memory_kib,
    process,
    skerry,
    until,
    wait_for,
    wrk,
)

from skerry.cli.connection import read_access
from skerry.testing.skerry_process import SkerryProcess

ENVIRONMENT = ROOT / ".cache" / "functions-framework"
LOCK = ROOT / "requirements-bench.lock"
EXAMPLES = ROOT / "examples" / "functions"
IDLE_FUNCTIONS = 100
PAYLOAD = {"name": "Jon", "place": "Winterfell"}
HELLO = "def handle(context, payload): return {'greeting': f\"Hello, {payload['name']} from {payload['place']}\"}\n"
SAME_IN_JAVASCRIPT = (
    "module.exports = (context, payload) => ({ greeting: `Hello, ${payload.name} from ${payload.place}` })\n"
)
SAME_IN_FLASK = (
    "def hello(request):\n"
    "    payload = request.get_json()\n"
    "    return {'greeting': f\"Hello, {payload['name']} from {payload['place']}\"}\n"
)


def script(directory: Path, name: str, body: object, headers: dict[str, str]) -> Path:
    """Write how `wrk` posts a body."""
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{json.dumps(body)}]==]"]
    lines += [f'wrk.headers["{key}"] = "{value}"' for key, value in headers.items()]
    path = directory / f"{name}.lua"
    path.write_text("\n".join(lines))
    return path


@contextmanager
def functions_framework(directory: Path) -> Iterator[Target]:
    """Run functions-framework with its defaults; it is installed where it is not there."""
    command = ENVIRONMENT / "bin" / "functions-framework"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(LOCK)]
        subprocess.run(install, check=True)
    source = directory / "main.py"
    source.write_text(SAME_IN_FLASK)
    (port,) = free_ports(1)
    arguments = [str(command), "--target", "hello", "--source", str(source), "--host", "127.0.0.1", "--port", str(port)]
    with process(arguments) as running:
        wait_for(port)
        yield Target(port, "content-type: application/json", pids=(running.pid,))


def door_of(running: SkerryProcess, function: str) -> Target:
    """Return where runs of a function are asked for."""
    assert running.process is not None
    url = f"{running.api}/v1/runs?functionName={function}"
    return Target(0, "content-type: application/json", (running.process.pid,), url)


def create(http: httpx.Client, name: str, **more: object) -> None:
    in_python = {"image": "python3", "code": HELLO, "main": "handle"}
    http.post("/v1/function", json={"name": name, **(more if "image" in more else in_python | more)}).raise_for_status()


def until_state(http: httpx.Client, path: str, *states: str) -> None:
    until(lambda: http.get(path).json()["status"] in states, f"{path} is {states}", pause_seconds=0.02)


def compare(directory: Path, running: SkerryProcess, http: httpx.Client, options: argparse.Namespace) -> None:
    """Print the rates of both, in turns."""
    http.post("/v1/secret", json={"name": "bench", "secrets": {"word": "mellon"}}).raise_for_status()
    schema = {kind: json.loads((EXAMPLES / f"{kind}.json").read_text()) for kind in ("in", "out")}
    create(http, "hello", secrets=["bench"], schema=schema)
    source = base64.b64encode(SAME_IN_JAVASCRIPT.encode()).decode()
    create(http, "hello-js", image="nodejs", source=source, secrets=["bench"], schema=schema)
    for name in ("hello", "hello-js"):
        until_state(http, f"/v1/function/{name}", "READY")
    token = read_access(running.data_dir / "kubeconfig").token
    headers = {"authorization": f"Bearer {token}", "x-dispatch-org": "default"}
    asks = script(directory, "skerry", {"blocking": True, "input": PAYLOAD}, headers)
    plain = script(directory, "framework", PAYLOAD, {})
    with functions_framework(directory) as framework:
        sides = (
            ("functions-framework", framework, plain),
            ("skerry, Python", door_of(running, "hello"), asks),
            ("skerry, JavaScript", door_of(running, "hello-js"), asks),
        )
        measured: dict[str, list[tuple[float, ...]]] = {}
        for turn in range(options.rounds + 1):  # the first one warms
            for name, target, lua in sides:
                seconds = options.seconds if turn else 1
                before = family_seconds(target.pids[0])
                got = wrk(target, seconds, script=lua, connections=options.connections)
                spent = family_seconds(target.pids[0]) - before
                if turn:
                    measured.setdefault(name, []).append((got.rate, got.p50, got.p99, 1e6 * spent / got.requests))
    base = statistics.median(rate for rate, *_ in measured["functions-framework"])
    print(f"\n{'':24}{'runs/s':>10}{'ratio':>8}{'p50 ms':>10}{'p99 ms':>10}{'cpu us':>10}")
    for name, results in measured.items():
        rate, p50, p99, cpu = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"{name:24}{rate:10.0f}{rate / base:8.2f}{p50:10.2f}{p99:10.2f}{cpu:10.0f}", flush=True)


def queue(directory: Path, running: SkerryProcess, http: httpx.Client, seconds: float) -> None:
    """Print how many runs a second are accepted, and how many the queue gets done."""
    create(http, "queued")
    until_state(http, "/v1/function/queued", "READY")
    token = read_access(running.data_dir / "kubeconfig").token
    headers = {"authorization": f"Bearer {token}", "x-dispatch-org": "default"}
    asks = script(directory, "queue", {"input": PAYLOAD}, headers)
    began = time.monotonic()
    got = wrk(door_of(running, "queued"), seconds, script=asks)
    latency = f"p50 {got.p50:.2f} ms, p99 {got.p99:.2f} ms"
    print(f"submitted without waiting, each on disk first   {got.rate:8.0f}/s   {latency}")
    until(lambda: ended(http, "queued").total() >= got.requests, "runs end", pause_seconds=0.2)
    rate = got.requests / (time.monotonic() - began)
    print(f"executed, from the first submitted to the last  {rate:8.0f}/s   of {got.requests}", flush=True)
    assert not ended(http, "queued")["ERROR"], "runs have failed: no figure counts"


def ended(http: httpx.Client, function: str) -> Counter[str]:
    """Return how many runs of a function have ended, by their status: from a count, as a list would take its time."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(http.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            if sample.name == "skerry_function_runs_total" and sample.labels["function"] == function:
                found[sample.labels["status"]] += int(sample.value)
    return found


def weigh(running: SkerryProcess, http: httpx.Client) -> None:
    """Print what functions take that nobody has called: just deployed, and after a restart."""
    assert running.process is not None
    before = family_mib(running.process.pid)
    for number in range(IDLE_FUNCTIONS):
        create(http, f"idle{number}")
    for number in range(IDLE_FUNCTIONS):
        until_state(http, f"/v1/function/idle{number}", "READY")
    deployed = family_mib(running.process.pid)
    running.stop()
    running.start()
    assert running.process is not None
    rested = family_mib(running.process.pid)
    print(f"\n{'':34}{'control plane MiB':>18}{'functions MiB':>15}{'processes':>11}")
    for name, (own, others, count) in (
        ("before", before),
        (f"{IDLE_FUNCTIONS} functions, just deployed", deployed),
        ("the same, idle", rested),
    ):
        print(f"{name:34}{own:18.0f}{others:15.0f}{count:11}", flush=True)


def family_mib(pid: int) -> tuple[float, float, int]:
    """Return the memory (Pss) of the control plane, and of its functions' processes, and how many these are."""
    own = memory_kib(pid)["Pss"] / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    functions = [int(c) for c in children if b"python_worker" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return own, sum(memory_kib(child)["Pss"] for child in functions) / 1024, len(functions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=3, help="length of one wrk run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="callers at once of blocking runs")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))
        running = stack.enter_context(skerry(directory / "data"))
        with running.api_client() as http:
            http.headers["x-dispatch-org"] = "default"
            queue(directory, running, http, options.seconds)  # first: runs that are over are removed afterwards
            compare(directory, running, http, options)
            weigh(running, http)


if __name__ == "__main__":
    main()
