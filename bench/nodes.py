"""Nodes of a fleet: how many one control-plane process serves, with TLS on both sides and connections kept alive.

    .venv/bin/python bench/nodes.py [--nodes 1000 5000] [--interval 20] [--rounds 2]

Starts `skerry serve` on a temporary directory, lets devices join by activation, and has each report at the interval, at
a time of its own; a report is answered once it is on disk. Prints a table for bench/README.md: latencies, the processor
time of the server for each report, its memory, and how long a new application takes to be wanted of every node. The
agents share the cores with the server: what they use is printed too.
"""

import argparse
import asyncio
import math
import os
import random
import ssl
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import uvloop

from skerry.testing.skerry_process import SkerryProcess

PRODUCT = {
    "name": "bench",
    "securityKey": "key",
    "enableWhitelist": 0,
    "quotaNum": 100_000,
    "labels": {"part": "bench"},
}
JOINING_AT_ONCE = 16
ANSWER_BYTES_MAX = 1 << 20
#: What nodes use, and when they report.
RANDOM = random.Random(1)  # noqa: S311 - the same in every run
APPLICATIONS = "/apis/cloud.baetyl.io/v1alpha1/namespaces/default/applications"


def report(number: int) -> bytes:
    """Return what a node of five applications says: about 2 KB."""
    host = f"host{number}"
    usage = {"cpu": f"{RANDOM.random():.3f}", "memory": str(RANDOM.randrange(10**9))}
    return orjson.dumps(
        {
            "core": {"goVersion": "go1.20", "binVersion": "v2.4.3", "gitRevision": "abc"},
            "node": {host: {"hostname": host, "arch": "amd64", "machineID": host, "bootID": host, "os": "linux"}},
            "nodestats": {host: {"ready": True, "usage": usage, "capacity": {"cpu": "4", "memory": "4000000000"}}},
            "apps": [{"name": f"app-{each}", "version": "1"} for each in range(5)],
            "sysapps": [{"name": "baetyl-core", "version": "1"}],
            "appstats": [
                {
                    "name": f"app-{each}",
                    "version": "1",
                    "status": "Running",
                    "instances": {f"i-{each}": {"name": f"i-{each}", "usage": usage, "status": "Running"}},
                }
                for each in range(5)
            ],
        }
    )


@dataclass
class Node:
    """A simulated agent."""

    number: int
    certificate: Path
    authority: str
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def connect(self, url: str) -> None:
        parts = urlsplit(url)
        trust = ssl.create_default_context(cadata=self.authority)
        trust.load_cert_chain(self.certificate)
        self.reader, self.writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=trust, limit=ANSWER_BYTES_MAX
        )

    async def report(self, host: str) -> float:
        """Report once; return how many seconds the answer took, infinitely many where the server had no room."""
        assert self.reader is not None
        assert self.writer is not None
        body = report(self.number)
        head = f"POST /v1/sync/report HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        started = time.perf_counter()
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await self.reader.readexactly(length)
        if answer.startswith(b"HTTP/1.1 429"):
            return math.inf
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(content.decode())
        return time.perf_counter() - started


@dataclass
class Fleet:
    """Nodes that have joined."""

    url: str
    folder: Path
    authority: str
    nodes: list[Node] = field(default_factory=list)

    async def grow(self, count: int) -> float:
        """Let devices join until there are so many; return how many did in a second."""
        joining, started = range(len(self.nodes), count), time.perf_counter()
        trust = ssl.create_default_context(cadata=self.authority)
        slots = asyncio.Semaphore(JOINING_AT_ONCE)
        async with httpx.AsyncClient(base_url=self.url, verify=trust, trust_env=False, timeout=120) as http:

            async def join(number: int) -> None:
                async with slots:
                    shown = {"securityType": "Token", "securityValue": "key", "fingerprintValue": f"sn{number}"}
                    answer = await http.post("/v1/active", json={"batchName": "bench", **shown})
                    given = answer.raise_for_status().json()["certificate"]
                path = self.folder / f"{number}.pem"
                path.write_text(given["cert"] + given["key"])
                self.nodes.append(Node(number, path, given["ca"]))

            async with asyncio.TaskGroup() as group:
                for number in joining:
                    group.create_task(join(number))
        return len(joining) / (time.perf_counter() - started)

    async def run(self, interval_seconds: float, rounds: int) -> list[float]:
        """Have every node report at the interval, so many times; return the latencies."""
        latencies: list[float] = []
        begin = time.perf_counter() + 0.1
        host = urlsplit(self.url).netloc

        async def live(node: Node) -> None:
            due = begin + RANDOM.random() * interval_seconds
            for _ in range(rounds):
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if node.writer is None:
                    await node.connect(self.url)
                latencies.append(await node.report(host))
                due += interval_seconds

        async with asyncio.TaskGroup() as group:
            for node in self.nodes:
                group.create_task(live(node))
        return latencies

    def close(self) -> None:
        for node in self.nodes:
            if node.writer is not None:
                with suppress(OSError):
                    node.writer.transport.abort()
                node.writer = None


def used(pid: int) -> tuple[float, float]:
    """Return the processor seconds and the resident MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def bound(admin: httpx.Client, name: str) -> float:
    """Make an application that every node matches; return the seconds until it is wanted of all of them."""
    spec = {"selector": "part=bench", "services": [{"name": "web", "image": "nginx"}]}
    started = time.perf_counter()
    answer = await asyncio.to_thread(admin.post, APPLICATIONS, json={"metadata": {"name": name}, "spec": spec})
    answer.raise_for_status()  # which waits until the binding index has taken it
    return time.perf_counter() - started


async def measure(skerry: SkerryProcess, folder: Path, counts: list[int], settings: argparse.Namespace) -> None:
    assert skerry.process is not None
    pid, authority = skerry.process.pid, (skerry.data_dir / "pki" / "ca.crt").read_text()
    fleet = Fleet(skerry.api, folder, authority)
    columns = ("nodes", "joined/s", "reports/s", "p50", "p99", "most", "refused", "CPU a report", "of a core", "memory")
    print(f"| {' | '.join(columns)} | application |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with skerry.api_client() as admin:
        admin.post("/v1/register", json=PRODUCT).raise_for_status()
        for count in counts:
            joined = await fleet.grow(count)
            await fleet.run(settings.interval, 1)
            before, started = used(pid)[0], time.perf_counter()
            latencies = sorted(await fleet.run(settings.interval, settings.rounds))
            seconds, (cpu, memory) = time.perf_counter() - started, used(pid)
            wanted = await bound(admin, f"app-of-{count}")
            p99, most = latencies[int(len(latencies) * 0.99)], latencies[-1]
            cells = (
                f"{count}",
                f"{joined:.0f}",
                f"{len(latencies) / seconds:.0f}",
                *(f"{each * 1e3:.1f} ms" for each in (statistics.median(latencies), p99, most)),
                f"{sum(map(math.isinf, latencies))}",
                f"{(cpu - before) / len(latencies) * 1e3:.2f} ms",
                f"{(cpu - before) / seconds:.0%}",
                f"{memory:.0f} MB",
                f"{wanted * 1e3:.0f} ms",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            fleet.close()  # for more nodes take a while to join, and nobody waits for silent connections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two reports of a node")
    parser.add_argument("--rounds", type=int, default=2)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        place = Path(folder)
        (place / "nodes").mkdir()
        with SkerryProcess.started(place / "data", command="serve") as skerry:
            uvloop.run(measure(skerry, place / "nodes", sorted(settings.nodes), settings))


if __name__ == "__main__":
    main()
