import datetime as dt
from pathlib import Path

import pytest

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, KeepFullError
from skerry.artifacts.folder import FolderKeep


class HandClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC)

    def monotonic_seconds(self) -> float:
        return self.seconds


async def test_what_was_put_is_read_back_by_its_digest(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path) as keep:
        digest = await keep.put(b"module")
        assert digest == Digest.of(b"module")
        assert await keep.has(digest)
        assert await keep.read(digest) == b"module"
        assert await keep.verify(digest) == keep.path(digest)


async def test_putting_twice_keeps_one(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path) as keep:
        assert await keep.put(b"same") == await keep.put(b"same")
        assert keep.statistics()["artifacts"] == 1
        assert keep.statistics()["bytes"] == 4


async def test_a_keep_opened_again_knows_what_it_holds(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path) as keep:
        digest = await keep.put(b"module")
    async with FolderKeep(tmp_path) as keep:
        assert await keep.read(digest) == b"module"
        assert keep.statistics()["bytes"] == 6


async def test_a_half_written_file_is_gone_after_a_restart_and_was_never_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "half").write_bytes(b"hal")
    async with FolderKeep(tmp_path) as keep:
        assert keep.statistics()["artifacts"] == 0
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_a_missing_artifact_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path) as keep:
        absent = Digest.of(b"never put")
        assert not await keep.has(absent)
        for look in (keep.read, keep.verify):
            with pytest.raises(ArtifactMissingError, match=str(absent)):
                await look(absent)
        digest = await keep.put(b"module")
        keep.path(digest).write_bytes(b"nodule")
        for look in (keep.read, keep.verify):
            with pytest.raises(ArtifactCorruptError):
                await look(digest)


async def test_putting_a_damaged_artifact_again_mends_it(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path) as keep:
        digest = await keep.put(b"module")
        keep.path(digest).write_bytes(b"rotten to the core")
    async with FolderKeep(tmp_path) as keep:
        await keep.put(b"module")
        assert await keep.read(digest) == b"module"
        assert keep.statistics() == {"artifacts": 1, "bytes": 6, "bytes_max": keep.statistics()["bytes_max"]}


async def test_a_full_keep_names_its_limit_and_writes_nothing(tmp_path: Path) -> None:
    async with FolderKeep(tmp_path, bytes_max=10) as keep:
        await keep.put(b"12345678")
        with pytest.raises(KeepFullError, match="limit of 10 bytes"):
            await keep.put(b"abc")
        assert not await keep.has(Digest.of(b"abc"))
        await keep.put(b"12345678")
        await keep.put(b"ab")
        assert keep.statistics()["bytes"] == 10


async def test_removal_spares_the_referenced_and_the_young(tmp_path: Path) -> None:
    clock = HandClock()
    async with FolderKeep(tmp_path, clock=clock) as keep:
        referenced, forgotten = await keep.put(b"referenced"), await keep.put(b"forgotten")
        clock.seconds += 100
        young = await keep.put(b"young")
        assert await keep.remove_unreferenced({referenced}, grace_seconds=60) == 1
        assert [await keep.has(digest) for digest in (referenced, forgotten, young)] == [True, False, True]
        assert keep.statistics()["bytes"] == len(b"referenced") + len(b"young")


async def test_a_put_renews_the_grace_age(tmp_path: Path) -> None:
    clock = HandClock()
    async with FolderKeep(tmp_path, clock=clock) as keep:
        digest = await keep.put(b"module")
        clock.seconds += 100
        await keep.put(b"module")
        assert await keep.remove_unreferenced(set(), grace_seconds=60) == 0
        assert await keep.has(digest)


async def test_a_foreign_file_in_the_keep_is_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "sha256" / "no" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    async with FolderKeep(tmp_path) as keep:
        assert await keep.remove_unreferenced(set(), grace_seconds=0) == 0
    assert foreign.read_text() == "mine"
