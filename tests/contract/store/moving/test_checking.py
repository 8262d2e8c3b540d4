"""What a check promises: nothing wrong with what a driver wrote, and a line for each thing that was damaged."""

import sqlite3
from pathlib import Path

import asyncpg
import pytest

from skerry.store.moving.changes import Change
from skerry.store.moving.checking import Report, check_database
from skerry.store.moving.errors import MovingError
from tests.contract.store.moving.conftest import MakePlace, Place, accept, filled, quiet

#: What is done to a database, and what has to be said of it. The newest revision there is 69, swept are 34.
DAMAGE = {
    "a change is lost": (
        ["DELETE FROM revisions WHERE revision = 60"],
        ["order: revision 60 is missing"],
    ),
    "the newest change is lost": (
        ["DELETE FROM revisions WHERE revision = 69"],
        ["order: revision 69 is missing", "index: configmaps default/a-39 is not listed, and is there at 68"],
    ),
    "several are lost": (
        ["DELETE FROM revisions WHERE revision BETWEEN 60 AND 62"],
        ["order: revision 60 to 62 is missing"],
    ),
    "the counter is behind": (["UPDATE state SET revision = 65"], ["order: revision 66 is above 65"]),
    "the index lost an entry": (
        ["DELETE FROM current WHERE name = 'a-1'"],
        ["index: configmaps default/a-1 is not listed, and is there at"],
    ),
    "the index has an entry of nothing": (
        ["INSERT INTO current VALUES ('configmaps', 'default', 'stray', 5, 5)"],
        ["index: configmaps default/stray is listed, and there is no change of it"],
    ),
    "the index is behind": (
        ["UPDATE current SET revision = created_revision WHERE name = 'a-37'"],
        ["index: configmaps default/a-37 is listed at"],
    ),
    "the index lists what was deleted": (
        ["INSERT INTO current VALUES ('configmaps', 'default', 'a-39', 68, 67)"],
        ["index: configmaps default/a-39 is listed, and was deleted at 69"],
    ),
    "a change follows another one": (
        ["UPDATE revisions SET previous_revision = 3 WHERE revision = 69"],
        ["order: configmaps default/a-39, revision 69: follows 3, and 68 is before it"],
    ),
    "an entry was created at another time": (
        ["UPDATE revisions SET created_revision = 3 WHERE revision = 69"],
        ["order: configmaps default/a-39, revision 69: its entry was not created at 3"],
    ),
}


async def harm(place: Place, statements: list[str]) -> None:
    if isinstance(place.address, Path):
        with sqlite3.connect(place.address) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        return
    raw = await asyncpg.connect(place.address)
    for statement in statements:
        await raw.execute(statement)
    await raw.close()


async def checked(place: Place) -> Report:
    async with place.database.snapshot() as snapshot:
        return await check_database(snapshot, accept, quiet)


async def test_what_a_driver_wrote_has_no_faults_while_it_is_open_too(place: Place):
    async with filled(place) as driver:
        report = await checked(place)
        assert report.faults == []
        assert report.span.latest == (await driver.bounds()).latest == 69
        assert report.span.swept == 34
        assert report.changes < 69
        assert report.digest.startswith("sha256:")


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_log_is_told_by_name(place: Place, damage: str):
    statements, expected = DAMAGE[damage]
    async with filled(place):
        pass
    await harm(place, statements)
    report = await checked(place)
    for sentence in expected:
        assert any(fault.startswith(sentence) for fault in report.faults), report.faults
    assert report.faults_count >= len(expected)


async def test_many_faults_are_counted_and_few_of_them_told(place: Place):
    async with filled(place):
        pass
    await harm(place, ["DELETE FROM current"])
    report = await checked(place)
    assert len(report.faults) == 20 < report.faults_count


async def test_a_value_that_cannot_be_read_is_told_with_its_name(place: Place):
    async def refuse(change: Change, is_present: bool) -> str:  # noqa: FBT001 - the form of `Examine`
        return "it is no JSON" if change.revision == 68 and not is_present else ""

    async with filled(place):
        pass
    async with place.database.snapshot() as snapshot:
        report = await check_database(snapshot, refuse, quiet)
    assert report.faults == ["value: configmaps default/a-39, revision 68: it is no JSON"]


async def test_a_sqlite_file_with_a_torn_page_is_told(make_place: MakePlace):
    place = make_place("sqlite")
    async with filled(place):
        pass
    assert isinstance(place.address, Path)
    with place.address.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096)
    report = await checked(place)
    assert any(fault.startswith("file: ") for fault in report.faults), report.faults


async def test_what_is_no_database_is_refused_by_name(make_place: MakePlace):
    place = make_place("sqlite")
    with pytest.raises(MovingError, match="there is no database"):
        await checked(place)
    assert isinstance(place.address, Path)
    place.address.write_bytes(b"not a database, whatever its name says " * 50)
    with pytest.raises(MovingError, match="file is not a database"):
        await checked(place)
