"""How fast the store is alone: `python bench/store.py [DIRECTORY]`, the directory on the disk to measure.

Prints one line a figure, for SQLite and for a PostgreSQL of its own, side by side on the same disk. Puts are durable
(synced) when counted.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from skerry.store.driver import Driver
from skerry.store.log import Key, Progress, RevisionLog, open_log
from skerry.store.postgres.driver import open_postgres
from skerry.store.records import ListQuery
from skerry.store.sqlite import open_sqlite
from skerry.testing.postgres_process import PostgresProcess

VALUE = b"x" * 1_000
RESOURCE = "edgefunctions.extensions.apoxy.dev"


def key(number: int) -> Key:
    return Key(RESOURCE, "default", f"function-{number:06}")


async def at_once(concurrency: int, count: int, act: Callable[[int], Awaitable[object]]) -> float:
    """Run `act(0..count-1)` by so many tasks and return how many a second."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await act(number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return count / (time.perf_counter() - started)


async def measure(driver: Driver, log: RevisionLog) -> None:
    async def put(number: int) -> None:
        await log.put(key(number), VALUE, expected_revision=0)

    print(f"puts/s, 1 at once:    {await at_once(1, 1_000, put):8.0f}")
    print(f"puts/s, 64 at once:   {await at_once(64, 9_000, lambda n: put(n + 1_000)):8.0f}")
    print(f"gets/s, 1 at once:    {await at_once(1, 5_000, lambda n: log.get(key(n))):8.0f}")
    print(f"gets/s, 64 at once:   {await at_once(64, 20_000, lambda n: log.get(key(n % 10_000))):8.0f}")
    await measure_lists(driver, log)
    await measure_watches(log)


async def measure_lists(driver: Driver, log: RevisionLog) -> None:
    """Read from the database, and from the copy that the log has at hand after its first read."""
    for limit, what in ((None, "list of 10,000"), (500, "page of 500")):
        query = ListQuery(RESOURCE, namespace=None, revision=None, after=None, limit=limit)
        rate = await at_once(1, 20, lambda _, query=query: driver.page(query))  # type: ignore[misc]
        print(f"{what}, database:  {1_000 / rate:8.1f} ms")
        await log.list(RESOURCE, limit=limit)
        rate = await at_once(1, 20, lambda _, limit=limit: log.list(RESOURCE, limit=limit))  # type: ignore[misc]
        print(f"{what}, at hand:   {1_000 / rate:8.1f} ms")


async def measure_watches(log: RevisionLog) -> None:
    """100 watchers of one resource, while 64 writers put: deliveries a second, until all have seen all."""
    count, watchers = 2_000, 100
    start = await log.revision()

    ready = asyncio.Barrier(watchers + 1)

    async def follow() -> None:
        async with log.watch("configmaps", after_revision=start) as watch:
            async for item in watch:
                if isinstance(item, Progress):
                    await ready.wait()
                elif item[-1].revision >= start + count:
                    return

    async def put(number: int) -> None:
        await log.put(Key("configmaps", "bench", str(number)), VALUE, expected_revision=0)

    async with asyncio.TaskGroup() as group:
        for _ in range(watchers):
            group.create_task(follow())
        await ready.wait()
        started = time.perf_counter()
        await at_once(64, count, put)
    seconds = time.perf_counter() - started
    print(f"events/s, 100 watches:{watchers * count / seconds:8.0f}  (while {count / seconds:.0f} puts/s)")


async def measure_driver(name: str, opening: AbstractAsyncContextManager[Driver]) -> None:
    print(name)
    async with opening as driver, open_log(driver) as log:
        await measure(driver, log)


async def main(directory: Path, postgres: PostgresProcess) -> None:
    await measure_driver("SQLite", open_sqlite(directory / "bench.db"))
    await measure_driver("PostgreSQL", open_postgres(postgres.create_schema()))


if __name__ == "__main__":
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with (
        tempfile.TemporaryDirectory(dir=parent) as folder,
        PostgresProcess.started(parent=parent, fsync=True) as server,
    ):
        asyncio.run(main(Path(folder), server))
