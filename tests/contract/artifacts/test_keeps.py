"""What every keep promises, in a folder and where replicas share it; and what two replicas have of each other."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, KeepFullError
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import KEEP_BYTES_MAX, ArtifactKeep
from skerry.artifacts.s3 import S3Blobs
from skerry.artifacts.s3_settings import S3Settings
from skerry.artifacts.shared import Blobs, SharedKeep
from skerry.kit.ids import RandomIds
from skerry.main.blobs import DatabaseBlobs
from skerry.store.postgres.blobs import CHUNK_BYTES, BlobSettings, open_blobs
from skerry.store.postgres.driver import open_postgres
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.s3_process import BUCKET, CREDENTIALS, S3MissingError, S3Process

MODULE = b"module"
LARGE = b"0123456789abcdef" * (2 * CHUNK_BYTES // 16) + b"the rest"
#: Longer than any test.
LONG_SECONDS = 3_600.0


@dataclass(frozen=True)
class Place:
    """A place that replicas share.

    Attributes:
        opened: a process' way to it; with a limit of all artifacts together, in bytes.
        damage: changes what lies there of an artifact.
        age: makes what lies there of it `LONG_SECONDS` older.
    """

    opened: Callable[[int], AbstractAsyncContextManager[Blobs]]
    damage: Callable[[Digest], object]
    age: Callable[[Digest], object]


async def in_postgres(postgres: PostgresProcess) -> Place:
    url = postgres.create_schema()
    schema = url.rpartition("=")[2]
    async with open_postgres(url):  # makes the tables
        pass

    @asynccontextmanager
    async def opened(bytes_max: int) -> AsyncIterator[Blobs]:
        async with open_blobs(url, BlobSettings(bytes_max=bytes_max)) as blobs:
            yield DatabaseBlobs(blobs)

    def change(what: str) -> Callable[[Digest], object]:
        statement = f"UPDATE {schema}.{what} WHERE name = $1"
        return lambda digest: postgres.execute(statement, str(digest))

    older = f"blobs SET put_at = put_at - make_interval(secs => {LONG_SECONDS})"
    return Place(opened, change("blob_chunks SET content = '\\x00'"), change(older))


def in_bucket(s3: S3Process) -> Place:
    prefix = f"prefix/{RandomIds().uid()}"
    settings = S3Settings(BUCKET, prefix, s3.url, credentials=CREDENTIALS)

    @asynccontextmanager
    async def opened(bytes_max: int) -> AsyncIterator[Blobs]:
        yield S3Blobs(replace(settings, bytes_max=bytes_max), RandomIds())

    def damage(digest: Digest) -> None:
        for path in s3.objects(f"{prefix}/sha256/{digest.hexadecimal}"):
            path.write_bytes(bytes(path.stat().st_size))

    def age(digest: Digest) -> None:
        for path in s3.objects(f"{prefix}/sha256/{digest.hexadecimal}"):
            at_seconds = path.stat().st_mtime - LONG_SECONDS
            os.utime(path, (at_seconds, at_seconds))

    return Place(opened, damage, age)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Process]:
    try:
        with S3Process.started(tmp_path_factory.mktemp("s3")) as server:
            yield server
    except S3MissingError as error:
        pytest.skip(str(error))


async def place_of(request: pytest.FixtureRequest) -> Place:
    if request.param == "postgres":
        return await in_postgres(request.getfixturevalue("postgres"))
    return in_bucket(request.getfixturevalue("s3"))


@pytest.fixture(params=["postgres", "s3"])
async def place(request: pytest.FixtureRequest) -> Place:
    return await place_of(request)


@asynccontextmanager
async def replica(place: Place, cache: Path, *, cache_bytes_max: int = KEEP_BYTES_MAX) -> AsyncIterator[SharedKeep]:
    """A keep of a process with a cache of its own."""
    async with (
        FolderKeep(cache, is_cache=True, bytes_max=cache_bytes_max) as folder,
        place.opened(KEEP_BYTES_MAX) as blobs,
    ):
        yield SharedKeep(folder, blobs)


OpenKeep = Callable[[int], AbstractAsyncContextManager[ArtifactKeep]]


@pytest.fixture(params=["folder", "postgres", "s3"])
async def open_keep(request: pytest.FixtureRequest, tmp_path: Path) -> OpenKeep:
    """How to open a keep of each kind, with a limit in bytes."""
    if request.param == "folder":
        return lambda bytes_max: FolderKeep(tmp_path, bytes_max=bytes_max)
    place = await place_of(request)

    @asynccontextmanager
    async def opened(bytes_max: int) -> AsyncIterator[ArtifactKeep]:
        async with FolderKeep(tmp_path, is_cache=True) as folder, place.opened(bytes_max) as blobs:
            yield SharedKeep(folder, blobs)

    return opened


@pytest.fixture
async def keep(open_keep: OpenKeep) -> AsyncIterator[ArtifactKeep]:
    async with open_keep(KEEP_BYTES_MAX) as opened:
        yield opened


@pytest.fixture
async def replicas(place: Place, tmp_path: Path) -> AsyncIterator[tuple[SharedKeep, SharedKeep]]:
    """Two processes that share a place, with caches of their own."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(replica(place, tmp_path / name)) for name in "ab"]
        yield one, other


