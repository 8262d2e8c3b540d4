"""Nodes of a fleet: what of the control plane's memory each takes, by what it is for.

    .venv/bin/python bench/node_memory.py [--nodes 1000] [--steps 2]

Starts `skerry serve` on a temporary directory. In each step as many nodes are made by the API, connect with their
certificates, send an empty request, and all report five times. Prints a table for bench/README.md: the private memory
of the server after each part, less that before, over the nodes of the step. The first step fills what is bounded for
the process as well (windows on the log); the second is what one more node takes. It takes some two minutes.
"""

import argparse
import asyncio
import itertools
import math
import re
import resource
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from links import Line
from nodes import PRODUCT, Agent, Fleet, asked
from rig import skerry

from skerry.testing.skerry_process import SkerryProcess

AT_ONCE = 32
REPORTS = 5
#: Nobody reports by itself.
NEVER_SECONDS = 1e9
#: What works on after an answer has done so by then.
SETTLE_SECONDS = 2.0


def private_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Private_Dirty:\s+(\d+) kB", told, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def for_each(agents: list[Agent], act: Callable[[Agent], Awaitable[object]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(agent: Agent) -> None:
        async with slots:
            await act(agent)

    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(one(agent))


async def report(agent: Agent) -> None:
    while math.isinf((await agent.report())[0]):  # noqa: ASYNC110 - the server had no room, and does not say when it has
        await asyncio.sleep(0.1)


async def measure(running: SkerryProcess, count: int, steps: int) -> None:
    assert running.process is not None
    pid = running.process.pid
    parts = ("objects", "idle TLS", "HTTP", "reports", "all")
    print(f"| kB of each node | {' | '.join(parts)} |\n|{'---|' * (len(parts) + 1)}")
    async with running.async_api_client() as admin, asyncio.TaskGroup() as tasks:
        token = admin.headers["authorization"].removeprefix("Bearer ")
        fleet = Fleet(running.api, running.data_dir / "pki", token, NEVER_SECONDS, Line, tasks)
        await asked(admin, "POST", "/v1/register", PRODUCT)
        for step in range(steps):
            held = [private_bytes(pid)]

            async def note(held: list[int] = held) -> None:
                await asyncio.sleep(SETTLE_SECONDS)
                held.append(private_bytes(pid))

            await fleet.make(count)
            await fleet.stop()  # what `make` began: each part comes by itself here
            await note()
            new = fleet.agents[-count:]
            await for_each(new, lambda agent: agent.line.connect())
            await note()
            await for_each(new, lambda agent: agent.line.post("/healthz", b""))
            await note()
            for _ in range(REPORTS):
                await for_each(fleet.agents, report)
            await note()
            grown = [after - before for before, after in itertools.pairwise(held)]
            cells = [f"{each / count / 1e3:.0f}" for each in (*grown, held[-1] - held[0])]
            print(f"| {step * count:,} to {(step + 1) * count:,} nodes | {' | '.join(cells)} |", flush=True)
        for agent in fleet.agents:
            agent.line.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000, help="of each step")
    parser.add_argument("--steps", type=int, default=2)
    settings = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, on both sides
    with (
        tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder,
        skerry(Path(folder) / "data", command="serve") as running,
    ):
        uvloop.run(measure(running, settings.nodes, settings.steps))


if __name__ == "__main__":
    main()
