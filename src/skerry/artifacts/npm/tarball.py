"""A package's tarball: checked against its sha512, and its source files laid out in a folder.

Only regular files of the kinds that a bundle can hold are written; links and devices never are. Blocking: call it off
the event loop.

Invariant: nothing is written outside of the folder, and nothing at all of a tarball whose digest is another.
"""

import hashlib
import io
import posixpath
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from skerry.artifacts.errors import BuildError, Diagnostic
from skerry.artifacts.npm.lock import Package
from skerry.artifacts.sources import SOURCE_SUFFIXES

#: One tarball, unpacked; its documents, images and machine code included.
UNPACKED_BYTES_MAX = 128 * 1024 * 1024
#: Entries of one tarball.
ENTRIES_MAX = 50_000


@dataclass
class Budget:
    """What all packages of one function may still write."""

    files: int
    content_bytes: int

    def spend(self, content_bytes: int) -> None:
        """Count a file; raises BuildError where it is one too many."""
        self.files -= 1
        self.content_bytes -= content_bytes
        if self.files < 0 or self.content_bytes < 0:
            what = "files" if self.files < 0 else "bytes"
            raise BuildError([Diagnostic(f"the dependencies hold more {what} than the limit allows")])


def unpack(tarball: bytes, package: Package, folder: Path, budget: Budget) -> None:
    """Write a package's files into a folder; raises BuildError where the tarball is not the one that the lock names."""
    if hashlib.sha512(tarball).digest() != package.sha512:
        raise _fault(package, "is not what the lock says: its sha512 is another")
    try:
        with tarfile.open(fileobj=io.BytesIO(_gunzipped(tarball, package)), mode="r:") as tar:
            for count, entry in enumerate(tar, start=1):
                if count > ENTRIES_MAX:
                    raise _fault(package, f"has more than {ENTRIES_MAX} entries")
                path = _path_of(entry.name, package)
                if entry.isreg() and posixpath.splitext(path)[1] in SOURCE_SUFFIXES:
                    budget.spend(entry.size)
                    _write(tar, entry, folder / path)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise _fault(package, f"is a damaged tarball: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _fault(package, "holds a file that is also a folder") from error


def _gunzipped(tarball: bytes, package: Package) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        content = decompressor.decompress(tarball, UNPACKED_BYTES_MAX + 1)
    except zlib.error as error:
        raise _fault(package, f"is a damaged gzip file: {error}") from error
    if len(content) > UNPACKED_BYTES_MAX:
        raise _fault(package, f"unpacks to more than the limit of {UNPACKED_BYTES_MAX} bytes")
    return content


def _path_of(name: str, package: Package) -> str:
    """Return an entry's path within the package: without its first folder, whatever that is called."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\\" in name or "\0" in name or name.startswith("/"):
        raise _fault(package, f"holds a path that leaves it: {name[:200]!r}")
    return "/".join(parts[1:])


def _write(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    file = tar.extractfile(entry)
    if file is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read())


def _fault(package: Package, message: str) -> BuildError:
    return BuildError([Diagnostic(f"the package {package.name}@{package.version} {message}")])
