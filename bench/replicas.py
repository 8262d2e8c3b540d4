"""How reads grow with replicas: 1, 2 and 4 `skerry serve` on one PostgreSQL, each asked by a `wrk` of its own.

    .venv/bin/python bench/replicas.py [--seconds 5] [--replicas 1,2,4]

Consistent reads (no resourceVersion) of ConfigMaps of 400 bytes over TLS, by 16 connections a replica: gets of 1,000
objects in turns, and lists of a page of 100; each alone, and beside a writer that changes one of those objects as fast
as it is answered. Clients, replicas and PostgreSQL share the machine's cores, so besides the rate stands what a read
takes of processor time, in the replicas and in PostgreSQL: where a core each is to be had, that is what counts.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from rig import Measured, Target, wrk

from skerry.cli.connection import read_access
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import SkerryProcess

OBJECTS = 1_000
PAGE = 100
ROUNDS = 3
COLLECTION = "/api/v1/namespaces/default/configmaps"
PAGE_QUERY = f"?limit={PAGE}"
READS = {
    "get": f'n = (n + 7919) % {OBJECTS}; return wrk.format("GET", "{COLLECTION}/cm-" .. n)',
    f"list of {PAGE}": f'return wrk.format("GET", "{COLLECTION}{PAGE_QUERY}")',
}


@dataclass(frozen=True)
class Reads:
    """What all replicas did together: reads a second, and the microseconds of processor time that one took."""

    rate: float
    p99_milliseconds: float
    replica_cpu: float
    postgres_cpu: float


@contextmanager
def replicas(directory: Path, url: str, count: int) -> Iterator[list[SkerryProcess]]:
    """Run replicas with the keys of the first one."""
    with ExitStack() as stack:
        found: list[SkerryProcess] = []
        for number in range(count):
            data_dir = directory / str(number)
            if found:
                shutil.copytree(found[0].data_dir / "pki", data_dir / "pki")
                shutil.copy(found[0].data_dir / "kubeconfig", data_dir / "kubeconfig")
            found.append(stack.enter_context(SkerryProcess.started(data_dir, "--database", url, command="serve")))
        yield found


def fill(replica: SkerryProcess) -> None:
    with replica.api_client() as client:
        for number in range(OBJECTS):
            body = {"metadata": {"name": f"cm-{number}"}, "data": {"key": "x" * 350}}
            assert client.post(COLLECTION, json=body).status_code == 201


@contextmanager
def writer(replica: SkerryProcess, *, at_work: bool) -> Iterator[list[int]]:
    """Change an object again and again for the length of the block; yields a list with an item a change."""
    changes: list[int] = []
    stop = threading.Event()

    def run() -> None:
        with replica.api_client() as client:
            while not stop.is_set():
                body = orjson.dumps({"data": {"value": str(len(changes))}})
                headers = {"content-type": "application/merge-patch+json"}
                client.patch(f"{COLLECTION}/cm-0", content=body, headers=headers).raise_for_status()
                changes.append(len(changes))

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(run) if at_work else None
        try:
            yield changes
        finally:
            stop.set()
        if writing:
            writing.result()


def cpu_seconds(root: int) -> float:
    """Return the processor time of a process, of its children, and of those that have ended."""
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    of_children = sum(cpu_seconds(int(child)) for child in children)
    stat = Path(f"/proc/{root}/stat").read_text().rpartition(")")[2].split()
    return of_children + sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")


def target(replica: SkerryProcess) -> Target:
    assert replica.process
    token = read_access(replica.data_dir / "kubeconfig").token
    return Target(0, f"Authorization: Bearer {token}", (replica.process.pid,), replica.api)


@dataclass(frozen=True)
class Bench:
    """What every figure is measured with."""

    running: list[SkerryProcess]
    postgres: PostgresProcess
    script: Path
    seconds: int

    def compare(self, read: str, counts: list[int], *, beside_writer: bool) -> None:
        """Print a line for each number of replicas."""
        first: float | None = None
        for count in counts:
            with writer(self.running[0], at_work=beside_writer) as changes:
                self.measure(count, 1)
                rounds = [self.measure(count, self.seconds) for _ in range(ROUNDS)]
            rate = statistics.median(one.rate for one in rounds)
            first = first or rate
            cells = (
                f"{read}{', beside a writer' if beside_writer else ''}, {count} replica{'s' * (count > 1)}",
                f"{rate:,.0f}/s",
                f"{rate / first:.2f}x",
                f"{statistics.median(one.p99_milliseconds for one in rounds):.1f} ms",
                f"{statistics.median(one.replica_cpu for one in rounds):.0f} us",
                f"{statistics.median(one.postgres_cpu for one in rounds):.0f} us",
                f"{len(changes) / (1 + ROUNDS * self.seconds):.0f}/s",
            )
            print(f"| {' | '.join(cells)} |", flush=True)

    def measure(self, count: int, seconds: int) -> Reads:
        """Ask so many replicas at once."""
        assert self.postgres.process
        before = cpu_seconds(self.postgres.process.pid)
        with ThreadPoolExecutor(count) as threads:
            asked = [threads.submit(wrk, target(one), seconds, script=self.script) for one in self.running[:count]]
            found: list[Measured] = [one.result() for one in asked]
        rate = sum(one.rate for one in found)
        return Reads(
            rate,
            max(one.p99 for one in found),
            sum(one.cpu * one.rate for one in found) / rate,
            (cpu_seconds(self.postgres.process.pid) - before) / (rate * seconds) * 1e6,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each of the three rounds of a figure")
    parser.add_argument("--replicas", default="1,2,4", help="how many, one after the other")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.replicas.split(",")]
    print("| | reads | to the first | p99 | processor a read, replica | PostgreSQL | writes |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(PostgresProcess.started(fsync=True))
        running = stack.enter_context(replicas(directory, postgres.create_schema(), max(counts)))
        fill(running[0])
        script = directory / "read.lua"
        bench = Bench(running, postgres, script, arguments.seconds)
        for read, lua in READS.items():
            script.write_text(f"local n = 0\nrequest = function() {lua} end\n")
            for beside_writer in (False, True):
                bench.compare(read, counts, beside_writer=beside_writer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
