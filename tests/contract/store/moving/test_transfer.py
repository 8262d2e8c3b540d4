"""What moving a log promises, from either database to either."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from skerry.kit.errors import StartError
from skerry.store.errors import Compacted
from skerry.store.moving import changes as moving_changes
from skerry.store.moving.changes import Change, Snapshot
from skerry.store.moving.errors import InUseError, NotEmptyError
from skerry.store.moving.transfer import Moved, move
from skerry.store.records import EVERYTHING, Bounds, ListQuery, Write
from tests.contract.store.moving.conftest import MakePlace, Place, filled, key, quiet


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make even a small log many batches."""
    for module in ("sqlite", "postgres"):
        monkeypatch.setattr(f"skerry.store.moving.{module}.BATCH_CHANGES", 7)


async def moved(source: Place, target: Place, *, force: bool = False, finish: bool = True) -> Moved:
    async with source.database.snapshot(alone=finish) as snapshot, target.database.incoming() as incoming:
        outcome = await move(snapshot, incoming, quiet, force=force)
        if finish:
            await incoming.finish()
        return outcome


async def content(place: Place) -> tuple[object, ...]:
    """Return all that can be read of a log."""
    async with place.open_driver() as driver:
        bounds = await driver.bounds()
        now = await driver.page(ListQuery("configmaps", None, None, None, None))
        then = await driver.page(ListQuery("configmaps", None, bounds.compacted, None, None))
        events = await driver.events_after(bounds.compacted, EVERYTHING, limit=10_000)
        with pytest.raises(Compacted):
            await driver.events_after(bounds.compacted - 1, EVERYTHING, limit=1)
        return bounds, now.entries, then.entries, events.events


async def test_a_moved_log_is_the_same_log_and_goes_on_where_it_was(pair: tuple[Place, Place]):
    source, target = pair
    async with filled(source):
        pass
    outcome = await moved(source, target)
    before = await content(source)
    assert await content(target) == before
    assert isinstance(before[0], Bounds)
    async with target.open_driver() as driver:
        entry = await driver.get(key("a-1"))
        assert entry is not None
        assert await driver.append(Write(key("a-1"), b"{}", entry.revision)) == before[0].latest + 1
        await driver.compact(before[0].latest)
    back = await moved(target, source, force=True)
    assert back.changes < outcome.changes
    assert await content(source) == await content(target)


class Cut(Exception):
    """The process dies here."""


class CutSnapshot:
    """A snapshot that can be read up to some place."""

    def __init__(self, snapshot: Snapshot, batches: int) -> None:
        self.name, self.span, self.count = snapshot.name, snapshot.span, snapshot.count
        self._snapshot = snapshot
        self._batches = batches

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        async for changes in self._snapshot.changes():
            if not self._batches:
                raise Cut
            self._batches -= 1
            yield changes

    async def confirm(self) -> None:
        await self._snapshot.confirm()


async def cut_off(source: Place, target: Place, *, batches: int) -> None:
    with pytest.raises(Cut):
        async with source.database.snapshot() as snapshot, target.database.incoming() as incoming:
            await move(CutSnapshot(snapshot, batches), incoming, quiet, force=False)


async def test_a_move_that_was_cut_off_goes_on_and_ends_the_same(pair: tuple[Place, Place]):
    source, target = pair
    async with filled(source):
        pass
    for batches in (0, 2, 4):
        await cut_off(source, target, batches=batches)
        with pytest.raises(StartError, match="half of a copy"):
            async with target.open_driver():
                pass
    outcome = await moved(source, target)
    assert outcome.resumed_after > 0
    assert await content(target) == await content(source)


async def test_what_was_written_and_compacted_meanwhile_is_brought_by_the_next_turn(pair: tuple[Place, Place]):
    source, target = pair
    async with filled(source) as driver:
        online = await moved(source, target, finish=False)
        entry = await driver.get(key("a-1"))
        assert entry is not None
        await driver.append(Write(key("a-1"), b'{"later":1}', entry.revision))
        await driver.compact(online.span.latest - 5)
    final = await moved(source, target)
    assert final.resumed_after == online.span.latest
    assert final.digest != online.digest
    assert await content(target) == await content(source)


async def test_a_half_done_copy_of_another_log_and_a_log_are_not_touched(place: Place, make_place: MakePlace):
    source, other, target = make_place("sqlite"), make_place("sqlite"), place
    async with filled(source):
        pass
    async with other.open_driver() as driver:
        await driver.append(Write(key("other"), b"{}", 0))
    await moved(other, target, finish=False)
    with pytest.raises(NotEmptyError, match="part of another log"):
        await moved(source, target)
    await moved(other, target)
    with pytest.raises(NotEmptyError, match="there is a log in .* already"):
        await moved(source, target)
    async with target.open_driver() as driver:
        assert (await driver.bounds()).latest == 1
    await moved(source, target, force=True)
    assert await content(target) == await content(source)


async def test_a_source_in_use_is_not_moved_for_good_and_a_target_in_use_not_at_all(pair: tuple[Place, Place]):
    source, target = pair
    async with filled(source):
        with pytest.raises(InUseError, match="is in use"):
            await moved(source, target)
    async with target.open_driver() as driver:
        with pytest.raises(InUseError, match="is in use"):
            await moved(source, target)
        assert (await driver.bounds()).latest == 0


async def test_no_control_plane_starts_where_a_log_is_being_moved(place: Place, make_place: MakePlace):
    target = make_place("postgres" if isinstance(place.address, Path) else "sqlite")
    async with filled(place):
        pass
    async with place.database.snapshot(alone=True), target.database.incoming():
        for moving in (place, target):
            with pytest.raises(StartError, match="is being moved"):
                async with moving.open_driver():
                    pass


def test_a_change_has_one_form_as_bytes_and_a_part_of_it_is_none():
    change = Change(7, key("ä"), 3, 5, b"{}")
    gone = Change(8, key("ä"), 3, 7, None)
    packed = moving_changes.pack(change) + moving_changes.pack(gone)
    assert list(moving_changes.unpack(packed)) == [change, gone]
    for end in (10, len(packed) - 1):
        with pytest.raises(ValueError, match="cut off"):
            list(moving_changes.unpack(packed[:end]))


def test_the_digest_of_a_log_never_changes_between_versions():
    tally = moving_changes.Tally()
    tally.add([Change(7, key("a"), 3, 5, b"{}"), Change(8, key("a"), 3, 7, None)])
    assert (
        tally.digest(moving_changes.Span(8, 2, 1))
        == "sha256:2d1a3c86ce2d2eb7306fcd08f1aaf28d7469c688c8e2ed4c7e69365d2e42dc3c"
    )
