"""Where a package's modules are looked for that were compiled ahead of time (scripts/compile_host.py).

They lie in a folder of their own, with a list of the sources that they were made of, and of what those import. They are
taken only where each is still the same: an edit is never shadowed by what was compiled before it, and a tree without
them works, too.
"""

import hashlib
import json
from collections.abc import Iterable, MutableSequence
from functools import cache
from pathlib import Path
from typing import Final

import skerry

#: Its folders are those of the packages.
FOLDER: Final = Path(skerry.__file__).parent / "_compiled"
LIST: Final = "sources.json"


def digests(sources: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each, by its path within the package `skerry`."""
    root = FOLDER.parent
    return {str(source.relative_to(root)): hashlib.sha256(source.read_bytes()).hexdigest() for source in sources}


@cache
def are_current() -> bool:
    """Tell whether there are compiled modules, of the sources as they are; the same for a process's whole life."""
    try:
        listed = json.loads((FOLDER / LIST).read_bytes())
        return isinstance(listed, dict) and digests(FOLDER.parent / source for source in listed) == listed
    except (OSError, ValueError):  # never compiled, cut off, or a source is gone
        return False


def look_there_first(package: str, path: MutableSequence[str]) -> None:
    """Have a package's modules taken from there where they are current.

    Args:
        package: its full name.
        path: its `__path__`.
    """
    if are_current():
        path.insert(0, str(FOLDER.joinpath(*package.split(".")[1:])))
