"""What every driver promises of many changes at once, and of what it tells after a commit."""

import asyncio

from skerry.store.errors import Conflict
from skerry.store.records import EVERYTHING, Event, Key, Write
from tests.contract.store.conftest import OpenDriver

WRITES = 40


def key(number: int) -> Key:
    return Key("secrets", "default", f"é{number}")


async def test_changes_that_come_at_once_each_keep_their_own_condition(open_driver: OpenDriver) -> None:
    async with open_driver() as driver:
        first = await driver.append(Write(key(0), b"{}", 0))

        async def outcome(write: Write) -> int | Conflict:
            try:
                return await driver.append(write)
            except Conflict as conflict:
                return conflict

        asked = [
            Write(key(0), b'{"a":1}', first),
            Write(key(0), b'{"a":2}', first),  # of the same state as the one before: one of them is too late
            Write(key(1), b"\x00\xff", 0),
            Write(key(2), b"", 0),
            Write(key(3), None, 7),  # which is not there
            *(Write(key(number), bytes([number]) * number, 0) for number in range(4, WRITES)),
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outcome(write)) for write in asked]
        results = [task.result() for task in tasks]
        conflicts = [result for result in results if isinstance(result, Conflict)]
        assert len(conflicts) == 2
        assert isinstance(results[4], Conflict)
        assert results[4].current is None
        late = next(result for result in results[:2] if isinstance(result, Conflict))
        assert late.current == await driver.get(key(0))
        for write, result in zip(asked, results, strict=True):
            if isinstance(result, int):
                entry = await driver.get(write.key)
                assert entry is not None
                assert (entry.revision, entry.value) == (result, write.value)


async def test_events_that_are_told_after_a_commit_are_those_that_are_read(open_driver: OpenDriver) -> None:
    """Told in full or not at all: who follows a commit by what it is told misses nothing."""
    async with open_driver() as driver:
        told: list[list[Event]] = []
        driver.call_after_commit(lambda events: told.append(list(events)))
        revision = await driver.append(Write(key(0), b'{"a":1}', 0))
        revision = await driver.append(Write(key(0), b'{"a":2}', revision))
        await driver.append(Write(key(0), None, revision))
        async with asyncio.TaskGroup() as group:
            for number in range(1, WRITES):
                group.create_task(driver.append(Write(key(number), b"{}", 0)))
        read = (await driver.events_after(0, EVERYTHING, limit=2 * WRITES)).events
        assert len(read) == WRITES + 2
        at = {event.revision: event for event in read}
        assert all(event == at[event.revision] for events in told for event in events)
        for events in filter(None, told):
            revisions = [event.revision for event in events]
            assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
