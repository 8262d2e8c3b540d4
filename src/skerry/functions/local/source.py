"""Writes a function's source into a folder: one file, or an archive of several."""

import io
from pathlib import Path

from skerry.functions.errors import FunctionError
from skerry.kit.files import is_full
from skerry.kit.tar import tarfile

#: Of all files of a source together, unpacked.
SOURCE_BYTES_MAX = 64 << 20
SOURCE_FILES_MAX = 10_000

#: Of the name of a file, as file systems have it.
_NAME_BYTES_MAX = 255

#: Among a deployment's own: leads to the packages that its image has, if it has any.
ENVIRONMENT = "image"

_GZIP = b"\x1f\x8b"


def write_source(source: bytes, folder: Path, file_name: str) -> None:
    """Write a source into an empty folder.

    Args:
        source: an archive (tar in gzip) of the folder's content, or the text of one file.
        folder: where to; it exists.
        file_name: the file's name, if it is one.

    Raises:
        FunctionError: what is wrong with the archive, and with which file; the name is none.
        OSError: the disk is full, or can't be written.
    """
    if not source.startswith(_GZIP):
        _check_size(len(source))
        _check_name(file_name)
        (folder / file_name).write_bytes(source)
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(source), mode="r:gz") as archive:
            _check(archive)
            archive.extractall(folder, filter="data")
    except tarfile.FilterError as error:  # whose own words have this machine's paths
        problem = (
            "is no file" if isinstance(error, tarfile.SpecialFileError) else "leads outside of the source's folder"
        )
        raise FunctionError(f"the source cannot be unpacked: {error.tarinfo.name!r} {problem}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        if is_full(error):
            raise
        raise FunctionError(f"the source cannot be unpacked: {error}") from error


def _check_name(name: str) -> None:
    if name in {"", ".", ".."} or "\0" in name or len(name.encode()) > _NAME_BYTES_MAX:
        raise FunctionError(f"Invalid function file or handler: {name[:_NAME_BYTES_MAX]!r} is no name of a file")


def _check(archive: tarfile.TarFile) -> None:
    """Refuse an archive that is too large, before any of it is written; `data` refuses what leads out of the folder."""
    total = 0
    for count, member in enumerate(archive):
        total += member.size
        _check_size(total)
        if count >= SOURCE_FILES_MAX:
            raise FunctionError(f"the source has more than {SOURCE_FILES_MAX} files")


def _check_size(size: int) -> None:
    if size > SOURCE_BYTES_MAX:
        raise FunctionError(f"the source has more than {SOURCE_BYTES_MAX} bytes unpacked")
