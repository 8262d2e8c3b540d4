"""What opening a database promises: its schema, and a clear word where it can't be used."""

import asyncio

import asyncpg
import pytest

from skerry.kit.errors import StartError
from skerry.store.errors import Overloaded
from skerry.store.log import Key
from skerry.store.migration import Migration
from skerry.store.postgres import schema
from skerry.store.postgres.driver import PostgresSettings, open_postgres
from skerry.store.postgres.session import redacted
from skerry.store.records import EVERYTHING, ListQuery, Write
from skerry.testing.postgres_process import PostgresProcess

#: The version after the newest one.
NEXT = schema.MIGRATIONS[-1].version + 1
STEP = Migration(NEXT, "more", pre=("CREATE TABLE more (a text)",), post=("DROP TABLE writers",))


async def test_replicas_that_start_at_once_make_one_schema(postgres: PostgresProcess):
    url = postgres.create_schema()

    async def put(number: int) -> int:
        async with open_postgres(url) as driver:
            return await driver.append(Write(Key("secrets", "", str(number)), b"1", 0))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(put(number)) for number in range(4)]
    assert sorted(task.result() for task in tasks) == [1, 2, 3, 4]


async def test_a_version_adds_before_and_takes_away_one_version_later(postgres: PostgresProcess):
    raw = await asyncpg.connect(postgres.create_schema())
    await schema.migrate(raw)
    await schema.migrate(raw, (*schema.MIGRATIONS, STEP))
    await schema.migrate(raw)  # a replica of the version before starts again
    assert await raw.fetchval("SELECT to_regclass('writers')") is not None
    await schema.migrate(raw, (*schema.MIGRATIONS, STEP, Migration(NEXT + 1, "yet more")))
    assert await raw.fetchval("SELECT to_regclass('writers')") is None
    with pytest.raises(StartError, match="use a newer Skerry"):
        await schema.migrate(raw)
    await raw.close()


async def test_writers_that_were_not_heard_of_for_long_are_forgotten_at_a_start(postgres: PostgresProcess):
    url = postgres.create_schema()
    async with open_postgres(url) as driver:
        await driver.append(Write(Key("secrets", "", "a"), b"1", 0))
    raw = await asyncpg.connect(url)
    await raw.execute("INSERT INTO writers VALUES (gen_random_uuid(), 1, '{1}', now() - interval '8 days')")
    async with open_postgres(url):
        assert await raw.fetchval("SELECT count(*) FROM writers") == 1
    await raw.close()


async def test_a_migration_that_fails_leaves_nothing(postgres: PostgresProcess):
    raw = await asyncpg.connect(postgres.create_schema())
    broken = Migration(NEXT, "broken", pre=("CREATE TABLE half (a text)", "SELECT 1 / 0"))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await schema.migrate(raw, (*schema.MIGRATIONS, broken))
    assert await raw.fetchval("SELECT to_regclass('half')") is None
    assert await raw.fetchval("SELECT to_regclass('revisions')") is None
    await raw.close()


async def test_a_role_without_rights_is_told_what_it_needs(postgres: PostgresProcess):
    url = postgres.create_schema()
    name = url.rpartition("=")[2]
    admin = await asyncpg.connect(url)
    await admin.execute(f"CREATE ROLE {name}_role LOGIN PASSWORD 'geheim'")
    await admin.execute(f"GRANT USAGE ON SCHEMA {name} TO {name}_role")
    with pytest.raises(StartError, match="must be allowed to create tables") as caught:
        async with open_postgres(url.replace("postgres@", f"{name}_role:geheim@")):
            pass
    assert "geheim" not in caught.value.public + caught.value.detail
    await admin.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://skerry:geheim@127.0.0.1:1/skerry",
        "postgresql://skerry:geheim@/skerry?host=/nowhere",
        "postgresql://skerry:geheim@127.0.0.1:port/skerry",
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_without_its_password(url: str):
    with pytest.raises(StartError, match="can't be used") as caught:
        async with open_postgres(url):
            pass
    assert "geheim" not in caught.value.public + caught.value.detail


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:b@h:5/d?sslmode=require", "postgresql://a@h:5/d?sslmode=require"),
        ("postgresql://h/d?user=a&password=b", "postgresql://h/d?user=a"),
        ("postgresql://a:p@ss:w@h/d", "postgresql://a@h/d"),
        ("postgresql://a:p/ss@h/d", "postgresql://..."),
        ("postgresql://a:p?ss@h/d", "postgresql://..."),
        ("postgresql://a:p#ss@h/d", "postgresql://..."),
        ("postgresql://h/d?sslkey=/k&sslpassword=b", "postgresql://h/d?sslkey=/k"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str):
    assert redacted(url) == shown


async def test_names_that_no_database_keeps_find_nothing_and_spoil_no_other_write(postgres: PostgresProcess):
    async with open_postgres(postgres.create_schema()) as driver:
        for name in ("a\0b", "\ud800"):
            async with asyncio.TaskGroup() as group:
                good = group.create_task(driver.append(Write(Key("secrets", "", f"good-{len(name)}"), b"1", 0)))
                with pytest.raises((asyncpg.DataError, ValueError)):
                    await driver.append(Write(Key("secrets", "", name), b"1", 0))
            assert good.result() > 0
        assert await driver.get(Key("secrets", "", "a\0b")) is None
        assert not (await driver.page(ListQuery("secrets", "a\0b", None, ("a\0b", "\0"), 5))).entries


async def test_a_batch_of_events_is_cut_by_bytes_and_goes_on_behind_the_cut(postgres: PostgresProcess):
    async with open_postgres(postgres.create_schema(), PostgresSettings(batch_bytes_max=2_000)) as driver:
        for number in range(7):
            await driver.append(Write(Key("secrets", "", str(number)), bytes(900), 0))
        seen: list[int] = []
        more = True
        while more:
            batch = await driver.events_after(seen[-1] if seen else 0, EVERYTHING, limit=100)
            assert len(batch.events) <= 3
            seen += [event.revision for event in batch.events]
            more = batch.more
        assert seen == [1, 2, 3, 4, 5, 6, 7]


async def test_more_writes_than_may_wait_are_refused_and_the_others_are_made(postgres: PostgresProcess):
    async with open_postgres(postgres.create_schema(), PostgresSettings(writes_waiting_max=3)) as driver:

        async def put(number: int) -> bool:
            try:
                await driver.append(Write(Key("secrets", "", str(number)), b"1", 0))
            except Overloaded:
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(number)) for number in range(10)]
        assert sum(task.result() for task in tasks) == (await driver.bounds()).latest == 3
