"""The files that arguments and flags name: read whole within a bound, and told in a sentence where that can't be."""

import sys
from contextlib import nullcontext
from pathlib import Path

from skerry.kit.errors import ConfigurationError

#: Larger than anything that a command sends, but for the body of a request to a function.
FILE_BYTES_MAX = 64 * 1024 * 1024


def read_bytes(path: str | Path, flag: str, *, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """Read a file, or standard input for `-`.

    Args:
        path: of the file.
        flag: which argument or flag named it.
        bytes_max: of a file.

    Raises:
        ConfigurationError: it can't be read, or is larger.
    """
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else Path(path).open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigurationError(f"{flag}: {path} can't be read: {error.strerror}") from error
    if len(content) > bytes_max:
        raise ConfigurationError(f"{flag}: {path} is larger than {bytes_max} bytes")
    return content


def read_text(path: str | Path, flag: str) -> str:
    """Do as `read_bytes`, for text in UTF-8."""
    try:
        return read_bytes(path, flag).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{flag}: {path} is not UTF-8, from byte {error.start} on") from error
