"""What a backup promises: one form for both databases, taken under writes, and read whole or not at all."""

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from skerry.store.driver import Driver
from skerry.store.moving import backup_file
from skerry.store.moving.backup import BackupFile, Beside, Written, open_backup, write_backup
from skerry.store.moving.changes import Change, Snapshot, Span
from skerry.store.moving.checking import check_backup, check_database
from skerry.store.moving.errors import BackupDamagedError, MovingError
from skerry.store.moving.transfer import Moved, move
from skerry.store.records import Write
from tests.contract.store.moving.conftest import (
    ENTRIES,
    FakeArtifacts,
    FakeKeyValues,
    MakePlace,
    Place,
    accept,
    filled,
    key,
    quiet,
)

MADE = {"at": "2026-01-01T00:00:00Z", "by": "skerry"}


async def backed_up(
    snapshot: Snapshot, file: Path, artifacts: FakeArtifacts | None = None, *, replace: bool = False
) -> Written:
    beside = Beside(FakeKeyValues(ENTRIES), artifacts)
    return await write_backup(BackupFile(file, replace=replace), snapshot, beside, MADE, quiet)


async def restored(file: Path, place: Place) -> tuple[Moved, dict[str, bytes]]:
    async with open_backup(file) as backup, place.database.incoming() as incoming:
        moved = await move(backup, incoming, quiet, force=False)
        assert [entry async for batch in backup.key_values() for entry in batch] == ENTRIES
        artifacts = {digest: b"".join([piece async for piece in pieces]) async for digest, pieces in backup.artifacts()}
        await incoming.finish()
        return moved, artifacts


async def test_a_backup_is_restored_into_either_database_as_the_same_log(pair: tuple[Place, Place], tmp_path: Path):
    source, target = pair
    artifacts = FakeArtifacts(b"", b"one", b"two" * 1000)
    async with filled(source), source.database.snapshot() as snapshot:
        written = await backed_up(snapshot, tmp_path / "backup", artifacts)
    moved, brought = await restored(tmp_path / "backup", target)
    assert moved.digest == written.digest
    assert brought == artifacts.kept
    async with target.database.snapshot() as snapshot:
        report = await check_database(snapshot, accept, quiet)
    assert (report.faults, report.digest) == ([], written.digest)


async def write_until(stop: asyncio.Event, driver: Driver, name: str) -> int:
    revision = 0
    while not stop.is_set():
        revision = await driver.append(Write(key(name), b"{}", revision))
    return revision


async def test_a_backup_under_writes_holds_one_moment(place: Place, make_place: MakePlace, tmp_path: Path):
    stop, target = asyncio.Event(), make_place("sqlite")
    async with filled(place) as driver, asyncio.TaskGroup() as group:
        writers = [group.create_task(write_until(stop, driver, f"w-{number}")) for number in range(4)]
        async with place.database.snapshot() as snapshot:
            seen = snapshot.span
            while (await driver.bounds()).latest < seen.latest + 20:
                await driver.append(Write(key(f"more-{(await driver.bounds()).latest}"), b"{}", 0))
            await driver.compact(seen.latest + 10)
            await backed_up(snapshot, tmp_path / "backup")
        stop.set()
    assert all(writer.result() for writer in writers)
    moved, _ = await restored(tmp_path / "backup", target)
    assert moved.span == seen
    async with target.database.snapshot() as snapshot:
        assert not (await check_database(snapshot, accept, quiet)).faults


class OneSnapshot:
    """A log of a few changes, in memory."""

    name, span, count = "memory", Span(3, 0, 0), 3

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        yield [Change(number, key(f"a-{number}"), number, 0, b"{}") for number in (1, 2, 3)]

    async def confirm(self) -> None:
        """Be what it is."""


async def read_whole(file: Path) -> None:
    async with open_backup(file) as backup:
        report = await check_backup(backup, accept, quiet)
        async for _ in backup.key_values():
            pass
        async for _, pieces in backup.artifacts():
            async for _ in pieces:
                pass
        assert not report.faults


async def test_a_backup_that_was_cut_off_or_changed_anywhere_is_refused(tmp_path: Path):
    file, damaged = tmp_path / "backup", tmp_path / "damaged"
    await backed_up(OneSnapshot(), file, FakeArtifacts(b"code"))
    await read_whole(file)
    whole = file.read_bytes()
    for at in range(0, len(whole), 3):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :]):
            damaged.write_bytes(content)
            with pytest.raises(MovingError, match="can't be used"):
                await read_whole(damaged)
    damaged.write_bytes(whole + b"\0")
    with pytest.raises(BackupDamagedError):
        await read_whole(damaged)


async def test_a_backup_of_a_later_form_is_refused_by_its_number(tmp_path: Path):
    file = tmp_path / "backup"
    await backed_up(OneSnapshot(), file)
    content = bytearray(file.read_bytes())
    content[len(backup_file.MAGIC)] += 1
    file.write_bytes(content)
    with pytest.raises(BackupDamagedError, match="has the form 2, this version of Skerry reads 1"):
        await read_whole(file)


def test_a_frame_that_inflates_beyond_its_limit_is_refused():
    bomb = zlib.compress(bytes(backup_file.FRAME_BYTES_MAX + 1))
    with pytest.raises(BackupDamagedError, match="too large"):
        backup_file.inflated(bomb)


async def test_a_file_that_is_there_is_replaced_on_request_only_and_by_a_whole_one_only(tmp_path: Path):
    file = tmp_path / "backup"
    file.write_bytes(b"precious")
    with pytest.raises(MovingError, match="--force"):
        await backed_up(OneSnapshot(), file)

    class Failing(OneSnapshot):
        async def confirm(self) -> None:
            raise MovingError("the connection broke")

    with pytest.raises(MovingError, match="broke"):
        await backed_up(Failing(), file, replace=True)
    assert file.read_bytes() == b"precious"
    assert [entry.name for entry in os.scandir(tmp_path)] == [file.name]
    await backed_up(OneSnapshot(), file, replace=True)
    await read_whole(file)
    assert file.stat().st_mode & 0o777 == 0o600


async def test_an_artifact_that_is_removed_meanwhile_is_left_out(tmp_path: Path):
    artifacts = FakeArtifacts(b"one", b"two")
    artifacts = FakeArtifacts(b"one", b"two", gone=min(artifacts.kept))
    written = await backed_up(OneSnapshot(), tmp_path / "backup", artifacts)
    assert written.artifacts == 1
    await read_whole(tmp_path / "backup")


async def test_a_restore_that_was_cut_off_goes_on(place: Place, tmp_path: Path):
    file = tmp_path / "backup"
    await backed_up(OneSnapshot(), file)
    whole = file.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:-20])
    with pytest.raises(BackupDamagedError):
        await restored(cut, place)
    moved, _ = await restored(file, place)
    assert moved.resumed_after == 3


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_backup_is_put_on_a_file_system_without_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    await backed_up(OneSnapshot(), tmp_path / "backup")
    await read_whole(tmp_path / "backup")
    with pytest.raises(MovingError, match="already"):
        await backed_up(OneSnapshot(), tmp_path / "backup")
    assert names_in(tmp_path) == ["backup"]
