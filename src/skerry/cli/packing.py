"""A function's source as it is sent: one file, or the content of a folder, as a tar in gzip.

Invariant: the same content packs to the same bytes, so what was uploaded once is known again by its digest.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from skerry.functions.local.source import SOURCE_BYTES_MAX, SOURCE_FILES_MAX
from skerry.kit.errors import ConfigurationError

#: Of the archive: what the server takes of one, in base64.
ARCHIVE_BYTES_MAX = 17 << 20
#: What tools leave in folders, and no function needs.
LEFT_OUT = frozenset({"__pycache__", ".git", ".venv"})


def packed(path: Path) -> bytes:
    """Pack a file, at the root, or a folder's content.

    Raises:
        ConfigurationError: there is too much of it; something in it leads out of it, or is neither file nor folder.
    """
    content, total = io.BytesIO(), 0
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for count, (name, entry) in enumerate(_entries(path)):
            _check_link(path, entry)
            if not entry.is_symlink() and not entry.is_file() and not entry.is_dir():
                raise ConfigurationError(f"{entry} is neither a file nor a folder: it can't be part of a source")
            total += entry.lstat().st_size if entry.is_file() else 0
            if count >= SOURCE_FILES_MAX or total > SOURCE_BYTES_MAX:
                limit = f"{SOURCE_FILES_MAX} files and {SOURCE_BYTES_MAX} bytes"
                raise ConfigurationError(f"{path} is too large for a source: at most {limit} are taken")
            archive.add(entry, name, recursive=False, filter=_anybodys)
    if len(content.getvalue()) > ARCHIVE_BYTES_MAX:
        packed_bytes = len(content.getvalue())
        raise ConfigurationError(f"{path} packs to {packed_bytes} bytes, and at most {ARCHIVE_BYTES_MAX} are taken")
    return content.getvalue()


def _entries(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield each entry with its name in the archive, folders before what is in them."""
    if path.is_file():
        yield path.name, path.resolve()
        return
    for entry in sorted(path.iterdir()):
        if entry.name in LEFT_OUT:
            continue
        yield entry.name, entry
        if entry.is_dir() and not entry.is_symlink():
            yield from ((f"{entry.name}/{name}", inner) for name, inner in _entries(entry))


def _check_link(root: Path, entry: Path) -> None:
    if entry.is_symlink() and not entry.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(f"{entry} leads out of {root}: put there what it leads to, or leave it out")


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Forget whose a file is, and since when."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
