"""What moving a log takes: `python bench/moving.py [--objects 20000] [DIRECTORY]`, on the disk to be measured.

Prints a line a command, each a process of its own: its time, its processor time and the most memory it had. Objects are
ConfigMaps with 900 bytes that can't be deflated well; PostgreSQL is one of its own, which syncs its disk.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from skerry.store.records import Key, Write
from skerry.store.sqlite import SqliteDriver, open_sqlite
from skerry.testing.postgres_process import PostgresProcess

AT_ONCE = 2_000


async def fill(path: Path, objects: int) -> None:
    async with open_sqlite(path) as driver:
        for first in range(0, objects, AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for number in range(first, min(first + AT_ONCE, objects)):
                    group.create_task(create(driver, f"c-{number}"))


async def create(driver: SqliteDriver, name: str) -> None:
    metadata = {"name": name, "namespace": "default", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    value = orjson.dumps({**head, "data": {"a": os.urandom(450).hex()}})
    await driver.append(Write(Key("configmaps", "default", name), value, 0))


def run(what: str, *arguments: str) -> None:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "skerry", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, arguments
    seconds, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    print(f"{what:28} {seconds:6.1f} s, processor {processor:5.1f} s, memory {used.ru_maxrss // 1024} MB", flush=True)


def measure(folder: Path, objects: int) -> None:
    database, backup = f"sqlite://{folder}/skerry.db", folder / "backup"
    asyncio.run(fill(folder / "skerry.db", objects))
    with PostgresProcess.started(parent=folder, fsync=True) as postgres:
        server = postgres.create_schema()
        run("the start of a command", "version")
        run("backup of SQLite", "store", "backup", database, str(backup))
        run("check of SQLite", "store", "check", database)
        run("copy to PostgreSQL", "store", "copy", "--from", database, "--to", server)
        run("check of PostgreSQL", "store", "check", server)
        run("backup of PostgreSQL", "store", "backup", server, str(backup), "--force")
        run("restore to SQLite", "store", "restore", str(backup), f"sqlite://{folder}/restored/skerry.db")
    print(f"bytes: database {(folder / 'skerry.db').stat().st_size}, backup {backup.stat().st_size}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--objects", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as somebody else
        measure(Path(folder), given.objects)


if __name__ == "__main__":
    main()
