"""Nodes of a fleet: how many one control-plane process serves, with TLS on both sides and connections kept alive.

    .venv/bin/python bench/nodes.py [--nodes 1000 10000] [--interval 20] [--rounds 1] [--links]

Starts `skerry serve` on a temporary directory and has more and more nodes report, each at the interval, at a time of
its own; a report is answered once it is on disk. Prints two tables for bench/README.md: latencies, the processor time
of the server for each report, and its memory; and how a changed selector comes to the nodes. A hundred devices join
by activation; the others are made by the API and get their certificates from the authority's key, which spares
minutes. The agents share the cores with the server: what they use is not in the figures. It takes some two and a half
minutes on cores that do nothing else.
"""

import argparse
import asyncio
import math
import random
import resource
import ssl
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvloop
from links import Line, Link
from rig import cpu_seconds, resident_mib, skerry

from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.model import from_document
from skerry.kit.clock import SystemClock
from skerry.server.node_certificates import issue_node_certificate
from skerry.server.tls import open_authority
from skerry.testing.skerry_process import SkerryProcess

PRODUCT = {"name": "bench", "securityKey": "key", "enableWhitelist": 0, "quotaNum": 1000, "labels": {"part": "bench"}}
#: Devices that join by activation.
JOINING = 100
#: Nodes that are made at once.
MAKING_AT_ONCE = 16
#: New nodes that connect at once: each handshake takes both sides some milliseconds.
CONNECTING_AT_ONCE = 32
#: Nodes that ask at once what they are to run: as many as the server has room for, since agents that it refuses wait.
ASKING_AT_ONCE = 256
#: How often a node asks again while the server has no room.
ASKING_MAX = 1000
#: What nodes use, and when they report.
RANDOM = random.Random(1)  # noqa: S311 - the same in every run
KINDS = "/apis/cloud.baetyl.io/v1alpha1/namespaces/default"
REPORT_PATH = "/v1/sync/report"
#: The answer to a node before Baetyl's own applications are bound to it.
NOT_READY = b"is not ready, please retry later"


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
class Agent:
    """A simulated agent."""

    number: int
    line: Line
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def report(self) -> tuple[float, bytes]:
        """Report once; return the seconds that the answer took, infinitely many where there was no room; and it."""
        started = time.perf_counter()
        status, content = await self.line.post(REPORT_PATH, report(self.number))
        if status == 429:
            return math.inf, content
        if status != 200 and NOT_READY not in content:
            raise RuntimeError(content.decode())
        return time.perf_counter() - started, content


