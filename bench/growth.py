"""How storage behaves as it grows: `python bench/growth.py [--most 100000]`.

Skerry on SQLite, one replica on PostgreSQL, and etcd are filled with 1,000, then 10,000, then 100,000 objects, one
after the other, while the others are stopped. At each size stands at what rate the last of them were written, how many
bytes the disk has written for that (whoever else writes is counted, too), and what it takes then to get, to list and to
begin a watch. At last 1,000 objects are changed 20 times each, what was superseded is compacted away, and they are
changed as often again.
"""

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop
from api import Connection, close, milliseconds, row, table
from side_by_side import (
    CONTENT_BYTES,
    Change,
    Store,
    call,
    connect,
    each,
    make_folders,
    microseconds,
    processes,
    processor_seconds,
    stopped,
    stores,
)

from skerry.store.postgres.driver import open_postgres
from skerry.store.sqlite import open_sqlite

SIZES = (1_000, 10_000, 100_000)
FOLDER = "growth"
TIMES = 20
LISTS = 3
CHANGED_OBJECTS, CHANGES = 1_000, 20
MIB = 1024**2
#: The unit of the system's counts, whatever the disk's is.
SECTOR_BYTES = 512


@dataclass(frozen=True)
class Size:
    """What was measured at one number of objects: 1/s, microseconds of processor time for one, seconds, bytes."""

    rate: float
    processor: tuple[float, float]
    written_per_byte: float
    get: float
    page: float
    all: float
    watch: float
    memory: float
    disk: float


ROWS: Mapping[str, Callable[[Size], str]] = {
    "create, 32 connections": lambda size: f"{size.rate:,.0f}/s",
    "processor time of one": lambda size: microseconds(*size.processor),
    "written to the disk, for a byte of content": lambda size: f"{size.written_per_byte:.1f}",
    "get, 1 connection": lambda size: milliseconds(size.get),
    "page of 500": lambda size: milliseconds(size.page),
    "list of all": lambda size: milliseconds(size.all),
    "watch, from its request to its first byte": lambda size: milliseconds(size.watch),
    "resident memory": lambda size: f"{size.memory / MIB:,.0f} MiB",
    "the database, without its journal": lambda size: f"{size.disk / MIB:,.0f} MiB",
}


def written_bytes(store: Store) -> float:
    """Return what the disk of a store was given to write so far, by whomever, once nothing is left to be written.

    What the system counts for a process is another number: of a file that was written in large pieces, as PostgreSQL's
    journal is when it is made, each later write of 8 kB counts as a piece of up to 2 MiB.

    Returns:
        NaN where no disk is known, as of files in memory.
    """
    if store.postgres:
        store.postgres.execute("CHECKPOINT")
    os.sync()
    device = store.data.stat().st_dev
    try:
        counts = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except FileNotFoundError:
        return math.nan
    return int(counts[6]) * SECTOR_BYTES


