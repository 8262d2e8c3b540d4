"""`skerry store ...`: copies of a control plane's log and artifacts, in another database or in a file, and their check.

Owns what belongs together: a log and the folder with its artifacts and keys. Does not own how a log is moved
(`store.moving`), nor the words about it.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import skerry
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.s3_settings import S3Settings
from skerry.engine.key_value_file import KeyValueStore
from skerry.kit.clock import SystemClock, rfc3339
from skerry.kit.errors import ConfigurationError
from skerry.kit.tasks import run_blocking
from skerry.main.bucket_artifacts import BucketArtifacts
from skerry.main.checking import ValueExaminer, check_artifacts, read_through
from skerry.main.configuration import artifact_settings, load_settings
from skerry.main.data_dir import DataDir
from skerry.main.kept_artifacts import KeptArtifacts
from skerry.main.setting_values import read_database
from skerry.store.moving.artifacts import ArtifactPlace
from skerry.store.moving.backup import BackupFile, Beside, Written, open_backup, write_backup
from skerry.store.moving.changes import Progress, Snapshot, Span
from skerry.store.moving.checking import Report, check_backup, check_database
from skerry.store.moving.databases import Database, DatabaseSnapshot, Incoming
from skerry.store.moving.errors import ArtifactGoneError, MovingError
from skerry.store.moving.key_values import KeyValuePlace
from skerry.store.moving.key_values import bring as bring_entries
from skerry.store.moving.postgres import PostgresDatabase
from skerry.store.moving.sqlite import SqliteDatabase
from skerry.store.moving.sqlite_key_values import SqliteKeyValues
from skerry.store.moving.transfer import Moved, move
from skerry.store.sealing.keys import LocalKeys


@dataclass(frozen=True, slots=True)
class Installation:
    """A database, and what lies outside of it.

    Attributes:
        data_dir: where artifacts and keys are; None where that was not told.
        bucket: has the artifacts instead; None where there is none.
    """

    database: Database
    data_dir: DataDir | None
    bucket: S3Settings | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How a log is moved.

    Attributes:
        force: replace what is there.
        artifacts: whether they go along.
        online: leave the copy open for what is written to the source meanwhile.
        skip_revisions: how far the next revision is beyond the newest one that was restored; without history then.
    """

    force: bool = False
    artifacts: bool = True
    online: bool = False
    skip_revisions: int = 0


@dataclass(frozen=True, slots=True)
class Arrived:
    """What was brought into a database.

    Attributes:
        key_values: how many of functions came along.
        artifacts: how many came along; None where they were left out.
    """

    log: Moved
    key_values: int
    artifacts: int | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        closed: how many sealed values were not looked into, as there are no keys.
    """

    report: Report
    closed: int


def installation(address: str, data_dir: Path | None) -> Installation:
    """Return what a URL names; beside a SQLite file there are its artifacts and keys.

    The settings in the data directory say whether artifacts are in a bucket.

    Raises:
        ConfigurationError: the URL, or one of those settings, is wrong.
    """
    parts = urlsplit(read_database(address))
    if parts.scheme == "sqlite":
        path = Path(unquote(parts.path))
        root = data_dir or path.parent
        return Installation(SqliteDatabase(path), DataDir(root), _bucket_of(root))
    if data_dir is None:
        return Installation(PostgresDatabase(address), None)
    return Installation(PostgresDatabase(address), DataDir(data_dir), _bucket_of(data_dir))


def _bucket_of(data_dir: Path) -> S3Settings | None:
    return artifact_settings(load_settings({"data_dir": str(data_dir)}, {})).bucket


async def copy(source: Installation, target: Installation, options: Options, progress: Progress) -> Arrived:
    """Copy a log into another database.

    Raises:
        MovingError: it can't be, and why; what is half done goes on when it is asked for again.
    """
    if source.database.name == target.database.name:
        raise ConfigurationError("--to: is the same database as --from")
    async with source.database.snapshot(alone=not options.online) as snapshot:
        _require_whole(snapshot, half_done=snapshot.half_done)
        async with target.database.incoming() as incoming:
            moved = await move(snapshot, incoming, progress, force=options.force)
            beside = _beside(snapshot, source, options)
            key_values = await bring_entries(beside.key_values.entries(), await _key_values_of(incoming, target))
            kept = beside.artifacts
            artifacts = await _bring(_each(kept, progress), incoming.artifacts, target) if kept else None
            await snapshot.confirm()
            if not options.online:
                await incoming.finish()
    return Arrived(moved, key_values, artifacts)


def _require_whole(snapshot: Snapshot, *, half_done: bool) -> None:
    if half_done:
        raise MovingError(f"{snapshot.name} is itself the half of a copy: run again the command that was filling it")


async def _each(kept: ArtifactPlace, progress: Progress) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    digests = await kept.digests()
    for number, digest in enumerate(digests):
        yield digest, kept.read(digest)
        progress("artifacts", number + 1, len(digests))


def _beside(snapshot: DatabaseSnapshot, source: Installation, options: Options) -> Beside:
    """Return what goes with a source's log: within its database, in its data directory, or in a bucket."""
    key_values = snapshot.key_values or SqliteKeyValues(_folder_of(source).key_values)
    artifacts: ArtifactPlace
    if source.bucket:
        artifacts = BucketArtifacts(source.bucket)
    else:
        artifacts = snapshot.artifacts or KeptArtifacts(_folder_of(source).artifacts)
    return Beside(key_values, artifacts if options.artifacts else None)


