"""What an upgrade promises to the version before, which goes on writing: each schema that there was, as it was used."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from skerry.store.log import Key
from skerry.store.migration import Migration
from skerry.store.moving.changes import Change
from skerry.store.moving.checking import check_database
from skerry.store.moving.postgres import PostgresDatabase
from skerry.store.postgres import schema
from skerry.store.postgres.driver import open_postgres
from skerry.store.records import Write
from skerry.testing.postgres_process import PostgresProcess

#: What a process of version 1 says to write, to read and to compact. It is as it was: never change it.
APPEND = """
    SELECT * FROM append_group($1, $2, '{secrets}'::text[], '{default}'::text[], $3::text[], $4::bigint[], $5::bytea[])
    """
LATEST = "SELECT state.revision FROM state, compaction"
LIST = """
    SELECT row.name, revisions.revision, revisions.value FROM current AS row JOIN revisions USING (revision)
    WHERE row.resource = 'secrets'
    """
COMPACT = "UPDATE compaction SET compacted_revision = $1 WHERE compacted_revision < $1"
#: Writes that are waited for before, during and after an upgrade.
SOME = 20
STATE_SECONDS_MAX = 60.0

#: Two versions that are yet to come: one writes by another function, the next one takes the older function away.
NEWEST = schema.MIGRATIONS[-1].version
TO_COME = (
    Migration(
        NEWEST + 1,
        "another way to append",
        pre=("ALTER TABLE revisions ADD COLUMN written_by text", "CREATE TABLE more (a text)"),
        post=("DROP FUNCTION append_group",),
    ),
    Migration(NEWEST + 2, "and nothing else"),
)


class OldProcess:
    """A replica of version 1, which creates one entry after the other."""

    def __init__(self, raw: asyncpg.Connection) -> None:
        self.written = 0
        self._raw = raw
        self._id = uuid.uuid4()
        self._wrote = asyncio.Event()

    async def run(self) -> None:
        while True:
            number = self.written + 1
            row = await self._raw.fetchrow(APPEND, self._id, number, [f"old-{number}"], [0], [b"{}"])
            assert row["written_revision"] > 0
            self.written = number
            self._wrote.set()

    async def writes_some(self) -> None:
        """Wait until it has written some more."""
        goal = self.written + SOME
        while self.written < goal:
            async with asyncio.timeout(STATE_SECONDS_MAX):
                await self._wrote.wait()
            self._wrote.clear()


@asynccontextmanager
async def old_process(url: str) -> AsyncIterator[OldProcess]:
    """Run one; what ends it is raised."""
    raw = await asyncpg.connect(url)
    try:
        process = OldProcess(raw)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(process.run())
            yield process
            running.cancel()
    finally:
        await raw.close()


async def migrated(url: str, migrations: tuple[Migration, ...]) -> None:
    raw = await asyncpg.connect(url)
    try:
        await schema.migrate(raw, migrations)
    finally:
        await raw.close()


async def faults(url: str) -> list[str]:
    async def accept(_change: Change, _is_present: bool) -> str:  # noqa: FBT001 - the form of `Examine`
        return ""

    async with PostgresDatabase(url).snapshot() as snapshot:
        return (await check_database(snapshot, accept, lambda *_: None)).faults


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_a_process_of_an_earlier_version_goes_on_while_the_schema_is_upgraded_beneath_it(
    postgres: PostgresProcess, version: int
):
    url = postgres.create_schema()
    await migrated(url, schema.MIGRATIONS[:version])
    async with old_process(url) as old:
        await old.writes_some()
        await migrated(url, schema.MIGRATIONS)
        await old.writes_some()
        async with open_postgres(url) as new:
            assert await new.append(Write(Key("secrets", "default", "new"), b"{}", 0)) > 2 * SOME
            await old.writes_some()
            raw = await asyncpg.connect(url)
            assert await raw.fetchval("SELECT to_regclass('blobs')") is not None
            names = {row["name"] for row in await raw.fetch(LIST)}
            assert {"new", "old-1"} <= names
            await raw.execute(COMPACT, await raw.fetchval(LATEST))
            await raw.close()
            await new.compact((await new.bounds()).latest)
    assert await faults(url) == []


async def test_what_the_version_before_needs_goes_with_the_version_after_the_next(postgres: PostgresProcess):
    url = postgres.create_schema()
    await migrated(url, schema.MIGRATIONS)
    written = 0
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - what is raised ends the block, wherever it is
        async with old_process(url) as old:
            await old.writes_some()
            await migrated(url, (*schema.MIGRATIONS, TO_COME[0]))
            await old.writes_some()
            written = old.written
            await migrated(url, (*schema.MIGRATIONS, *TO_COME))
            await old.writes_some()
    assert caught.group_contains(asyncpg.UndefinedFunctionError)
    raw = await asyncpg.connect(url)
    count = await raw.fetchval("SELECT count(*) FROM revisions")
    assert count == await raw.fetchval(LATEST) >= written >= 2 * SOME
    await raw.close()
