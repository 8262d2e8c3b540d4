"""Binding applications to the nodes of a fleet: what a change costs, and what the index of one replica takes.

python bench/binding.py [NODES ...]

On the log in SQLite, as one control plane has it: nodes are written, applications bound, and a selector is moved from
one half of the nodes to the other. A change counts as done when its write is answered (it is bound by then) and every
node's desire has been read.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from rig import resident_mib

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.model import ObjectMeta, from_document
from skerry.api.registry import KINDS
from skerry.client.client import Client
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.baetyl.fleet import Fleet
from skerry.server.local import LocalTransport
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.sqlite import open_sqlite

#: Applications beside the one that is moved; each is for the nodes of one site.
APPLICATIONS = 100
SITES = 50
WRITERS = 32
MOVES = 5


def application(name: str, selector: str) -> Application:
    services = [{"name": "web", "image": "nginx"}]
    metadata = {"name": name, "namespace": "default"}
    return from_document(Application, {"metadata": metadata, "spec": {"selector": selector, "services": services}})


async def write_nodes(verbs: Verbs, count: int) -> None:
    async def some(first: int) -> None:
        for number in range(first, count, WRITERS):
            name, half = f"node-{number:06}", "ab"[number % 2]
            labels = {"site": f"s{number % SITES}", "half": half, "baetyl-node-name": name}
            node = Node(api_version=NODE.api_version, kind=NODE.kind, metadata=ObjectMeta(labels=labels))
            node.metadata.name, node.metadata.namespace = name, "default"
            await verbs.record(Target(NODE, "default", name), node)

    async with asyncio.TaskGroup() as group:
        for first in range(WRITERS):
            group.create_task(some(first))


async def move(client: Client, fleet: Fleet, moved: Application, count: int, half: str) -> tuple[float, float]:
    """Move an application to a half of the nodes; return seconds until it is bound, and until all desires are read."""

    def change(stored: Application) -> None:
        stored.spec.selector = f"half={half}"

    begun = time.perf_counter()
    await client.change(moved, change)
    bound = time.perf_counter()
    wanting = 0
    for number in range(count):
        desire = fleet.index.desire(("default", f"node-{number:06}"))
        wanting += any(wanted.name == moved.name for wanted in desire.apps)
    if wanting != count // 2:
        raise RuntimeError(f"{wanting} of {count} nodes want the application, not half of them")
    return bound - begun, time.perf_counter() - begun


async def measure(folder: Path, count: int) -> None:
    fleet = Fleet()
    async with open_sqlite(folder / "skerry.db") as driver, open_log(driver) as log:
        verbs: Any = Verbs(log, KINDS, SystemClock(), RandomIds(), fleet)
        await verbs.bootstrap()
        async with fleet.running(verbs):
            client = Client(LocalTransport(verbs, manager="bench"))
            before = resident_mib(os.getpid())
            begun = time.perf_counter()
            await write_nodes(verbs, count)
            written = time.perf_counter() - begun
            for number in range(APPLICATIONS):
                await client.create(application(f"app-{number}", f"site=s{number % SITES}"))
            moved = await client.create(application("moved", "half=a"))
            kept = resident_mib(os.getpid()) - before
            times = [await move(client, fleet, moved, count, "ba"[turn % 2]) for turn in range(MOVES)]
    bound, read = (sorted(part)[MOVES // 2] * 1e3 for part in zip(*times, strict=True))
    memory = f"{kept * 1000 / count:.1f} MiB for 1,000, log and index"
    print(
        f"{count:>7,} nodes: {count / written:,.0f} written/s, {memory}; a selector moved from one half to the other: "
        f"bound in {bound:.0f} ms, all desires read in {read:.0f} ms (p50)"
    )


def main() -> None:
    """Measure each number of nodes in a log and a process of its own, for memory that was freed is used again."""
    counts = [int(text) for text in sys.argv[1:]] or [1_000, 10_000]
    if len(counts) > 1:
        for count in counts:
            subprocess.run([sys.executable, __file__, str(count)], check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(measure(Path(folder), counts[0]))


if __name__ == "__main__":
    main()
