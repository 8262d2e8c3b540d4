"""Functions in Skerry's workers against the same functions in workerd, side by side in one run.

    npm ci --prefix bench && .venv/bin/python bench/functions.py [--seconds 2] [--rounds 3] [--only hello,fetch]

For each case requests a second and latencies under `wrk`, of one workerd process (it has one thread), of one worker and
of two. The rounds alternate between the servers, so that a busy machine hurts all alike: read the ratios. All of them
share the machine with `wrk`, and with the upstream that the case `fetch` asks, an Envoy that answers by itself. Then
the memory of each with many functions deployed (`memory`), and the time of a cold start (`starts`).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rig import (
    CONNECTIONS,
    HELLO,
    WORKERD,
    Measured,
    Target,
    ask,
    deploy,
    memory_kib,
    skerry_workers,
    upstream,
    workerd,
    wrk,
)

JSON_BYTES = 10_000
BODY_BYTES = 1024 * 1024
DEPLOYED = (1, 100, 1_000)
SERVERS = ("workerd, 1 process", "skerry, 1 worker", "skerry, 2 workers")


@dataclass(frozen=True)
class Case:
    """One function, and how it is asked.

    Attributes:
        members: of the module's default export.
        body: that is posted; GET without one.
        connections: of `wrk`.
    """

    members: str
    body: bytes = b""
    connections: int = CONNECTIONS


def cases(upstream_url: str) -> dict[str, Case]:
    """Return the cases by name."""
    items = [{"id": number, "name": f"item {number}", "tags": ["a", "b"], "ok": True} for number in range(170)]
    document = json.dumps({"items": items}).encode()[:-2]
    document += b"]" + b" " * (JSON_BYTES - len(document) - 2) + b"}"
    compute = "let x = 1; for (let i = 0; i < 1.5e6; i++) x = (x * 1103515245 + 12345) & 0x7fffffff;"
    template = (
        "const rows = Array.from({length: 100}, (_, i) => ({id: i, name: `<name ${i}>`, price: i * 1.5}));"
        "const safe = (text) => text.replace(/[&<>]/g, (c) => ({'&': '&amp;', '<': '&lt;', '>': '&gt;'})[c]);"
        "const page = `<!doctype html><title>${safe('A & B')}</title><table>${rows.map((row) =>"
        " `<tr><td>${row.id}</td><td>${safe(row.name)}</td><td>${row.price.toFixed(2)}</td></tr>`).join('')}</table>`;"
        "return new Response(page, {headers: {'content-type': 'text/html'}});"
    )
    return {
        "hello": Case(HELLO),
        "json": Case("async fetch(request) { return Response.json(await request.json()); }", document),
        "body": Case(
            "async fetch(request) { return new Response(await request.arrayBuffer()); }", os.urandom(BODY_BYTES)
        ),
        "fetch": Case(
            f"async fetch() {{ const r = await fetch('{upstream_url}'); return new Response(await r.text()); }}"
        ),
        "proxy": Case(f"async fetch() {{ return fetch('{upstream_url}'); }}"),
        "compute": Case(f"async fetch() {{ {compute} return new Response(`${{x}}`); }}", connections=2),
        "template": Case(f"async fetch() {{ {template} }}"),
    }


def script_of(directory: Path, name: str, case: Case) -> Path | None:
    """Write how `wrk` asks; None for a plain GET."""
    if not case.body:
        return None
    body, script = directory / f"{name}.body", directory / f"{name}.lua"
    body.write_bytes(case.body)
    script.write_text(f'wrk.method = "POST"\nlocal f = io.open("{body}", "rb")\nwrk.body = f:read("*a")\nf:close()\n')
    return script


def compare(directory: Path, options: argparse.Namespace) -> None:
    """Measure the rates, and print them."""
    with ExitStack() as stack:
        functions = cases(stack.enter_context(upstream(directory)))
        chosen = [name for name in functions if not options.only or name in options.only]
        handlers = {name: case.members for name, case in functions.items()}
        deploy(directory, handlers)
        of_workerd = stack.enter_context(workerd(directory, handlers))
        one = stack.enter_context(skerry_workers(directory))
        two = stack.enter_context(skerry_workers(directory, 2))
        print(f"{'':28}{'requests/s':>11}{'of workerd':>12}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>9}")
        for name in chosen:
            header = f"x-skerry-revision: {name}-0"
            targets = (of_workerd[name], replace(one, header=header), replace(two, header=header))
            _compare_case(directory, (name, functions[name]), targets, options)


def _compare_case(
    directory: Path, named: tuple[str, Case], targets: tuple[Target, ...], options: argparse.Namespace
) -> None:
    name, case = named
    script = script_of(directory, name, case)
    measured: list[list[Measured]] = [[] for _ in targets]
    for target in targets:
        wrk(target, 1, script=script, connections=case.connections)  # warm
    for _ in range(options.rounds):
        for results, target in zip(measured, targets, strict=True):
            results.append(wrk(target, options.seconds, script=script, connections=case.connections))
    base = statistics.median(each.rate for each in measured[0])
    for server, results in zip(SERVERS, measured, strict=True):
        rate, p50, p99, cpu = (
            statistics.median(getattr(each, field) for each in results) for field in ("rate", "p50", "p99", "cpu")
        )
        print(f"{name:9}{server:19}{rate:11.1f}{rate / base:12.2f}{p50:10.2f}{p99:10.2f}{cpu:9.0f}", flush=True)


def weigh(directory: Path) -> None:
    """Print the memory of one process of each with so many functions, each asked once."""
    print(f"\n{'functions deployed':20}{'workerd MiB':>14}{'one worker MiB':>16}")
    for count in DEPLOYED:
        functions = {f"hello{number}": HELLO for number in range(count)}
        at = directory / f"weigh-{count}"
        at.mkdir()
        deploy(at, {"hello": HELLO, **functions})
        with workerd(at, functions) as targets, skerry_workers(at) as worker:
            for name, target in targets.items():
                ask(target.port, "")
                ask(worker.port, f"{name}-0")
            sizes = [memory_kib(pids[0])["Rss"] / 1024 for pids in (next(iter(targets.values())).pids, worker.pids)]
        print(f"{count:18}  {sizes[0]:14.0f}{sizes[1]:16.0f}", flush=True)


def time_cold_starts(directory: Path) -> None:
    """Print the time to a first answer: of a process that has never run the function, and of one that is started."""
    at = directory / "cold"
    at.mkdir()
    deploy(at, {"hello": HELLO, **{f"hello{number}": HELLO for number in range(30)}})
    with skerry_workers(at) as worker:
        times = [_timed(worker.port, f"hello{number}-0") for number in range(30)]
    print(f"\na function's first answer in a running worker   {statistics.median(times) * 1e3:8.2f} ms (median of 30)")
    starts = []
    for _ in range(5):
        began = time.perf_counter()
        with workerd(at, {"hello": HELLO}) as targets:
            ask(targets["hello"].port, "")
            starts.append(time.perf_counter() - began)
    print(f"workerd, from its start to its first answer      {statistics.median(starts) * 1e3:8.2f} ms (median of 5)")


def _timed(port: int, revision: str) -> float:
    began = time.perf_counter()
    ask(port, revision)
    return time.perf_counter() - began


def _parts(words: str) -> set[str]:
    return {word for word in words.split(",") if word}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=2, help="length of one wrk run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", type=_parts, help="cases, memory, starts, with commas between; or all")
    options = parser.parse_args()
    if not WORKERD.exists():
        sys.exit("bench/functions.py needs `npm ci --prefix bench` first")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as name:
        directory = Path(name)
        if not options.only or options.only - {"memory", "starts"}:
            compare(directory, options)
        if not options.only or "memory" in options.only:
            weigh(directory)
        if not options.only or "starts" in options.only:
            time_cold_starts(directory)


if __name__ == "__main__":
    main()
