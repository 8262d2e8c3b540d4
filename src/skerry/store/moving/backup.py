"""Writing a backup, and reading one: a `Snapshot` whose log lies in a file, with artifacts behind it."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from skerry.kit.files import PRIVATE_FILE, sync_directory
from skerry.kit.tasks import run_blocking
from skerry.store.moving import backup_file as form
from skerry.store.moving.artifacts import ArtifactPlace
from skerry.store.moving.changes import Change, Progress, Snapshot, Span, Tally, pack, unpack
from skerry.store.moving.errors import ArtifactGoneError, BackupDamagedError, MovingError
from skerry.store.moving.key_values import KeyValue, KeyValuePlace
from skerry.store.moving.key_values import pack as pack_entry
from skerry.store.moving.key_values import unpack as unpack_entries

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written into a backup.

    Attributes:
        digest: of the log.
        changes: how many there are.
        key_ids: of the encryption keys that it takes to read them.
        key_values: how many of functions there are.
        artifacts: how many there are.
        file_bytes: how large the file is.
    """

    digest: str
    changes: int
    key_ids: frozenset[str]
    key_values: int
    artifacts: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class BackupFile:
    """Where a backup is written.

    Attributes:
        replace: whether a file that is there is replaced, once the new one is whole.
    """

    path: Path
    replace: bool = False

    def create(self, draft: Path) -> BinaryIO:
        """Open a draft that nobody else can read. Blocking."""
        if self.path.exists() and not self.replace:
            raise MovingError(f"there is a file {self.path} already: --force replaces it")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        return os.fdopen(descriptor, "wb")

    def put(self, file: BinaryIO, draft: Path) -> None:
        """Give a draft its name, once it is on disk. Blocking."""
        file.flush()
        os.fsync(file.fileno())
        if self.replace:
            draft.replace(self.path)
        else:
            self._link(draft)
        sync_directory(self.path.parent)

    def _link(self, draft: Path) -> None:
        try:
            os.link(draft, self.path)  # never over a file that came meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as shares and sticks have
            if self.path.exists():
                raise
            draft.replace(self.path)


