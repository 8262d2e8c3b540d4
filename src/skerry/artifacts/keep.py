"""The keep: a folder of artifacts, each named by the sha256 of its bytes.

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
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, BadDigestError, KeepFullError
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)
T = TypeVar("T")

#: Size limit of a keep unless told otherwise: about 40,000 JavaScript functions, or 400 Wasm modules of 10 MB.
KEEP_BYTES_MAX = 4 * 1024**3

#: How long an artifact is safe from removal after its last put: longer than any time between
#: keeping an artifact and writing the reference to it, a restart included.
GRACE_SECONDS = 3600.0

#: Bytes read at once while hashing, so that verifying a big module takes little memory.
_READ_BYTES = 1024 * 1024


class ArtifactKeep:
    """A content-addressed store; use it as an async context manager.

    Args:
        directory: its folder, made when absent; one process at a time may use it.
        bytes_max: limit of all artifacts together; `put` raises KeepFullError beyond it.
        clock: stamps the artifacts, for the grace age.
    """

    def __init__(self, directory: Path, *, bytes_max: int = KEEP_BYTES_MAX, clock: Clock | None = None) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
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
        self._incoming.mkdir(parents=True, mode=0o700)
        sizes = [path.stat().st_size for _, path in self._kept()]
        self._artifacts, self._bytes = len(sizes), sum(sizes)

    @property
    def _incoming(self) -> Path:
        return self._directory / "incoming"

    def _kept(self) -> list[tuple[Digest, Path]]:
        """List every artifact; a file that someone else put there is left alone and told once a listing."""
        kept = []
        for path in (self._directory / "sha256").glob("*/*"):
            try:
                kept.append((Digest(path.name), path))
            except BadDigestError:
                log.warning("a foreign file lies in the artifact keep", path=str(path))
        return kept

    def _put(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        path = self.path(digest)
        present = path.is_file()
        before_bytes = path.stat().st_size if present else 0
        if not present or _hexadecimal_of(path) != digest.hexadecimal:
            self._require_room(len(content) - before_bytes)
            self._write(path, content)
            self._artifacts += 0 if present else 1
            self._bytes += len(content) - before_bytes
        now_seconds = self._clock.now().timestamp()
        os.utime(path, (now_seconds, now_seconds))
        return digest

    def _require_room(self, more_bytes: int) -> None:
        if self._bytes + more_bytes > self._bytes_max:
            raise KeepFullError(
                f"the artifact keep is full: {more_bytes} more bytes would exceed its limit of "
                f"{self._bytes_max} bytes ({self._bytes} in use)"
            )

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        for folder in (path.parent, path.parent.parent, self._directory):
            _sync_folder(folder)

    def _read(self, digest: Digest) -> bytes:
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissingError(f"no artifact {digest} is kept here") from error
        if Digest.of(content) != digest:
            raise _corrupt(digest)
        return content

    def _verify(self, digest: Digest) -> Path:
        path = self.path(digest)
        try:
            actual = _hexadecimal_of(path)
        except FileNotFoundError as error:
            raise ArtifactMissingError(f"no artifact {digest} is kept here") from error
        if actual != digest.hexadecimal:
            raise _corrupt(digest)
        return path

    def _remove_unreferenced(self, keep: AbstractSet[Digest], grace_seconds: float) -> int:
        newest_seconds = self._clock.now().timestamp() - grace_seconds
        removed = 0
        for digest, path in self._kept():
            status = path.stat()
            if digest in keep or status.st_mtime > newest_seconds:
                continue
            path.unlink()
            removed += 1
            self._artifacts -= 1
            self._bytes -= status.st_size
        return removed


def _corrupt(digest: Digest) -> ArtifactCorruptError:
    return ArtifactCorruptError(f"the kept file of {digest} is damaged; apply its source again to mend it")


def _hexadecimal_of(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Bring a rename in a folder to disk; without it a power loss may forget the name (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
