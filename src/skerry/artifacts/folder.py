"""A keep in a folder: of one process, or a process' cache of what others share (`shared.py`).

    <directory>/sha256/<first two digits>/<64 digits>
    <directory>/incoming/                             half-written files; emptied at start

Owns the folder and its size. Does not own what is referenced: `remove_unreferenced` is told.

Invariant: a file under `sha256/` is complete and on disk before its name appears (written aside, fsynced,
renamed, the folder fsynced), so a crash leaves the whole artifact or none. All file work runs on one thread
of the keep's own: it blocks no event loop, and puts, removals and the byte count cannot race.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, BadDigestError, KeepFullError
from skerry.artifacts.keep import GRACE_SECONDS, KEEP_BYTES_MAX
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.files import make_private_directory
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)
T = TypeVar("T")

#: Bytes read at once while hashing, so that verifying a big module takes little memory.
_READ_BYTES = 1024 * 1024


class FolderKeep:
    """An `ArtifactKeep` in a folder; use it as an async context manager.

    Args:
        directory: its folder, made when absent; one process at a time may use it.
        bytes_max: limit of all artifacts together; `put` raises KeepFullError beyond it.
        clock: stamps the artifacts, for the grace age.
        is_cache: whether what it holds can be had again: then at the limit, what was used least recently makes room.
        in_use: the files that a cache may not forget, because someone on this machine goes by their paths.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int = KEEP_BYTES_MAX,
        clock: Clock | None = None,
        is_cache: bool = False,
        in_use: Callable[[], Collection[Path]] = tuple,
    ) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._is_cache = is_cache
        self._in_use = in_use
        self._clock = clock or SystemClock()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="artifact-keep")
        self._artifacts = 0
        self._bytes = 0

    async def __aenter__(self) -> Self:
        await self._run(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True)

    def path(self, digest: Digest) -> Path:
        """Return where an artifact lies, or would lie; it says nothing about its being there."""
        return self._directory / "sha256" / digest.hexadecimal[:2] / digest.hexadecimal

    def scratch(self) -> BinaryIO:
        """Open a file without a name, on the disk of the keep: for what may be too much for memory on its way here."""
        return tempfile.TemporaryFile(dir=self._incoming)

    async def put(self, content: bytes) -> Digest:
        """Keep some bytes; when it returns they are on disk.

        Putting what is kept already renews its grace age, and mends the file if it was damaged.

        Raises:
            KeepFullError: the keep would outgrow its limit; nothing was written.
        """
        return await self._run(lambda: self._put(content))

    async def take(self, digest: Digest, pieces: AsyncIterator[bytes]) -> Path:
        """Keep an artifact that arrives in pieces, in constant memory, and return its path.

        Raises:
            ArtifactCorruptError: it is not what its name promises; nothing was kept.
            KeepFullError: as `put`.
        """
        descriptor, name = await self._run(lambda: tempfile.mkstemp(dir=self._incoming))
        aside, sha256, size_bytes = Path(name), hashlib.sha256(), 0
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for piece in pieces:
                    size_bytes += len(piece)
                    self._require_size(size_bytes)
                    await self._run(partial(_add, piece, file, sha256))
                await self._run(lambda: _sync(file))
            if sha256.hexdigest() != digest.hexadecimal:
                raise ArtifactCorruptError(f"what came for {digest} is damaged; apply its source again to mend it")
            await self._run(lambda: self._take(digest, aside, size_bytes))
        finally:
            await self._run(lambda: aside.unlink(missing_ok=True))
        return self.path(digest)

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is kept, without looking at its content."""
        return await self._run(self.path(digest).is_file)

    async def read(self, digest: Digest) -> bytes:
        """Return an artifact's bytes, verified.

        Raises:
            ArtifactMissingError: it is not kept.
            ArtifactCorruptError: the file's content is not what its name promises.
        """
        return await self._run(lambda: self._read(digest))

    async def verify(self, digest: Digest) -> Path:
        """Check an artifact's content, in constant memory, and return its path; raises like `read`."""
        return await self._run(lambda: self._verify(digest))

    async def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield an artifact's bytes, verified before the first; raises like `read`.

        What is removed meanwhile is yielded to its end.
        """
        file = await self._run(lambda: self._verify(digest).open("rb"))
        try:
            while piece := await self._run(lambda: file.read(_READ_BYTES)):
                yield piece
        finally:
            file.close()

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove every artifact that is not in `keep` and whose last put is `grace_seconds` ago.

        The grace age covers the time in which an artifact is kept but not yet written down as referenced.

        Returns:
            How many were removed.
        """
        return await self._run(lambda: self._remove_unreferenced(keep, grace_seconds))

    def statistics(self) -> dict[str, int]:
        """Return how many artifacts are kept, their bytes, and the limit in bytes."""
        return {"artifacts": self._artifacts, "bytes": self._bytes, "bytes_max": self._bytes_max}

    async def _run(self, call: Callable[[], T]) -> T:
        return await run_blocking(self._executor, call)

    def _open(self) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        make_private_directory(self._incoming)
        sizes = [path.stat().st_size for _, path in kept_files(self._directory)]
        self._artifacts, self._bytes = len(sizes), sum(sizes)

    @property
    def _incoming(self) -> Path:
        return self._directory / "incoming"

    def _put(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        path = self.path(digest)
        if not path.is_file() or _hexadecimal_of(path) != digest.hexadecimal:
            self._make_room(path, len(content))
            descriptor, aside = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    _sync(file)
                self._place(digest, Path(aside), len(content))
            finally:
                Path(aside).unlink(missing_ok=True)
        self._touch(path)
        return digest

    def _take(self, digest: Digest, aside: Path, size_bytes: int) -> None:
        self._make_room(self.path(digest), size_bytes)
        self._place(digest, aside, size_bytes)

    def _place(self, digest: Digest, aside: Path, size_bytes: int) -> None:
        """Give a synced file its name, durably, in the place of a damaged one."""
        path = self.path(digest)
        before_bytes = path.stat().st_size if path.is_file() else None
        make_private_directory(path.parent)
        aside.replace(path)
        self._touch(path)
        for folder in (path.parent, path.parent.parent, self._directory):
            _sync_folder(folder)
        self._artifacts += 1 if before_bytes is None else 0
        self._bytes += size_bytes - (before_bytes or 0)

    def _touch(self, path: Path) -> None:
        now_seconds = self._clock.now().timestamp()
        os.utime(path, (now_seconds, now_seconds))

    def _require_size(self, size_bytes: int) -> None:
        """Refuse what would have no place in an empty keep."""
        if size_bytes > self._bytes_max:
            raise KeepFullError(
                f"the artifact, of {size_bytes} bytes or more, exceeds the keep's limit of {self._bytes_max} bytes"
            )

    def _make_room(self, path: Path, size_bytes: int) -> None:
        """See to it that a file can have this size; raises KeepFullError."""
        self._require_size(size_bytes)
        more_bytes = size_bytes - (path.stat().st_size if path.is_file() else 0)
        excess_bytes = self._bytes + more_bytes - self._bytes_max
        if excess_bytes > 0 and self._is_cache:
            excess_bytes -= self._remove_least_recent(excess_bytes, spared=path)
        if excess_bytes > 0:
            raise KeepFullError(
                f"the artifact keep is full: {more_bytes} more bytes would exceed its limit of "
                f"{self._bytes_max} bytes ({self._bytes} in use)"
            )

    def _remove_least_recent(self, wanted_bytes: int, *, spared: Path) -> int:
        """Remove what was used least recently; returns how many bytes are free now, `wanted_bytes` where there are."""
        freed_bytes = 0
        staying = {spared, *self._in_use()}
        files = sorted((path.stat().st_mtime, path) for _, path in kept_files(self._directory) if path not in staying)
        for _, path in files:
            if freed_bytes >= wanted_bytes:
                break
            freed_bytes += self._remove(path)
        return freed_bytes

    def _remove(self, path: Path) -> int:
        """Remove an artifact; returns its bytes."""
        size_bytes = path.stat().st_size
        path.unlink()
        self._artifacts -= 1
        self._bytes -= size_bytes
        return size_bytes

    def _read(self, digest: Digest) -> bytes:
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissingError(f"no artifact {digest} is kept here") from error
        if Digest.of(content) != digest:
            raise _corrupt(digest)
        self._note_use(digest)
        return content

    def _verify(self, digest: Digest) -> Path:
        path = self.path(digest)
        try:
            actual = _hexadecimal_of(path)
        except FileNotFoundError as error:
            raise ArtifactMissingError(f"no artifact {digest} is kept here") from error
        if actual != digest.hexadecimal:
            raise _corrupt(digest)
        self._note_use(digest)
        return path

    def _note_use(self, digest: Digest) -> None:
        """Remember a use, where the order of uses decides what goes. Elsewhere the time is that of the last put."""
        if self._is_cache:
            self._touch(self.path(digest))

    def _remove_unreferenced(self, keep: AbstractSet[Digest], grace_seconds: float) -> int:
        newest_seconds = self._clock.now().timestamp() - grace_seconds
        removed = 0
        for digest, path in kept_files(self._directory):
            if digest in keep or path.stat().st_mtime > newest_seconds:
                continue
            self._remove(path)
            removed += 1
        return removed


def kept_files(directory: Path) -> list[tuple[Digest, Path]]:
    """List every artifact; a file that someone else put there is left alone and told once a listing."""
    kept = []
    for path in (directory / "sha256").glob("*/*"):
        try:
            kept.append((Digest(path.name), path))
        except BadDigestError:
            log.warning("a foreign file lies in the artifact keep", path=str(path))
    return kept


def _corrupt(digest: Digest) -> ArtifactCorruptError:
    return ArtifactCorruptError(f"the kept file of {digest} is damaged; apply its source again to mend it")


def _hexadecimal_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(piece: bytes, file: BinaryIO, sha256: "hashlib._Hash") -> None:
    file.write(piece)
    sha256.update(piece)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring a rename in a folder to disk; without it a power loss may forget the name (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