@pytest.mark.parametrize("content", [b"", MODULE, LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_read_back_by_its_digest(content: bytes, keep: ArtifactKeep):
    digest = await keep.put(content)
    assert digest == Digest.of(content)
    assert await keep.has(digest)
    assert await keep.read(digest) == content
    assert (await keep.verify(digest)).read_bytes() == content
    assert b"".join([piece async for piece in keep.pieces(digest)]) == content


async def test_what_was_put_is_there_after_a_restart(open_keep: OpenKeep):
    async with open_keep(KEEP_BYTES_MAX) as keep:
        digest = await keep.put(MODULE)
    async with open_keep(KEEP_BYTES_MAX) as keep:
        assert await keep.read(digest) == MODULE


async def test_a_missing_artifact_is_told(keep: ArtifactKeep):
    absent = Digest.of(b"never put")
    assert not await keep.has(absent)
    for look in (keep.read, keep.verify, lambda digest: anext(keep.pieces(digest))):
        with pytest.raises(ArtifactMissingError, match=str(absent)):
            await look(absent)


async def test_one_artifact_put_by_many_at_once_is_kept_once(keep: ArtifactKeep):
    async with asyncio.TaskGroup() as group:
        puts = [group.create_task(keep.put(LARGE)) for _ in range(4)]
    assert {put.result() for put in puts} == {Digest.of(LARGE)}
    assert await keep.read(Digest.of(LARGE)) == LARGE
    assert await keep.remove_unreferenced(set(), grace_seconds=0) == 1


async def test_a_full_keep_names_its_limit_and_keeps_nothing_of_what_it_refuses(open_keep: OpenKeep):
    async with open_keep(10) as keep:
        await keep.put(b"12345678")
        with pytest.raises(KeepFullError, match="10 bytes"):
            await keep.put(b"abc")
        await keep.put(b"12345678")
        await keep.put(b"ab")
        assert await keep.remove_unreferenced(set(), grace_seconds=0) == 2


async def test_removal_spares_the_referenced_and_the_young(keep: ArtifactKeep):
    referenced, forgotten = await keep.put(b"referenced"), await keep.put(LARGE)
    assert await keep.remove_unreferenced({referenced}, grace_seconds=LONG_SECONDS) == 0
    assert await keep.has(forgotten)
    assert await keep.remove_unreferenced({referenced}, grace_seconds=0) == 1
    assert await keep.read(referenced) == b"referenced"
    await keep.put(LARGE)
    assert await keep.read(forgotten) == LARGE


async def test_what_one_replica_put_the_other_has_also_after_the_first_is_gone(place: Place, tmp_path: Path):
    async with replica(place, tmp_path / "b") as other:
        async with replica(place, tmp_path / "a") as one:
            digests = [await one.put(content) for content in (MODULE, LARGE)]
            assert await other.read(digests[0]) == MODULE
        assert await other.read(digests[1]) == LARGE
        path = await other.verify(digests[1])
        assert path.is_relative_to(tmp_path / "b")


async def test_what_was_brought_once_is_not_brought_again(replicas: tuple[SharedKeep, SharedKeep], place: Place):
    one, other = replicas
    digest = await one.put(MODULE)
    path = await other.verify(digest)
    place.damage(digest)
    assert await other.verify(digest) == path
    assert path.read_bytes() == MODULE


async def test_a_cache_that_was_damaged_is_filled_again(replicas: tuple[SharedKeep, SharedKeep]):
    one, other = replicas
    digest = await one.put(MODULE)
    (await other.verify(digest)).write_bytes(b"rotten")
    assert await other.read(digest) == MODULE


async def test_a_damaged_artifact_reaches_nobody_and_the_next_put_mends_it(
    replicas: tuple[SharedKeep, SharedKeep], place: Place, tmp_path: Path
):
    one, other = replicas
    digest = await one.put(MODULE)
    place.damage(digest)
    with pytest.raises(ArtifactCorruptError, match=str(digest)):
        await other.verify(digest)
    assert not list((tmp_path / "b" / "sha256").glob("*/*"))
    await one.put(MODULE)
    assert await other.read(digest) == MODULE


async def test_a_full_cache_forgets_what_was_used_least_recently_and_brings_it_again(place: Place, tmp_path: Path):
    async with replica(place, tmp_path / "a") as one, replica(place, tmp_path / "b", cache_bytes_max=10) as other:
        digests = [await one.put(content) for content in (b"first", b"second", b"third")]
        for digest in (digests[0], digests[1], digests[0], digests[2]):
            await other.verify(digest)
        assert other.statistics()["bytes"] <= other.statistics()["bytes_max"]
        assert [await other.read(digest) for digest in digests] == [b"first", b"second", b"third"]
        with pytest.raises(KeepFullError, match="10 bytes"):
            await other.verify(await one.put(b"more than ten bytes"))


async def test_a_full_cache_spares_what_someone_goes_by_the_path_of(place: Place, tmp_path: Path):
    used: list[Path] = []
    async with (
        replica(place, tmp_path / "a") as one,
        FolderKeep(tmp_path / "b", is_cache=True, bytes_max=10, in_use=lambda: used) as folder,
        place.opened(KEEP_BYTES_MAX) as blobs,
    ):
        other = SharedKeep(folder, blobs)
        digests = [await one.put(content) for content in (b"first", b"other", b"third", b"in the way")]
        used.append(await other.verify(digests[0]))
        for digest in digests[1:3]:
            await other.verify(digest)
        assert used[0].read_bytes() == b"first"
        with pytest.raises(KeepFullError):
            await other.verify(digests[3])


async def test_an_artifact_of_the_time_before_there_were_replicas_is_shared_when_it_is_asked_for(
    place: Place, tmp_path: Path
):
    async with FolderKeep(tmp_path / "a") as alone:
        digest = await alone.put(MODULE)
    async with replica(place, tmp_path / "a") as one, replica(place, tmp_path / "b") as other:
        assert not await other.has(digest)
        assert await one.has(digest)
        assert await other.read(digest) == MODULE


async def test_two_replicas_that_remove_at_once_leave_what_one_would(replicas: tuple[SharedKeep, SharedKeep]):
    digests = [await replicas[number % 2].put(b"%d" % number) for number in range(60)]
    named = set(digests[:2])
    async with asyncio.TaskGroup() as group:
        for keep in replicas:
            group.create_task(keep.remove_unreferenced(named, grace_seconds=0))
    # A place may let one of them begin alone, and the other one find nothing left to do.
    await replicas[0].remove_unreferenced(named, grace_seconds=0)
    for digest in named:
        assert await replicas[1].read(digest)
    assert await replicas[1].remove_unreferenced(set(), grace_seconds=0) == len(named)


async def test_what_is_put_again_while_it_is_removed_is_there_afterwards(
    replicas: tuple[SharedKeep, SharedKeep], place: Place
):
    one, other = replicas
    digest = await one.put(MODULE)
    for _ in range(10):
        place.age(digest)
        async with asyncio.TaskGroup() as group:
            group.create_task(other.remove_unreferenced(set(), grace_seconds=LONG_SECONDS / 2))
            group.create_task(one.put(MODULE))
        async with place.opened(KEEP_BYTES_MAX) as blobs:
            assert b"".join([piece async for piece in blobs.pieces(digest)]) == MODULE


async def test_what_nothing_names_is_safe_for_its_grace_after_the_last_put_of_it(
    replicas: tuple[SharedKeep, SharedKeep], place: Place
):
    one, other = replicas
    renewed, forgotten = await one.put(b"renewed"), await one.put(b"forgotten")
    place.age(renewed)
    place.age(forgotten)
    await other.put(b"renewed")
    assert await one.remove_unreferenced(set(), grace_seconds=LONG_SECONDS / 2) == 1
    async with place.opened(KEEP_BYTES_MAX) as blobs:
        assert [await blobs.has(digest) for digest in (renewed, forgotten)] == [True, False]
