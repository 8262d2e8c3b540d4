"""The program of nodes, packed by the control plane that they join: this very Skerry, and all that it depends on.

    lib/                    what Python imports: skerry, and each distribution that it requires, with its metadata
    js-engine/dist/         the engine of JavaScript functions, where `skerry` looks for it

A device without the internet can be installed from it, and runs just what its control plane runs. It fits devices with
the same version of Python and the same kind of machine, since some of the distributions are compiled; the package says
which, so that the installer can tell before it fetches anything.

Owns the archive and its folder. Invariant: an archive under its name is complete; the name changes with the content.
"""

import asyncio
import gzip
import hashlib
import importlib.metadata
import platform
import re
import sys
import tarfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self

from packaging.requirements import Requirement

from skerry.kit.files import make_private_directory
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)

#: The fastest: twice the size of the best would be too much, a tenth more is not.
_COMPRESSION = 1
_READ_BYTES = 1024 * 1024
#: Threads that pack and read.
READERS_MAX = 2
_PREFIX = "skerry-runtime-"


@dataclass(frozen=True, slots=True)
class Runtime:
    """A packed program.

    Attributes:
        path: the archive: tar, gzip.
        sha256: of the archive, 64 hexadecimal digits.
        python: the version of Python that it fits, such as "3.11".
        machine: the kind of machine, as uname has it, such as "x86_64".
    """

    path: Path
    sha256: str
    python: str
    machine: str


class RuntimePackage:
    """Packs the program when it is first wanted; use it as an async context manager.

    Packing goes on when who wanted it goes away: a device that waited too long finds it done when it asks again.

    Args:
        directory: where the archive is kept; made when absent. Archives of other versions in it are removed.
        distribution: the program's name among installed distributions.
        package: the folder of its own code, which may be somewhere else than the distribution (an editable install).
        engine: the engine of JavaScript functions; one that is not there is left out.
    """

    def __init__(self, directory: Path, *, distribution: str, package: Path, engine: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._distribution = distribution
        self._package = package
        self._executor = ThreadPoolExecutor(max_workers=READERS_MAX, thread_name_prefix="runtime-package")
        self._packing: asyncio.Future[Runtime] | None = None
        self._ending = threading.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    async def packed(self) -> Runtime:
        """Return the archive; the first call makes it: in seconds, on a busy machine a minute. Raises OSError."""
        if self._packing is None:
            self._packing = asyncio.get_running_loop().run_in_executor(self._executor, self._pack)
            self._packing.add_done_callback(self._has_ended)
        return await asyncio.shield(self._packing)

    def _has_ended(self, packing: asyncio.Future[Runtime]) -> None:
        if packing.cancelled() or (error := packing.exception()) is None:
            return
        log.warning("the program of nodes is not packed", error=str(error))
        self._packing = None  # for the next who asks

    @asynccontextmanager
    async def content(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the archive for the length of the block; yields its bytes in pieces. Raises OSError."""
        path = (await self.packed()).path
        file = await run_blocking(self._executor, lambda: path.open("rb"))
        try:
            yield self._pieces(file)
        finally:
            await run_blocking(self._executor, file.close)

    async def _pieces(self, file: BinaryIO) -> AsyncIterator[bytes]:
        while piece := await run_blocking(self._executor, lambda: file.read(_READ_BYTES)):
            yield piece

    def _pack(self) -> Runtime:
        make_private_directory(self._directory)
        files = dict(sorted(self._files()))
        path = self._directory / f"{_PREFIX}{_content_key(files)}.tar.gz"
        if not path.exists():
            draft = path.with_suffix(".incoming")
            _write_archive(draft, self._until_the_end(files))
            draft.replace(path)
        for other in self._directory.glob(f"{_PREFIX}*"):
            if other != path:
                other.unlink(missing_ok=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return Runtime(path, _sha256_of(path), version, platform.machine())

    def _until_the_end(self, files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
        for name, path in files.items():
            if self._ending.is_set():
                raise InterruptedError("packing was broken off: the control plane ends")
            yield name, path

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Yield what is packed: its place in the archive, and where it lies."""
        for each in required_distributions(self._distribution):
            for file in each.files or ():
                if ".." not in file.parts and "__pycache__" not in file.parts and (path := _place(file)).is_file():
                    yield f"lib/{PurePosixPath(file)}", path
        for path in self._package.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"lib/{self._package.name}/{path.relative_to(self._package).as_posix()}", path
        if self._engine.is_file():
            yield f"js-engine/dist/{self._engine.name}", self._engine


def _place(file: importlib.metadata.PackagePath) -> Path:
    return Path(str(file.locate()))


def required_distributions(name: str) -> Sequence[importlib.metadata.Distribution]:
    """Return an installed distribution and all that it requires here, extras aside, by their names."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        distribution = importlib.metadata.distribution(waiting.pop())
        key = re.sub(r"[-_.]+", "-", distribution.name).lower()
        if key in found:
            continue
        found[key] = distribution
        wanted = [Requirement(text) for text in distribution.requires or ()]
        waiting += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [found[key] for key in sorted(found)]


def _content_key(files: dict[str, Path]) -> str:
    """Return what changes with the content: names, sizes and times, which are read faster than 300 MB."""
    key = hashlib.sha256(f"{sys.version_info[:2]} {platform.machine()}".encode())
    for name, path in files.items():
        status = path.stat()
        key.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return key.hexdigest()[:16]


def _write_archive(path: Path, files: Iterable[tuple[str, Path]]) -> None:
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_COMPRESSION, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source in files:
            with source.open("rb") as content:
                entry = archive.gettarinfo(arcname=name, fileobj=content)
                entry.uid = entry.gid = entry.mtime = 0
                entry.uname = entry.gname = ""
                entry.mode = 0o755 if entry.mode & 0o100 else 0o644
                archive.addfile(entry, content)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