def _folder_of(place: Installation) -> DataDir:
    if place.data_dir is None:
        raise RuntimeError("a database that keeps the log alone has a data directory beside it")
    return place.data_dir


async def _key_values_of(incoming: Incoming, target: Installation) -> KeyValuePlace:
    """Return where a target keeps the keys and values of functions; a file is made where there is none."""
    if incoming.key_values:
        return incoming.key_values
    path = _folder_of(target).key_values
    with ThreadPoolExecutor(1, "key-values") as executor:
        await run_blocking(executor, lambda: KeyValueStore(path, SystemClock()).close())
    return SqliteKeyValues(path)


async def _bring(
    artifacts: AsyncIterator[tuple[str, AsyncIterator[bytes]]], within: ArtifactPlace | None, target: Installation
) -> int:
    """Keep artifacts where the target has its own, and return how many."""
    async with AsyncExitStack() as stack:
        if target.bucket:
            cache = FolderKeep(_folder_of(target).artifacts, bytes_max=target.bucket.bytes_max, is_cache=True)
            within = BucketArtifacts(target.bucket, await stack.enter_async_context(cache))
        elif within is None:
            directory = _folder_of(target).artifacts
            within = KeptArtifacts(directory, await stack.enter_async_context(FolderKeep(directory)))
        count = 0
        async for digest, pieces in artifacts:
            with suppress(ArtifactGoneError):
                await within.write(digest, pieces)
                count += 1
        return count


async def back_up(source: Installation, file: Path, options: Options, progress: Progress) -> Written:
    """Write a database as it is now into a file, while a control plane may use it.

    Raises:
        MovingError: it can't be written, or there is a file already.
    """
    made = {"at": rfc3339(SystemClock().now()), "by": f"skerry {skerry.__version__}"}
    async with source.database.snapshot() as snapshot:
        _require_whole(snapshot, half_done=snapshot.half_done)
        beside = _beside(snapshot, source, options)
        return await write_backup(BackupFile(file, replace=options.force), snapshot, beside, made, progress)


async def restore(file: Path, target: Installation, options: Options, progress: Progress) -> Arrived:
    """Bring a backup into a database.

    Raises:
        MovingError: it can't be, and why; what is half done goes on when it is asked for again.
    """
    async with open_backup(file) as backup, target.database.incoming() as incoming:
        moved = await move(backup, incoming, progress, force=options.force)
        key_values = await bring_entries(backup.key_values(), await _key_values_of(incoming, target))
        artifacts = None
        if options.artifacts and backup.has_artifacts:
            artifacts = await _bring(backup.artifacts(), incoming.artifacts, target)
        async for _ in backup.artifacts():
            pass  # what is left out is read, too: the end of the file is its check
        if options.skip_revisions:
            # Whoever asks for what is below is told that it is gone, and lists anew.
            beyond = backup.span.latest + options.skip_revisions
            await incoming.settle(Span(beyond, beyond, beyond))
        await incoming.finish()
    return Arrived(moved, key_values, artifacts)


async def check(source: Installation, options: Options, progress: Progress) -> Checked:
    """Look at a whole database; raises MovingError where it can't be opened."""
    examiner = _examiner(source.data_dir.encryption_keys if source.data_dir else None)
    async with source.database.snapshot() as snapshot:
        report = await check_database(snapshot, examiner.examine, progress)
        if kept := _beside(snapshot, source, options).artifacts:
            await check_artifacts(kept, examiner.named, report, progress)
    return Checked(report, examiner.closed)


async def check_file(file: Path, data_dir: Path | None, progress: Progress) -> Checked:
    """Look at a whole backup; raises MovingError where it is damaged."""
    examiner = _examiner(DataDir(data_dir).encryption_keys if data_dir else None)
    async with open_backup(file) as backup:
        report = await check_backup(backup, examiner.examine, progress)
        async for _ in backup.key_values():
            pass  # reading them is what finds damage
        async for digest, pieces in backup.artifacts():
            await read_through(digest, pieces, report)
    return Checked(report, examiner.closed)


def _examiner(keys: Path | None) -> ValueExaminer:
    return ValueExaminer(LocalKeys(keys, SystemClock()) if keys and keys.is_file() else None)