@dataclass
class Fleet:
    """Nodes that report all the time.

    Attributes:
        latencies: of reports since they were taken last, in seconds.
    """

    url: str
    pki: Path
    token: str
    interval_seconds: float
    kind: type[Line]
    tasks: asyncio.TaskGroup
    agents: list[Agent] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.authority = open_authority(self.pki, SystemClock())

    def trust(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        return context

    def agent(self, pair: bytes) -> Agent:
        """Return an agent that shows a certificate."""
        trust = self.trust()
        with tempfile.NamedTemporaryFile() as file:
            file.write(pair)
            file.flush()
            trust.load_cert_chain(file.name)
        agent = Agent(len(self.agents), self.kind(self.url, trust))
        self.agents.append(agent)
        return agent

    async def join(self, count: int) -> float:
        """Let devices join by activation; return how many did in a second."""
        begun, started = len(self.agents), time.perf_counter()

        async def joining(line: Line, numbers: range) -> None:
            await line.connect()
            shown = {"batchName": "bench", "securityType": "Token", "securityValue": "key"}
            for number in numbers:
                status, content = await line.post(
                    "/v1/active", orjson.dumps({**shown, "fingerprintValue": f"sn{number}"})
                )
                assert status == 200, content
                given = orjson.loads(content)["certificate"]
                self.agent((given["cert"] + given["key"]).encode())
            line.close()

        await self._spread(joining, count)
        seconds = time.perf_counter() - started
        self._begin(self.agents[begun:])
        return count / seconds

    async def make(self, count: int) -> None:
        """Make nodes by the API, and certificates by the authority's key."""
        begun = len(self.agents)

        async def making(line: Line, numbers: range) -> None:
            line.head = f"Authorization: Bearer {self.token}\r\n"
            await line.connect()
            for number in numbers:
                meta = {"name": f"node-{begun + number}", "labels": {"part": "bench"}}
                status, content = await line.post(f"{KINDS}/nodes", orjson.dumps({"metadata": meta}))
                assert status == 201, content
                node = from_document(Node, orjson.loads(content))
                self.agent(b"".join(issue_node_certificate(self.authority, node, SystemClock().now())))
            line.close()

        await self._spread(making, count)
        self._begin(self.agents[begun:])

    async def _spread(self, work: Any, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for first in range(MAKING_AT_ONCE):
                group.create_task(work(Line(self.url, self.trust()), range(first, count, MAKING_AT_ONCE)))

    def _begin(self, agents: list[Agent]) -> None:
        slots = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self.running |= {self.tasks.create_task(self._live(agent, slots)) for agent in agents}

    async def _live(self, agent: Agent, slots: asyncio.Semaphore) -> None:
        async with slots:
            await agent.line.connect()
            await agent.report()
        agent.connected.set()
        due = time.perf_counter() + RANDOM.random() * self.interval_seconds
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.latencies.append((await agent.report())[0])
            due += self.interval_seconds

    async def settled(self) -> None:
        """Wait until all are connected, and have reported a second time."""
        for agent in self.agents:
            await agent.connected.wait()
        await asyncio.sleep(self.interval_seconds + 1)

    async def measured(self, rounds: int) -> list[float]:
        """Return the latencies of the reports of some intervals, in order."""
        self.latencies = []
        await asyncio.sleep(self.interval_seconds * rounds)
        return sorted(self.latencies)

    async def stop(self) -> None:
        """Have nobody report any more by themselves."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def told(self, application: str) -> None:
        """Wait until each was told of an application: over its link, or asking, `ASKING_AT_ONCE` at once."""
        name, room = f'"{application}"'.encode(), asyncio.Semaphore(ASKING_AT_ONCE)

        async def ask(agent: Agent) -> None:
            if isinstance(agent.line, Link):
                await agent.line.until_told(name)
                return
            async with room:
                for _ in range(ASKING_MAX):
                    if name in (await agent.report())[1]:
                        return
                    await asyncio.sleep(0.1)
            raise RuntimeError(f"node {agent.number} was never told of {application}")

        async with asyncio.TaskGroup() as group:
            for agent in self.agents:
                group.create_task(ask(agent))


def used(pid: int) -> tuple[float, float]:
    """Return the processor seconds and the resident MB of a process."""
    return cpu_seconds((pid,)), resident_mib(pid) * 2**20 / 1e6


async def bound(admin: httpx.AsyncClient, fleet: Fleet) -> tuple[float, float]:
    """Change a selector from no node to all; return the seconds until they are bound, and until all were told."""
    spec = {"selector": "part=none", "services": [{"name": "web", "image": "nginx"}]}
    await asked(admin, "POST", f"{KINDS}/applications", {"metadata": {"name": "selected"}, "spec": spec})
    started = time.perf_counter()
    patch = {"spec": {"selector": "part=bench"}}
    await asked(admin, "PATCH", f"{KINDS}/applications/selected", patch)  # which waits until the index has taken it
    wanted = time.perf_counter() - started
    await fleet.told("selected")
    return wanted, time.perf_counter() - started


async def asked(admin: httpx.AsyncClient, method: str, path: str, body: object) -> None:
    form = "application/merge-patch+json" if method == "PATCH" else "application/json"
    answer = await admin.request(method, path, content=orjson.dumps(body), headers={"content-type": form})
    answer.raise_for_status()


async def measure(running: SkerryProcess, counts: list[int], settings: argparse.Namespace) -> None:
    assert running.process is not None
    pid, held, before_count = running.process.pid, 0.0, 0
    columns = ("nodes", "reports/s", "p50", "p99", "most", "refused", "CPU a report", "of a core", "memory")
    print(f"| {' | '.join(columns)} | of 1,000 more |\n|{'---|' * (len(columns) + 1)}")
    async with running.async_api_client() as admin, asyncio.TaskGroup() as tasks:
        kind = Link if settings.links else Line
        token = admin.headers["authorization"].removeprefix("Bearer ")
        fleet = Fleet(running.api, running.data_dir / "pki", token, settings.interval, kind, tasks)
        await asked(admin, "POST", "/v1/register", PRODUCT)
        joined, held = await fleet.join(min(JOINING, counts[0])), used(pid)[1]
        for count in counts:
            await fleet.make(count - len(fleet.agents))
            await fleet.settled()
            before, started = used(pid)[0], time.perf_counter()
            latencies = await fleet.measured(settings.rounds)
            seconds, (cpu, memory) = time.perf_counter() - started, used(pid)
            cells = (
                f"{count:,}",
                f"{len(latencies) / seconds:.0f}",
                f"{statistics.median(latencies) * 1e3:.1f} ms",
                f"{latencies[int(len(latencies) * 0.99)] * 1e3:.0f} ms",
                f"{latencies[-1] * 1e3:.0f} ms",
                f"{sum(map(math.isinf, latencies))}",
                f"{(cpu - before) / len(latencies) * 1e3:.2f} ms",
                f"{(cpu - before) / seconds:.0%}",
                f"{memory:.0f} MB",
                f"{(memory - held) / (count - before_count) * 1000:.0f} MB",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            held, before_count = memory, count
        await fleet.stop()
        wanted, told = await bound(admin, fleet)
        how = "over their links" if settings.links else f"{ASKING_AT_ONCE} asking at once"
        print(f"\n| joined by activation | a selector, from none to all nodes: bound | all told, {how} |")
        print(f"|---|---|---|\n| {joined:.0f}/s | {wanted * 1e3:.0f} ms | {told:.1f} s |", flush=True)
        for agent in fleet.agents:
            agent.line.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between two reports of a node")
    parser.add_argument("--rounds", type=int, default=1, help="intervals that are measured with each number of nodes")
    parser.add_argument("--links", action="store_true", help="over WebSocket links, where changes come by themselves")
    settings = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, on both sides
    with (
        tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder,
        skerry(Path(folder) / "data", command="serve") as running,
    ):
        uvloop.run(measure(running, sorted(settings.nodes), settings))


if __name__ == "__main__":
    main()
