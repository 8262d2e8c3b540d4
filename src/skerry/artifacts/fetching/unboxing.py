"""From what was downloaded to the code in it: gzip, zstd and tar, one within the other.

Decides by content: boxes are known by their first bytes, whatever a server or a manifest calls them. Pure.

Invariant: what comes out begins as code of its form does, and nothing unpacked on the way was over `bytes_max`.
"""

import io
import tarfile
import zlib
from collections.abc import Callable

import zstandard

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.forms import WASM_MODULE, CodeForm

#: Boxes within boxes; a `.tar.gz` is two.
DEPTH_MAX = 4
#: Entries of a tar that are looked at.
TAR_ENTRIES_MAX = 10_000
#: Memory that a zstd frame may ask for; the format's own recommendation is 8 MiB.
_ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_USTAR_AT, _USTAR = 257, b"ustar"

#: Tells by an entry's path whether it is the code.
Wanted = Callable[[str], bool]


class _Damaged(Exception):
    """A box can't be opened; the text says why."""


def any_file(_: str) -> bool:
    """Want the first file, whatever its name."""
    return True


def unbox(content: bytes, *, bytes_max: int, wanted: Wanted = any_file, form: CodeForm = WASM_MODULE) -> bytes:
    """Return the code in `content`.

    Raises:
        FetchError: the form's reason where there is none, TooLarge where a box unpacks to more than `bytes_max`.
    """
    try:
        for _ in range(DEPTH_MAX + 1):
            if content.startswith(form.magic):
                return content
            content = _opened(content, bytes_max, wanted, form)
    except _Damaged as error:
        raise FetchError(form.reason, str(error)) from error
    raise FetchError(form.reason, f"the code is packed more than {DEPTH_MAX} times over")


def _opened(content: bytes, bytes_max: int, wanted: Wanted, form: CodeForm) -> bytes:
    if content.startswith(_GZIP):
        return _gunzip(content, bytes_max)
    if content.startswith(_ZSTD):
        return _unzstd(content, bytes_max)
    if content[_USTAR_AT : _USTAR_AT + len(_USTAR)] == _USTAR:
        return _untar(content, bytes_max, wanted, form)
    raise _Damaged(f"the code is no {form.name}, nor a gzip, zstd or tar file that holds one")


def _gunzip(content: bytes, bytes_max: int) -> bytes:
    members, unpacked_bytes = list[bytes](), 0
    try:
        while content.startswith(_GZIP):  # a gzip file is one member or more
            member = zlib.decompressobj(wbits=31)
            members.append(member.decompress(content, bytes_max + 1 - unpacked_bytes))
            unpacked_bytes += len(members[-1])
            if unpacked_bytes > bytes_max:
                raise _bomb(bytes_max)
            if not member.eof:
                raise _Damaged("the code is a gzip file that is cut short")
            content = member.unused_data
    except zlib.error as error:
        raise _Damaged(f"the code is a damaged gzip file: {error}") from error
    return b"".join(members)  # of one member, which is the rule, no copy: a copy of a large one stops all threads


def _unzstd(content: bytes, bytes_max: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
    try:
        with decompressor.stream_reader(content, read_across_frames=True) as reader:
            unpacked = reader.read(bytes_max + 1)
    except zstandard.ZstdError as error:
        raise _Damaged(f"the code is a damaged zstd file: {error}") from error
    if len(unpacked) > bytes_max:
        raise _bomb(bytes_max)
    return unpacked


def _untar(content: bytes, bytes_max: int, wanted: Wanted, form: CodeForm) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for count, entry in enumerate(tar, start=1):
                if entry.isreg() and wanted(entry.name):
                    return _extract(tar, entry, bytes_max)
                if count >= TAR_ENTRIES_MAX:
                    break
    except (tarfile.TarError, ValueError, OverflowError, OSError, EOFError) as error:
        raise _Damaged(f"the code is a damaged tar file: {error}") from error
    what = "no file" if wanted is any_file else f"no file named {form.file_name}"
    raise _Damaged(f"the code is a tar file with {what} among its first {TAR_ENTRIES_MAX} entries")


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, bytes_max: int) -> bytes:
    if entry.size > bytes_max:  # a sparse entry may be far longer than its tar
        raise _bomb(bytes_max)
    file = tar.extractfile(entry)
    found = file.read() if file is not None else b""
    if len(found) != entry.size:
        raise _Damaged("the code is a tar file that is cut short")
    return found


def _bomb(bytes_max: int) -> FetchError:
    return FetchError("TooLarge", f"the code unpacks to more than the limit of {bytes_max} bytes")