class _Thread:
    """The one thread that works with a file, and what its errors mean."""

    def __init__(self, executor: ThreadPoolExecutor, path: Path) -> None:
        self._executor = executor
        self._path = path

    async def do(self, call: Callable[[], T]) -> T:
        try:
            return await run_blocking(self._executor, call)
        except BackupDamagedError as error:
            raise BackupDamagedError(f"the backup {self._path} can't be used: {error.public}") from error
        except OSError as error:
            raise MovingError(f"the file {self._path} fails: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Beside:
    """What goes with a log.

    Attributes:
        key_values: of functions.
        artifacts: None leaves them out.
    """

    key_values: KeyValuePlace
    artifacts: ArtifactPlace | None


async def write_backup(
    target: BackupFile, source: Snapshot, beside: Beside, made: dict[str, str], progress: Progress
) -> Written:
    """Write a file with a log and what goes with it.

    Args:
        target: where.
        source: the log.
        beside: what goes with it.
        made: when and by which version.
        progress: told how far it is.

    Raises:
        MovingError: it can't be written.
    """
    draft = target.path.with_name(f".{target.path.name}.{secrets.token_hex(6)}")
    with ThreadPoolExecutor(1, "store-backup") as executor:
        thread = _Thread(executor, target.path)
        file = await thread.do(partial(target.create, draft))
        try:
            writer = _Writer(thread, await thread.do(partial(form.FrameWriter, file)), progress)
            written = await writer.write(source, beside, made)
            await thread.do(partial(target.put, file, draft))
            return written
        finally:
            await thread.do(partial(_let_go, file, draft))


def _let_go(file: BinaryIO, draft: Path) -> None:
    draft.unlink(missing_ok=True)  # first: closing writes what is left, which fails on a full disk
    file.close()


class _Writer:
    def __init__(self, thread: _Thread, frames: form.FrameWriter, progress: Progress) -> None:
        self._do = thread.do
        self._frames = frames
        self._progress = progress

    async def write(self, source: Snapshot, beside: Beside, made: dict[str, str]) -> Written:
        span = source.span
        header = {
            "made": made,
            "span": {"latest": span.latest, "compacted": span.compacted, "swept": span.swept},
            "changes": source.count,
            "artifacts": beside.artifacts is not None,
        }
        await self._do(partial(self._frames.document, form.HEADER, header))
        tally = await self._log(source)
        digest = tally.digest(span)
        log = {"changes": tally.changes, "digest": digest, "keys": sorted(tally.key_ids)}
        await self._do(partial(self._frames.document, form.LOG, log))
        entries = await self._key_values(beside.key_values)
        artifacts = await self._artifacts(beside.artifacts) if beside.artifacts else 0
        await self._do(self._frames.end)
        key_ids = frozenset(tally.key_ids)
        return Written(digest, tally.changes, key_ids, entries, artifacts, self._frames.bytes_written)

    async def _log(self, source: Snapshot) -> Tally:
        tally = Tally()
        async for changes in source.changes():
            tally.add(changes)
            packed = b"".join(map(pack, changes))
            await self._do(partial(self._frames.deflated, form.CHANGES, packed))
            self._progress("log", tally.changes, source.count)
        await source.confirm()
        return tally

    async def _key_values(self, place: KeyValuePlace) -> int:
        count = 0
        async for entries in place.entries():
            packed = b"".join(map(pack_entry, entries))
            await self._do(partial(self._frames.deflated, form.KEY_VALUES, packed))
            count += len(entries)
        return count

    async def _artifacts(self, artifacts: ArtifactPlace) -> int:
        digests, written = await artifacts.digests(), 0
        for number, digest in enumerate(digests):
            pieces = artifacts.read(digest)
            try:
                first = await anext(pieces, b"")
            except ArtifactGoneError:
                continue
            await self._do(partial(self._frames.document, form.ARTIFACT, {"digest": digest}))
            await self._do(partial(self._frames.frame, form.BYTES, first))
            async for piece in pieces:
                await self._do(partial(self._frames.frame, form.BYTES, piece))
            written += 1
            self._progress("artifacts", number + 1, len(digests))
        return written


@asynccontextmanager
async def open_backup(path: Path) -> AsyncIterator["Backup"]:
    """Open a backup for the length of the block.

    Raises:
        MovingError: it can't be read; BackupDamagedError: it is no backup of ours.
    """
    with ThreadPoolExecutor(1, "store-backup") as executor:
        thread = _Thread(executor, path)
        file = await thread.do(lambda: path.open("rb"))
        try:
            frames = await thread.do(partial(form.FrameReader, file))
            yield Backup(path, thread, frames, await thread.do(partial(_header, frames)))
        finally:
            await thread.do(file.close)


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands at the front."""

    made: dict[str, str]
    span: Span
    changes: int
    artifacts: bool


def _header(frames: form.FrameReader) -> _Header:
    kind, content = frames.next()
    header = form.document_of(content)
    match header:
        case {
            "made": dict(made),
            "span": {"latest": int(latest), "compacted": int(compacted), "swept": int(swept)},
            "changes": int(changes),
            "artifacts": bool(artifacts),
        } if kind == form.HEADER and min(latest, compacted, swept, changes) >= 0:
            return _Header(made, Span(latest, compacted, swept), changes, artifacts)
        case _:
            raise BackupDamagedError("it is damaged: there is no header")


class Backup:
    """A log in a file, as `open_backup` yields it: a `Snapshot`, whose parts can be read once, in their order.

    Attributes:
        made: when and by which version.
        has_artifacts: whether it was made with them.
    """

    def __init__(self, path: Path, thread: _Thread, frames: form.FrameReader, header: _Header) -> None:
        self.name = str(path)
        self.made = header.made
        self.span = header.span
        self.count = header.changes
        self.has_artifacts = header.artifacts
        self._do = thread.do
        self._frames = frames
        self._tally = Tally()
        #: The frame that was read last, and is not part of what was read.
        self._next: tuple[bytes, bytes] = (b"", b"")

    async def _advance(self) -> tuple[bytes, bytes]:
        self._next = await self._do(self._frames.next)
        return self._next

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        """Yield every change in the order of revisions."""
        while (await self._advance())[0] == form.CHANGES:
            changes = await self._do(partial(_changes_of, self._next[1]))
            self._tally.add(changes)
            yield changes

    async def confirm(self) -> None:
        """Insist that the changes are those that were written, after all of them were read."""
        kind, content = self._next
        found = self._tally.digest(self.span)

        def check() -> None:
            if kind != form.LOG:
                raise BackupDamagedError("it is damaged: the log has no end")
            if (digest := form.document_of(content).get("digest")) != found:
                raise BackupDamagedError(f"it is damaged: the log's digest is {found}, not {digest}")

        await self._do(check)

    async def key_values(self) -> AsyncIterator[Sequence[KeyValue]]:
        """Yield the keys and values of functions, behind the log."""
        while (await self._advance())[0] == form.KEY_VALUES:
            yield await self._do(partial(_entries_of, self._next[1]))

    async def artifacts(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Yield each artifact's digest and pieces, behind keys and values; behind the last one, the file is checked.

        An artifact's pieces can be read until the next one is asked for.
        """
        while self._next[0] == form.ARTIFACT:
            document = await self._do(partial(form.document_of, self._next[1]))
            pieces = self._pieces()
            yield str(document.get("digest")), pieces
            async for _ in pieces:
                pass  # what nobody wanted is read all the same: the end of the file is its check
        if self._next[0] != form.END:
            await self._do(_refuse_order)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (await self._advance())[0] == form.BYTES:
            yield self._next[1]


def _changes_of(content: bytes) -> list[Change]:
    try:
        return list(unpack(form.inflated(content)))
    except ValueError as error:
        raise BackupDamagedError(f"it is damaged: {error}") from error


def _entries_of(content: bytes) -> list[KeyValue]:
    try:
        return list(unpack_entries(form.inflated(content)))
    except ValueError as error:
        raise BackupDamagedError(f"it is damaged: {error}") from error


def _refuse_order() -> None:
    raise BackupDamagedError("it is damaged: its parts are out of order")
