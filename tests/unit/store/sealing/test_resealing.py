"""Rotation: every value under the newest key, at whatever moment the process is killed."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.store.driver import RewritableDriver
from skerry.store.errors import Undecryptable
from skerry.store.log import LogSettings, open_log
from skerry.store.memory import MemoryDriver
from skerry.store.records import Key, Rewrite, Scope, Write
from skerry.store.sealing import resealing
from skerry.store.sealing.driver import SealingDriver
from skerry.store.sealing.envelope import Sealer, is_plain, key_id_of
from skerry.store.sealing.keys import KEYS_MAX, KeyUnavailable, LocalKeys
from skerry.store.sealing.resealing import Resealer
from skerry.store.sqlite import open_sqlite

CONFIDENTIAL = frozenset({"secrets"})
OBJECTS = 12


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BATCH_VALUES", 5)


def key(number: int, resource: str = "secrets") -> Key:
    return Key(resource, "default", f"n{number}")


def value(number: int, state: str) -> bytes:
    return b'{"metadata":{"name":"n%d"},"state":"%s"}' % (number, state.encode())


class Killed(Exception):
    """The process ends here."""


class Mortal(MemoryDriver):
    """A database whose process is killed before or after its nth rewrite."""

    rewrites_left: int | None = None
    after = False

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        if self.rewrites_left is not None:
            self.rewrites_left -= 1
            if self.rewrites_left < 0:
                if self.after:
                    await super().rewrite(rewrites)
                raise Killed
        await super().rewrite(rewrites)


class Life:
    """One life of a process on a database and a key file."""

    def __init__(self, database: RewritableDriver, keys_path: Path) -> None:
        self.keys = LocalKeys(keys_path, SystemClock())
        self.sealer = Sealer(self.keys)
        self.driver = SealingDriver(database, self.sealer, CONFIDENTIAL.__contains__)
        self.resealer = Resealer(database, self.keys, self.sealer, CONFIDENTIAL.__contains__)

    async def states(self) -> dict[str, bytes]:
        return {str(k): entry.value for k in map(key, range(OBJECTS)) if (entry := await self.driver.get(k))}


@pytest.fixture
def keys_path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


async def filled(database: MemoryDriver, keys_path: Path) -> Life:
    """Start a life with objects of two states each, the older being history, and a plain kind beside them."""
    life = Life(database, keys_path)
    await life.keys.add()
    for number in range(OBJECTS):
        first = await life.driver.append(Write(key(number), value(number, "old"), 0))
        await life.driver.append(Write(key(number), value(number, "new"), first))
        await life.driver.append(Write(key(number, "configmaps"), value(number, "new"), 0))
    return life


async def key_ids_at_rest(database: MemoryDriver) -> set[str]:
    held = await database.values_after(0, limit=1000)
    return {key_id_of(one.value) for one in held if one.key.resource in CONFIDENTIAL}


async def test_confidential_values_alone_are_sealed(keys_path: Path):
    database = MemoryDriver()
    await filled(database, keys_path)
    for held in await database.values_after(0, limit=1000):
        assert is_plain(held.value) == (held.key.resource == "configmaps")


async def test_a_rotation_brings_history_and_all_under_the_new_key_and_removes_the_old_one(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)
    before = await life.states()
    newest = await life.resealer.rotate()
    await life.resealer.turn()
    assert await key_ids_at_rest(database) == {newest}
    assert [info.id for info in LocalKeys(keys_path, SystemClock()).known_keys()] == [newest]
    assert await life.states() == await Life(database, keys_path).states() == before
    census = await life.resealer.census()
    assert (dict(census.objects), dict(census.values)) == ({newest: OBJECTS}, {newest: 2 * OBJECTS})


async def test_a_rotation_makes_no_revision_and_no_event(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)
    bounds = await database.bounds()
    events = await life.driver.events_after(0, Scope(None, None), limit=1000)
    async with open_log(life.driver, LogSettings(progress_seconds=0.001)) as log:
        async with log.watch(None, after_revision=bounds.latest) as watch:
            await life.resealer.rotate()
            await life.resealer.turn()
            told = [await anext(watch) for _ in range(3)]
        assert not [one for one in told if isinstance(one, tuple)]
    assert await database.bounds() == bounds
    assert await life.driver.events_after(0, Scope(None, None), limit=1000) == events


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("rewrites", range(9))
async def test_a_rotation_that_was_killed_anywhere_ends_in_the_next_life(
    keys_path: Path, rewrites: int, *, after: bool
):
    database = Mortal()
    life = await filled(database, keys_path)
    before = await life.states()
    newest = await life.resealer.rotate()
    database.rewrites_left, database.after = rewrites, after
    try:
        await life.resealer.turn()
        assert rewrites == 8  # the barrier and a rewrite of each batch of five
    except Killed:
        pass
    database.rewrites_left = None
    again = Life(database, keys_path)
    assert await again.states() == before
    await again.resealer.turn()
    assert await key_ids_at_rest(database) == {newest}
    assert [info.id for info in again.keys.known_keys()] == [newest]
    assert await again.states() == before


async def test_without_an_older_key_a_turn_does_nothing(keys_path: Path):
    database = Mortal()
    life = await filled(database, keys_path)
    database.rewrites_left = 0
    await life.resealer.turn()


async def test_writers_go_on_while_keys_are_rotated_again_and_again(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)

    async def write(number: int) -> None:
        for step in range(20):
            entry = await life.driver.get(key(number))
            assert entry is not None
            await life.driver.append(Write(key(number), value(number, f"s{step}"), entry.revision))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(OBJECTS):
            group.create_task(write(number))
        for _ in range(3):
            newest = await life.resealer.rotate()
            await life.resealer.turn()
    await life.resealer.turn()
    assert await key_ids_at_rest(database) == {newest}
    assert await Life(database, keys_path).states() == {str(key(n)): value(n, "s19") for n in range(OBJECTS)}


async def test_a_write_that_was_sealed_before_a_rotation_and_is_made_after_it_is_not_lost(
    keys_path: Path, tmp_path: Path
):
    async with open_sqlite(tmp_path / "skerry.db") as database:
        life = Life(database, keys_path)
        await life.keys.add()
        go_on = threading.Event()
        rewriting = asyncio.Event()

        class Telling:
            """The database, telling when a rewrite is called for."""

            values_after = database.values_after

            async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
                rewriting.set()
                await database.rewrite(rewrites)

        resealer = Resealer(Telling(), life.keys, life.sealer, CONFIDENTIAL.__contains__)
        async with asyncio.TaskGroup() as group:
            group.create_task(database._writer.call(lambda _: go_on.wait()))  # every write waits from here on
            group.create_task(life.driver.append(Write(key(1), value(1, "late"), 0)))
            await asyncio.sleep(0)  # it is sealed now
            await resealer.rotate()
            turn, rewrite = group.create_task(resealer.turn()), group.create_task(rewriting.wait())
            await asyncio.wait({turn, rewrite}, return_when=asyncio.FIRST_COMPLETED)
            go_on.set()
            rewriting.set()
        assert await Life(database, keys_path).states() == {str(key(1)): value(1, "late")}


async def test_plain_values_from_before_are_read_and_sealed_by_a_rotation(keys_path: Path):
    database = MemoryDriver()
    await database.append(Write(key(1), value(1, "plain"), 0))
    life = Life(database, keys_path)
    await life.keys.add()
    assert await life.states() == {str(key(1)): value(1, "plain")}
    assert dict((await life.resealer.census()).objects) == {"": 1}
    await life.resealer.rotate()
    await life.resealer.turn()
    assert not any(is_plain(held.value) for held in await database.values_after(0, limit=10))
    assert await life.states() == {str(key(1)): value(1, "plain")}


async def test_a_kind_that_is_not_confidential_any_more_is_plain_after_a_rotation(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)
    await life.resealer.rotate()
    await Resealer(database, life.keys, Sealer(life.keys), lambda _: False).turn()
    assert all(is_plain(held.value) for held in await database.values_after(0, limit=1000))


async def test_a_value_that_cant_be_decrypted_keeps_its_key_and_stops_no_other(keys_path: Path):
    database = MemoryDriver()
    before = await (await filled(database, keys_path)).states()
    [first, *_] = await database.values_after(0, limit=1)
    await database.rewrite([Rewrite(first, first.value[:-1])])
    damaged = Life(database, keys_path)  # one that has not read it yet
    newest = await damaged.resealer.rotate()
    await damaged.resealer.turn()
    oldest = key_id_of(first.value)
    assert [info.id for info in damaged.keys.known_keys()] == [oldest, newest]
    census = await damaged.resealer.census()
    assert census.values == {oldest: 1, newest: 2 * OBJECTS - 1}
    assert census.undecryptable_count == 1
    assert "secrets default/n0 can't be decrypted: it is damaged" in census.undecryptable[0]
    assert await damaged.states() == before


async def test_more_keys_than_a_provider_takes_are_refused(keys_path: Path):
    life = await filled(MemoryDriver(), keys_path)
    for _ in range(KEYS_MAX - 1):
        await life.resealer.rotate()
    with pytest.raises(KeyUnavailable, match="a rotation has to end before the next begins"):
        await life.resealer.rotate()


async def test_a_damaged_event_ends_the_watches_it_concerns_and_no_other(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)
    settings = LogSettings(progress_seconds=3600.0, poll_seconds=3600.0)
    async with open_log(life.driver, settings) as log:
        revision = await log.revision()
        async with (
            log.watch("secrets", after_revision=revision) as concerned,
            log.watch("configmaps", after_revision=revision) as other,
        ):
            for watch in (concerned, other):
                await anext(watch)  # it has caught up, and is live from here on
            await database.append(Write(key(99), b"\0 no sealed value", 0))
            await life.driver.append(Write(key(98, "configmaps"), value(98, "new"), 0))
            events = await anext(other)
            assert isinstance(events, tuple)
            assert events[0].key == key(98, "configmaps")
            with pytest.raises(Undecryptable, match="secrets default/n99"):
                await anext(concerned)


async def test_a_watch_gets_what_stands_before_a_damaged_event_and_then_the_error(keys_path: Path):
    database = MemoryDriver()
    life = await filled(database, keys_path)
    held = await database.values_after(0, limit=5)
    damaged = next(one for one in reversed(held) if one.key.resource == "secrets")
    await database.rewrite([Rewrite(damaged, damaged.value[:-1])])
    batch = await life.driver.events_after(0, Scope("secrets", None), limit=100)
    assert batch.more
    assert batch.through == batch.events[-1].revision < damaged.revision
    with pytest.raises(Undecryptable):
        await life.driver.events_after(batch.through, Scope("secrets", None), limit=100)
    others = await life.driver.events_after(0, Scope("configmaps", None), limit=100)
    assert len(others.events) == OBJECTS
