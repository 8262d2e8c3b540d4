"""Archives that applications bring, unpacked.

Owns what an archive may be. Invariants: it gives no file outside of its folder, and nothing that it says of itself is
read into memory beyond `INDEX_BYTES_MAX`: an archive of few bytes may say of itself that it holds millions of files.
"""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from skerry.agent.member.errors import ApplicationError
from skerry.kit.tar import tarfile

FILES_MAX = 100_000
#: Of all that an archive holds.
BYTES_MAX = 4 * 1024**3
#: Of what an archive says of its files: their names, and what else is told of each. 100,000 files take some 20 MB.
INDEX_BYTES_MAX = 32 * 1024**2
#: What each entry of a zip's index begins with; it has 46 bytes and more.
_ZIP_ENTRY = b"PK\x01\x02"
#: What the readers of archives raise for one that is damaged, encrypted, or of a form that they do not know.
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OverflowError, RuntimeError, ValueError),
)


class _BoundedReader(io.BufferedReader):
    """A file that gives no piece larger than an index may be, nor one with more entries.

    The readers of archives read an index whole, as long as it says that it is, before anybody can look at it. Contents
    of files they read in pieces that are far smaller.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        bounded = size if size is not None and 0 <= size <= INDEX_BYTES_MAX else INDEX_BYTES_MAX + 1
        piece = super().read(bounded)
        if len(piece) > INDEX_BYTES_MAX:
            raise ApplicationError(f"the archive's index has more than {INDEX_BYTES_MAX} bytes")
        if piece.count(_ZIP_ENTRY) > FILES_MAX:
            raise ApplicationError(f"the archive's index lists more than {FILES_MAX} files")
        return piece


def unpack(form: str, archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder: nothing is written where one of its files leads out of it.

    Args:
        form: zip, tar or tgz.
        archive: the file.
        folder: must not be there.

    Raises:
        ApplicationError: it is none, or not within the limits.
        OSError: a file can't be written.
    """
    try:
        if form == "zip":
            _unpack_zip(archive, folder)
        elif form in {"tar", "tgz"}:
            _unpack_tar(archive, folder, is_compressed=form == "tgz")
        else:
            raise ApplicationError(f"it can't be unpacked as {form!r}: zip, tar and tgz are known")
    except _UNREADABLE as error:
        raise ApplicationError(f"it can't be unpacked: {error}") from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with _BoundedReader(archive.open("rb", buffering=0)) as file, zipfile.ZipFile(file) as opened:
        _check((each.filename, each.file_size, 0) for each in opened.infolist())
        opened.extractall(folder)
        _keep_modes(opened, folder)


def _unpack_tar(archive: Path, folder: Path, *, is_compressed: bool) -> None:
    opened = gzip.GzipFile(archive) if is_compressed else archive.open("rb", buffering=0)
    # A GzipFile reads into buffers as a raw file does.
    with (
        opened,
        _BoundedReader(cast("io.RawIOBase", opened)) as file,
        tarfile.open(fileobj=file, mode="r:") as unpacked,
    ):
        _check((each.name, each.size, _told_bytes(each)) for each in unpacked)
        unpacked.extractall(folder, filter="data")


def _told_bytes(member: tarfile.TarInfo) -> int:
    """Return how much is told of a file of a tar, which is not in one place as with a zip."""
    return (
        len(member.name) + len(member.linkname) + sum(len(key) + len(text) for key, text in member.pax_headers.items())
    )


def _check(members: Iterable[tuple[str, int, int]]) -> None:
    """Look at the files of an archive, no further than it may be unpacked: the rest of a bomb is never read.

    Args:
        members: the name of each, its size, and how much else is told of it, in bytes.
    """
    unpacked_bytes = index_bytes = 0
    for number, (name, size, told) in enumerate(members, 1):
        unpacked_bytes += size
        index_bytes += told
        if number > FILES_MAX:
            raise ApplicationError(f"the archive has more than {FILES_MAX} files")
        if unpacked_bytes > BYTES_MAX:
            raise ApplicationError(f"the archive has more than {BYTES_MAX} bytes unpacked")
        if index_bytes > INDEX_BYTES_MAX:
            raise ApplicationError(f"the archive's index has more than {INDEX_BYTES_MAX} bytes")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ApplicationError(f"the archive's file {name!r} would be outside of its folder")


def _keep_modes(archive: zipfile.ZipFile, folder: Path) -> None:
    """Make executable what was: `extractall` does not."""
    for each in archive.infolist():
        if mode := (each.external_attr >> 16) & 0o777:
            (folder / each.filename).chmod(mode | 0o600 if not each.is_dir() else mode | 0o700)
