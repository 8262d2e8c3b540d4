"""A folder that every user of this machine may come to, which those of pytest are not."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def passable_folder() -> Iterator[Path]:
    """Have an empty one for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="skerry-passable-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
