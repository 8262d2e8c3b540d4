"""Who uses a SQLite file: a lock beside it, shared by those that keep a log in it, held alone by who moves one.

Beside it, because SQLite's own locks are gone as soon as a process closes any handle of the file itself.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry.kit.errors import StartError


@contextmanager
def used(path: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the use of a database file for the length of the block.

    Raises:
        StartError: who else uses it does not allow that, or the lock can't be made.
    """
    lock = path.with_name(f"{path.name}-use")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot open the database {path}: {lock}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"the database {path} is in use: stop the skerry that runs on it"
                if alone
                else f"the database {path} is being moved by a `skerry store` command: wait until that has ended"
            ) from error
        yield
    finally:
        os.close(descriptor)