def memory_bytes(store: Store) -> int:
    """Return the resident memory of a store; of what its processes share, each has its part."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes(store))
    return 1024 * sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:"))


def disk_bytes(store: Store) -> int:
    """Return what the database takes."""
    files = store.data.rglob("*") if store.data.is_dir() else [store.data]
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


async def grow(store: Store, most: int) -> list[Size]:
    """Fill a store step by step."""
    await make_folders(store, FOLDER)
    found, count = [], 0
    for size in (size for size in SIZES if size <= most):
        new, written, busy = size - count, written_bytes(store), processor_seconds(store)
        seconds = await each(store, range(count, size), lambda number: store.dialect.created(FOLDER, number))
        own, postgres = ((now - then) / new * 1e6 for now, then in zip(processor_seconds(store), busy, strict=True))
        per_byte = (written_bytes(store) - written) / (new * CONTENT_BYTES)
        count = size
        found.append(await look(store, size, (new / seconds, (own, postgres), per_byte)))
    return found


async def look(store: Store, size: int, written: tuple[float, tuple[float, float], float]) -> Size:
    (client,) = await connect(store, 1)
    dialect = store.dialect
    gets = [await timed(client, dialect.got(FOLDER, number * 7919 % size)) for number in range(TIMES * 10)]
    pages = [await timed(client, dialect.listed(FOLDER, 500)) for _ in range(TIMES)]
    lists = [await timed(client, dialect.listed(FOLDER, 0)) for _ in range(LISTS)]
    watches = [await begun(store) for _ in range(TIMES)]
    close([client])
    get, page, every, watch = map(statistics.median, (gets, pages, lists, watches))
    return Size(*written, get, page, every, watch, memory_bytes(store), disk_bytes(store))


async def timed(client: Connection, question: Change) -> float:
    started = time.perf_counter()
    await call(client, question)
    return time.perf_counter() - started


async def begun(store: Store) -> float:
    """Return how long a watch from the newest revision takes to begin."""
    client, asker = await connect(store, 2)
    watch = store.dialect.watch(FOLDER, store.dialect.revision(await call(asker, store.dialect.newest(FOLDER))))
    started = time.perf_counter()
    client.send(watch.method, watch.path, watch.body)
    await client.answer_head()
    seconds = time.perf_counter() - started
    close([client, asker])
    return seconds


# ---- compaction ------------------------------------------------------------------------------------------


async def change_all(store: Store) -> float:
    """Change some objects again and again; returns the changes a second."""
    numbers = range(CHANGED_OBJECTS * CHANGES)
    seconds = await each(store, numbers, lambda n: store.dialect.changed(FOLDER, n % CHANGED_OBJECTS, n))
    return len(numbers) / seconds


async def compact(store: Store) -> None:
    """Forget what was superseded, all of it."""
    if store.postgres:
        async with open_postgres(store.postgres.url("postgres")) as postgres:
            await postgres.compact((await postgres.bounds()).latest)
        store.postgres.execute("VACUUM revisions")  # as it does by itself, some time later
        return
    if store.dialect.is_skerry:
        async with open_sqlite(store.data) as sqlite:
            await sqlite.compact((await sqlite.bounds()).latest)
        return
    (client,) = await connect(store, 1)
    revision = store.dialect.revision(await call(client, store.dialect.newest(FOLDER)))
    await call(client, Change("POST", "/v3/kv/compaction", orjson.dumps({"revision": revision, "physical": True})))
    close([client])


async def churn(store: Store) -> list[str]:
    """Return cells: the rate of changes, the time to compact, and what the files take before, after, and later."""
    before = disk_bytes(store)
    rate = await change_all(store)
    changed = disk_bytes(store)
    started = time.perf_counter()
    await compact(store)
    seconds = time.perf_counter() - started
    compacted = disk_bytes(store)
    await change_all(store)
    sizes = (before, changed, compacted, disk_bytes(store))
    return [f"{rate:,.0f}/s", milliseconds(seconds), *(f"{size / MIB:,.0f} MiB" for size in sizes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="on the disk to measure (default: where temporary files lie)")
    parser.add_argument("--most", type=int, default=SIZES[-1], help=f"objects (default: {SIZES[-1]})")
    options = parser.parse_args()
    with stores(options.directory, [1]) as arrangements:
        for store in arrangements:
            others = [endpoint.pid for other in arrangements if other is not store for endpoint in other.endpoints]
            with stopped(others):
                print_store(store, options.most)


def print_store(store: Store, most: int) -> None:
    sizes = uvloop.run(grow(store, most))
    table(f"{store.name}, with so many objects", [f"{size:,}" for size in SIZES[: len(sizes)]])
    for name, shown in ROWS.items():
        row(name, [shown(size) for size in sizes])
    changes = f"{CHANGED_OBJECTS * CHANGES:,} changes"
    table(
        f"{store.name}: {changes}",
        ["rate", "compaction", "database before", "after", "compacted", "as many again"],
    )
    row("of 1,000 objects", uvloop.run(churn(store)))


if __name__ == "__main__":
    main()
