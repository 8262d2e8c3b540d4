"""What becomes of calls when connections break: no acknowledged write is lost, and none is made twice."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import asyncpg
import pytest

from skerry.store.errors import Conflict, Unavailable
from skerry.store.log import Key, Progress, open_log
from skerry.store.postgres.driver import PostgresSettings, open_postgres
from skerry.store.postgres.session import Connection, Session
from skerry.store.postgres.writes import Writer
from skerry.store.records import Write
from skerry.testing.postgres_process import PostgresProcess

T = TypeVar("T")
SETTINGS = PostgresSettings()
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"


def key(name: str) -> Key:
    return Key("secrets", "default", name)


class UnluckySession(Session):
    """Its connections break after the server has done what it was asked, and before it could say so."""

    async def run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        await super().run(call)
        self.drop()
        return await super().run(call)


async def opened(url: str) -> None:
    async with open_postgres(url):
        pass


async def test_a_group_whose_answer_was_lost_is_applied_once_and_answered_alike(postgres: PostgresProcess):
    url = postgres.create_schema()
    await opened(url)
    session = UnluckySession("writes", url, SETTINGS)
    writer = Writer(session, lambda _: None)
    first = await writer.run_batch([Write(key("a"), b"1", 0), Write(key("b"), b"1", 7), Write(key("a"), b"2", 1)])
    assert [outcome.result for outcome in first] == [1, None, 2]
    assert isinstance(first[1].error, Conflict)
    assert [outcome.result for outcome in await writer.run_batch([Write(key("a"), None, 2)])] == [3]
    await session.close()
    async with open_postgres(url) as driver:
        assert (await driver.bounds()).latest == 3


async def test_an_attempt_that_comes_to_life_late_changes_nothing(postgres: PostgresProcess):
    url = postgres.create_schema()
    await opened(url)
    raw = await asyncpg.connect(url)
    append = "SELECT written_revision FROM append_group($1, $2, '{secrets}', '{default}', $3::text[], '{0}', '{x}')"
    writer = "00000000-0000-0000-0000-000000000001"
    assert await raw.fetchval(append, writer, 2, ["second"]) == 1
    assert await raw.fetchval(append, writer, 1, ["first, late"]) == 1
    assert await raw.fetchval("SELECT array_agg(name) FROM current") == ["second"]
    await raw.close()


async def test_a_connection_that_is_cut_mid_transaction_costs_no_write(postgres: PostgresProcess):
    url = postgres.create_schema()
    async with open_postgres(url) as driver, open_log(driver) as log:
        await log.put(key("before"), b"1", expected_revision=0)
        holder = await asyncpg.connect(url)
        async with asyncio.TaskGroup() as group, holder.transaction():
            # Nobody can commit: the put is caught in the middle of its transaction.
            await holder.execute("SELECT FROM state FOR UPDATE")
            putting = group.create_task(log.put(key("a"), b"1", expected_revision=0))
            while not await holder.fetchval(BLOCKED, holder.get_server_pid()):
                pass  # the question itself is a pause
            assert await holder.fetch(TERMINATE, "skerry writes")
        assert putting.result() == 2
        entry = await log.get(key("a"))
        assert entry is not None
        assert entry.revision == 2
        await holder.close()


async def test_cut_after_cut_every_acknowledged_write_is_there_once_and_watchers_miss_none(postgres: PostgresProcess):
    url = postgres.create_schema()
    ledger: dict[str, int] = {}
    settings = PostgresSettings(outage_seconds_max=60.0)

    async def write(writer: int) -> None:
        for number in range(20):
            name = f"{writer}-{number}"
            ledger[name] = await log.put(key(name), b"1", expected_revision=0)
            if len(ledger) % 20 == 0:  # not by the clock: on a slow machine nothing else would happen
                for session in ("writes", "gets", "scans", "listen"):
                    await asyncio.to_thread(postgres.execute, TERMINATE, f"skerry {session}")

    async def follow() -> list[int]:
        seen: list[int] = []
        async with log.watch("secrets", after_revision=0) as watch:
            while len(seen) < 160:
                item = await anext(watch)
                seen += [] if isinstance(item, Progress) else [event.revision for event in item]
        return seen

    async with open_postgres(url, settings) as driver, open_log(driver) as log, asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        for writer in range(8):
            group.create_task(write(writer))
    assert following.result() == sorted(ledger.values()) == list(range(1, 161))


@pytest.fixture
def own_postgres() -> Iterator[PostgresProcess]:
    """A server that a test may kill."""
    with PostgresProcess.started() as server:
        yield server


async def test_calls_wait_for_a_server_that_was_killed_and_nothing_acknowledged_is_lost(
    own_postgres: PostgresProcess,
):
    url = own_postgres.create_schema()
    async with open_postgres(url, PostgresSettings(outage_seconds_max=60.0)) as driver, open_log(driver) as log:
        ledger = [await log.put(key(f"before-{number}"), b"1", expected_revision=0) for number in range(20)]
        own_postgres.kill()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(driver.get(key("before-19")))
            putting = [
                group.create_task(log.put(key(f"n-{number}"), b"1", expected_revision=0)) for number in range(20)
            ]
            await asyncio.to_thread(own_postgres.start)
        assert reading.result() is not None
        ledger += [task.result() for task in putting]
        page = await log.list("secrets", limit=None)
        assert sorted(entry.revision for entry in page.entries) == sorted(ledger)


async def test_a_server_that_stays_away_is_told_and_the_log_goes_on_when_it_is_back(own_postgres: PostgresProcess):
    url = own_postgres.create_schema()
    async with open_postgres(url, PostgresSettings(outage_seconds_max=0.2)) as driver:
        own_postgres.stop()
        for call in (driver.append(Write(key("a"), b"1", 0)), driver.get(key("a")), driver.bounds()):
            with pytest.raises(Unavailable, match="cannot serve|cannot be"):
                await call
        await asyncio.to_thread(own_postgres.start)
        assert await driver.append(Write(key("a"), b"1", 0)) == 1


async def test_a_statement_that_takes_too_long_is_ended(postgres: PostgresProcess):
    session = Session("test", postgres.create_schema(), PostgresSettings(statement_seconds_max=0.05))

    async def sleep(connection: Connection) -> Any:
        return await connection.raw.fetch("SELECT pg_sleep(600)")

    with pytest.raises(Unavailable, match="statement timeout"):
        await session.run(sleep)
    await session.close()
