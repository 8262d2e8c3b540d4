"""Files of this machine: read within the folders that the settings allow, regular files only, bounded."""

import os
import stat
from pathlib import Path

from skerry.artifacts.errors import FetchError


def read_file(path: str, directories: tuple[Path, ...], *, bytes_max: int) -> bytes:
    """Return a file's content; blocking.

    Raises:
        FetchError: it is not there, not readable, no regular file, outside of `directories`, or over `bytes_max`.
    """
    real = allowed_path(path, directories)
    try:
        content = _read_regular(real, bytes_max + 1)
    except OSError as error:
        raise FetchError("NotFound", f"{path} can't be read: {error.strerror}") from error
    if content is None:
        raise FetchError("NotFound", f"{path} is no regular file")
    if len(content) > bytes_max:
        raise FetchError("TooLarge", f"{path} is larger than the limit of {bytes_max} bytes")
    return content


def allowed_path(path: str, directories: tuple[Path, ...]) -> Path:
    """Return where a path really leads; raises FetchError where that is outside of `directories`. Blocking."""
    real = Path(path).resolve()
    if not any(real.is_relative_to(directory.resolve()) for directory in directories):
        raise FetchError(
            "EgressRefused", f"{path} is not in a folder that code may be read from: see the setting fetch_file_dirs"
        )
    return real


def _read_regular(path: Path, bytes_max: int) -> bytes | None:
    """Return the beginning of a regular file, None of anything else; nothing is waited for (pipes, devices, /proc)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max) or b""  # None of what would have to be waited for
    finally:
        os.close(descriptor)
