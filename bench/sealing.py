"""What sealing costs: one value sealed and opened, and the log with sealed and with plain values, side by side.

python bench/sealing.py [DIRECTORY], the directory on the disk to measure.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from skerry.kit.clock import SystemClock
from skerry.store.driver import Driver
from skerry.store.log import RevisionLog, open_log
from skerry.store.records import Key, ListQuery
from skerry.store.sealing.envelope import Sealer
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import Sealed, open_sealed
from skerry.store.sqlite import open_sqlite

ROUNDS = 2_000
OBJECTS = 10_000


async def one_value(sealer: Sealer, value_bytes: int) -> None:
    key, value = Key("secrets", "default", "db"), b'{"metadata":{' + b"x" * (value_bytes - 13)
    started = time.perf_counter()
    for _ in range(ROUNDS):
        sealed = await sealer.seal(key, value)
    opened = time.perf_counter()
    for _ in range(ROUNDS):
        await sealer.open(key, sealed)
    ended = time.perf_counter()
    microseconds = 1e6 / ROUNDS
    print(
        f"{value_bytes:>8} bytes: seal {(opened - started) * microseconds:6.1f} µs, "
        f"open {(ended - opened) * microseconds:6.1f} µs, {len(sealed) - value_bytes} bytes more"
    )


async def a_log(driver: Driver, log: RevisionLog, resource: str) -> None:
    value = b'{"metadata":{' + b"x" * 987
    keys = [Key(resource, "default", f"n{number:06}") for number in range(OBJECTS)]
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for first in range(64):
            group.create_task(_put(log, keys[first::64], value))
    put = time.perf_counter()
    for key in keys:
        await log.get(key)
    got = time.perf_counter()
    query = ListQuery(resource, namespace=None, revision=None, after=None, limit=None)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        await driver.page(query)  # the log has a copy of them at hand
        times.append(time.perf_counter() - begun)
    print(
        f"{resource:>10}: {OBJECTS / (put - started):,.0f} puts/s, {OBJECTS / (got - put):,.0f} gets/s, "
        f"list of {OBJECTS:,} in {min(times) * 1e3:.0f} ms"
    )


async def _put(log: RevisionLog, keys: list[Key], value: bytes) -> None:
    for key in keys:
        await log.put(key, value, expected_revision=0)


async def a_rotation(sealed: Sealed) -> None:
    await sealed.resealer.rotate()
    started = time.perf_counter()
    await sealed.resealer.turn()
    print(f"  rotation: {OBJECTS:,} values in {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    await sealed.resealer.census()
    print(f"    census: {(time.perf_counter() - started) * 1e3:.0f} ms")


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        keys = LocalKeys(Path(directory) / "keys.json", SystemClock())
        async with open_sqlite(Path(directory) / "skerry.db") as driver:
            sealed = await open_sealed(driver, keys, frozenset({"secrets"}).__contains__)
            for value_bytes in (300, 1_000, 10_000, 1_000_000):
                await one_value(Sealer(keys), value_bytes)
            async with open_log(sealed.driver) as log:
                for resource in ("configmaps", "secrets"):
                    await a_log(sealed.driver, log, resource)
            await a_rotation(sealed)


if __name__ == "__main__":
    uvloop.run(main())
