"""Files that are there in full or not at all, and that only their owner can read."""

import errno
import os
import secrets
import stat
from pathlib import Path

PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700


def make_private_directory(path: Path) -> None:
    """Create a directory, with its parents, that only its owner may enter; what exists is left as it is."""
    for folder in reversed((path, *path.parents)):  # `parents=True` would give those above another mode
        if not folder.is_dir():
            folder.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Create an empty file that only its owner may read; one that exists is left as it is."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE_FILE))


def close_to_others(path: Path) -> None:
    """Take from everyone but its owner what they may do with a file or a directory; raises OSError."""
    mode = stat.S_IMODE(path.stat().st_mode)
    others = stat.S_IRWXG | stat.S_IRWXO
    if mode & others:
        path.chmod(mode & ~others)


def write_private(path: Path, data: bytes) -> None:
    """Put a file in place whole, durable, and readable by its owner alone.

    A crash leaves the old file or the new one, never a part; raises OSError, and then the old file stays.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def is_full(error: Exception) -> bool:
    """Tell whether an error is that of a disk, or of somebody's share of it, without room."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to disk: without it, a loss of power may forget one that was just given."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
