"""What only the SQLite driver promises: durability, a file, bounded lanes, several processes."""

import asyncio
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.kit.errors import StartError
from skerry.store import sqlite_writes as writes
from skerry.store.errors import Overloaded, StoreError, Unavailable
from skerry.store.log import Key, LogSettings, Progress, open_log
from skerry.store.migration import Migration
from skerry.store.sqlite import SqliteSettings, open_sqlite
from skerry.store.sqlite_schema import MIGRATIONS, migrate

WRITER = """
import asyncio, sys
from pathlib import Path
from skerry.store.log import Key, open_log
from skerry.store.sqlite import open_sqlite

async def write(log, writer):
    number = 0
    while True:
        name = f"{writer}-{number}"
        revision = await log.put(Key("secrets", "", name), name.encode(), expected_revision=0)
        print(revision, name, flush=True)
        number += 1

async def main():
    async with open_sqlite(Path(sys.argv[1])) as driver, open_log(driver) as log, asyncio.TaskGroup() as group:
        for writer in range(8):
            group.create_task(write(log, writer))

asyncio.run(main())
"""


def key(name: str) -> Key:
    return Key("secrets", "default", name)


async def test_every_acknowledged_put_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    acknowledged = [line.decode().split() for line in lines if line.endswith(b"\n")]
    async with open_sqlite(path) as driver, open_log(driver) as log:
        assert await log.revision() >= len(acknowledged) >= 300
        for revision, name in acknowledged:
            entry = await log.get(Key("secrets", "", name))
            assert entry is not None
            assert (entry.revision, entry.value) == (int(revision), name.encode())


async def test_a_write_of_another_process_is_seen_by_polling(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    settings = LogSettings(poll_seconds=0.01, progress_seconds=3_600)
    async with (
        open_sqlite(path) as ours,
        open_sqlite(path) as theirs,
        open_log(ours, settings) as log,
        open_log(theirs) as other,
        log.watch("secrets", after_revision=0) as watch,
    ):
        assert await anext(watch) == Progress(0)
        first = await other.put(key("a"), b"1", expected_revision=0)
        events = await anext(watch)
        assert not isinstance(events, Progress)
        assert [event.revision for event in events] == [first]
        assert await log.put(key("b"), b"1", expected_revision=0) > first


async def test_a_database_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    async with open_sqlite(path):
        pass
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO schema_migrations VALUES (99, 'pre', 'from the future')")
    raw.commit()
    raw.close()
    with pytest.raises(StartError, match="schema version 99"):
        async with open_sqlite(path):
            pass


@pytest.mark.parametrize("content", [b"certainly no database" * 100])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "skerry.db"
    path.write_bytes(content)
    with pytest.raises(StartError, match="not a database"):
        async with open_sqlite(path):
            pass
    assert path.read_bytes() == content


async def test_a_missing_directory_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        async with open_sqlite(tmp_path / "absent" / "skerry.db"):
            pass


def modes_in(directory: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def test_the_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "skerry.db") as driver, open_log(driver) as log:
        await log.put(key("a"), b"1", expected_revision=0)
        assert modes_in(tmp_path) == {0o600}


async def test_a_full_write_queue_answers_at_once_and_names_its_limit(tmp_path: Path) -> None:
    settings = SqliteSettings(writes_waiting_max=4)
    async with open_sqlite(tmp_path / "skerry.db", settings) as driver, open_log(driver) as log:

        async def put(number: int) -> str:
            try:
                await log.put(key(str(number)), b"", expected_revision=0)
            except Overloaded as error:
                return error.public
            return "done"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(number)) for number in range(10)]
        assert [task.result() for task in tasks[:4]] == ["done"] * 4
        assert all("writes_waiting_max=4" in task.result() for task in tasks[4:])
        assert len((await log.list("secrets", limit=None)).entries) == 4
        assert await put(10) == "done"


async def test_an_impossible_write_fails_alone_in_its_group(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "skerry.db") as driver, open_log(driver) as log:

        async def put(name: str) -> Exception | None:
            try:
                await log.put(key(name), b"", expected_revision=0)
            except (StoreError, TypeError) as error:
                return error
            return None

        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(put(name)) for name in ("a", "\udc80", "b", "c")}
        failed = [name for name, task in tasks.items() if task.result()]
        assert failed == ["\udc80"]
        assert [e.key.name for e in (await log.list("secrets", limit=None)).entries] == ["a", "b", "c"]


async def test_a_file_locked_by_another_makes_writes_unavailable_and_reads_go_on(tmp_path: Path) -> None:
    path = tmp_path / "skerry.db"
    settings = SqliteSettings(busy_timeout_seconds=0.01)
    async with open_sqlite(path, settings) as driver, open_log(driver) as log:
        revision = await log.put(key("a"), b"1", expected_revision=0)
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            await log.put(key("b"), b"1", expected_revision=0)
        assert "locked" in caught.value.detail
        assert await log.get(key("a")) is not None
        raw.execute("ROLLBACK")
        raw.close()
        assert await log.put(key("b"), b"1", expected_revision=0) > revision


async def test_a_closed_store_refuses_calls(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "skerry.db") as driver:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await driver.get(key("a"))


async def test_compaction_frees_superseded_rows_and_tombstones_in_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.store.sqlite_writes.SWEEP_REVISIONS", 3)
    path = tmp_path / "skerry.db"
    async with open_sqlite(path) as driver, open_log(driver) as log:
        revision = 0
        for _ in range(10):
            revision = await log.put(key("kept"), b"1", expected_revision=revision)
        gone = await log.put(key("gone"), b"1", expected_revision=0)
        await log.compact(await log.delete(key("gone"), expected_revision=gone))
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT revision, name FROM revisions").fetchall() == [(revision, "kept")]
    raw.close()


def test_migrations_apply_once_and_all_pre_parts_before_any_post_part() -> None:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    migrate(raw)
    raw.execute("CREATE TABLE trace (step TEXT)")
    steps = (
        Migration(2, "two", ("INSERT INTO trace VALUES ('pre 2')",), ("INSERT INTO trace VALUES ('post 2')",)),
        Migration(3, "three", ("INSERT INTO trace VALUES ('pre 3')",)),
    )
    for _ in range(2):
        migrate(raw, (*MIGRATIONS, *steps))
    assert raw.execute("SELECT step FROM trace").fetchall() == [("pre 2",), ("pre 3",), ("post 2",)]
    raw.close()


def test_a_failing_migration_leaves_no_record() -> None:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    migrate(raw)
    broken = Migration(2, "broken", ("CREATE TABLE half (x)", "CREATE nonsense"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(raw, (*MIGRATIONS, broken))
    assert raw.execute("SELECT max(version) FROM schema_migrations").fetchone() == (1,)
    assert raw.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    raw.close()


def test_nobody_waits_for_a_change_whose_commit_failed() -> None:
    class FullDisk:
        """A connection whose commits fail."""

        @contextmanager
        def transaction(self, *, write: bool) -> Iterator[None]:
            assert write
            yield
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        def row(self, _: str) -> tuple[int, int, int]:
            return 7, 0, 0

        def run(self, *_: object) -> None:
            return None

    def change(group: writes.Group) -> None:
        group.next_revision("secrets")
        group.add([], [])
        assert heads.of("secrets") == 8

    heads = writes.Heads()
    heads.rise({"secrets": 5})
    heads.settle((7, 0, 0))
    connection: Any = FullDisk()
    (outcome,) = writes.run_group(connection, [change], heads=heads)
    assert outcome.error is not None
    assert heads.of("secrets") == 5
