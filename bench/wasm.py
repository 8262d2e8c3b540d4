"""Wasm functions against the worker's own JavaScript: what each kind of binary costs a request.

    make setup-dev && .venv/bin/python bench/wasm.py [--seconds 5] [--rounds 3]

One worker serves the hello of each: JavaScript in the shared engine, WASI preview 1 commands in C and Go, a component
of our own world in Python, a wasi:http component in JavaScript. The rounds alternate, so that a busy machine hurts all
alike: read the ratios. Prints requests per second under `wrk`, the time of one core for a request of one instance, and
what 64 KiB and 1 MB of body cost.
"""

import argparse
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rig import CACHE, COMPONENT, HELLO, Measured, deploy, skerry_workers, wrk

from skerry.engine.code import read_code
from skerry.engine.exchange import Exchange
from skerry.engine.host import JavaScriptEngine
from skerry.engine.http1 import Request
from skerry.engine.instances import StreamingInstance, Surroundings
from skerry.engine.manifest import FunctionManifest, write_manifest

MODULES = Path(__file__).resolve().parents[1] / ".cache" / "wasm"
FUNCTIONS = {
    "WASI command in C": "command-c",
    "WASI command in Go": "command-go",
    "skerry:function in Python": "function-python",
    "wasi:http in JavaScript": "http-js",
}
JAVASCRIPT = "JavaScript, the shared engine"
SIZES = (0, 64 * 1024, 1_000_000)
CALLS = 200


class Peer:
    """Takes what it is sent."""

    def receive(self) -> None:
        """Nothing comes: the request is whole."""

    def send(self, _data: bytes) -> None:
        """Forget it."""

    def flush_now(self) -> bool:
        return True

    def fileno(self) -> int:
        return socket.socket().fileno()

    def abandon(self) -> None:
        raise AssertionError


def manifest(name: str) -> FunctionManifest:
    artifact = MODULES / f"{name}.wasm"
    return FunctionManifest(revision=f"{name}-1", function=name, artifact=artifact, env={"GREETING": "hello"})


def call_of(engine: JavaScriptEngine, name: str) -> Callable[[str, bytes], None]:
    """Return what has one instance answer a path and a body."""
    given = manifest(name)
    instance = read_code(engine, given.artifact.read_bytes(), CACHE).start(given, Surroundings(log=lambda *_: None))

    def call(path: str, body: bytes) -> None:
        head = f"POST\nhttp://a{path}\nhost\na".encode()
        if isinstance(instance, StreamingInstance):
            request = Request()
            request.method, request.body = b"POST", body
            instance.answer(head, Exchange(request, Peer(), given, lambda: None), 30)
        else:
            instance.handle(head, body, 30)

    return call


def seconds_of(call: Callable[[str, bytes], None], size: int) -> float:
    path = "/echo" if size else "/"
    times = []
    for _ in range(max(10, CALLS // (1 + size // 8192))):
        begun = time.perf_counter()
        call(path, bytes(size))
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def compare_calls() -> None:
    print(f"\n{'one request of one instance, ms':32}" + "".join(f"{f'{size:,} bytes':>16}" for size in SIZES))
    with JavaScriptEngine(COMPONENT, CACHE) as engine:
        for title, name in FUNCTIONS.items():
            call = call_of(engine, name)
            print(f"{title:32}" + "".join(f"{seconds_of(call, size) * 1e3:16.2f}" for size in SIZES))


def compare_rates(directory: Path, options: argparse.Namespace) -> None:
    deploy(directory, {"hello": HELLO})
    targets = {JAVASCRIPT: "hello-0"}
    for title, name in FUNCTIONS.items():
        write_manifest(directory / "functions", manifest(name))
        targets[title] = f"{name}-1"
    results: dict[str, list[Measured]] = {title: [] for title in targets}
    with skerry_workers(directory) as worker:
        asked = {title: replace(worker, header=f"x-skerry-revision: {name}") for title, name in targets.items()}
        for target in asked.values():
            wrk(target, 1)  # warm
        for _ in range(options.rounds):
            for title, target in asked.items():
                results[title].append(wrk(target, options.seconds))
    base = statistics.median(each.rate for each in results[JAVASCRIPT])
    print(f"\n{'hello, one worker':32}{'requests/s':>12}{'of JavaScript':>15}{'p50 ms':>9}{'p99 ms':>9}")
    for title, measured in results.items():
        rate, p50, p99 = (
            statistics.median(getattr(each, field) for each in measured) for field in ("rate", "p50", "p99")
        )
        print(f"{title:32}{rate:12,.0f}{rate / base:15.2f}{p50:9.2f}{p99:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    compare_calls()
    with tempfile.TemporaryDirectory() as directory:
        compare_rates(Path(directory), options)


if __name__ == "__main__":
    main()
