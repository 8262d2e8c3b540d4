"""A folder that every user of this machine may come to, which those of pytest are not."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def passable_folder() -> Iterator[Path]:
    """Have an empty one for the length of the block; what this process makes is its own alone, as agents have it."""
    before = os.umask(0o077)
    try:
        yield from _made()
    finally:
        os.umask(before)


def _made() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="skerry-passable-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
