"""A function's source files: which are accepted, and how they are laid out for the bundler.

`check` is pure and tells every fault at once. `staged` lays the files into a private, short-lived folder.
Both check paths, on purpose: the API validates what users send, this room trusts no caller.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from skerry.artifacts.errors import BuildError, Diagnostic, listed

#: Files of one function; more than that belongs into a package. The API takes 1,000; repositories hold more.
FILES_MAX = 5000

#: Bytes of all files of one function together. The API takes objects of 3 MiB; the rest is for other sources.
SOURCE_BYTES_MAX = 16 * 1024 * 1024

#: Bytes of one path: what file systems take, less room for the staging folder (PATH_MAX is 4096).
PATH_BYTES_MAX = 1024

#: Bytes of one part of a path (NAME_MAX of every common file system).
NAME_BYTES_MAX = 255

#: What bundles are made of; the rest of a repository or a package is left out.
SOURCE_SUFFIXES = frozenset(
    [
        ".js",
        ".mjs",
        ".cjs",
        ".jsx",
        ".ts",
        ".mts",
        ".cts",
        ".tsx",
        ".json",
        ".txt",
        ".html",
        ".css",
        ".svg",
        ".md",
        ".sql",
    ]
)

_PREFIX = "build-"


def check(files: Mapping[str, str], entrypoint: str) -> None:
    """Refuse files that cannot be a function's source.

    Raises:
        BuildError: with one diagnostic for each fault.
    """
    faults = [fault for path in files for fault in _path_faults(path)]
    faults += _size_faults(files)
    faults += [
        Diagnostic("is a file and also a folder of other files", file=path)
        for path in sorted(set(files) & {str(parent) for path in files for parent in PurePosixPath(path).parents})
    ]
    if entrypoint not in files:
        faults.append(Diagnostic(f'the entrypoint "{entrypoint}" is none of the files: {listed(sorted(files))}'))
    if faults:
        raise BuildError(faults)


@contextmanager
def staged(files: Mapping[str, str], parent: Path) -> Iterator[Path]:
    """Write checked files into a new folder beneath `parent`, readable by this user only; removed on exit.

    A package.json is added where there is none, so that one further up the disk has no say in the build.
    Blocking: call it off the event loop.
    """
    root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        for path, content in {"package.json": "{}", **files}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="") as file:
                file.write(content)
        yield root
    finally:
        shutil.rmtree(root)


def remove_leftovers(parent: Path) -> None:
    """Make the folder of all stagings, and empty it of what a killed process left there."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for leftover in parent.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover)


def _path_faults(path: str) -> list[Diagnostic]:
    parts = path.split("/")
    if not path.isprintable() or "\\" in path:
        why = "holds a backslash or a control character"
    elif path.startswith("/"):
        why = "is absolute"
    elif any(part in {"", ".", ".."} for part in parts):
        why = 'has an empty part, "." or ".."'
    elif len(path.encode()) > PATH_BYTES_MAX:
        why = f"is longer than {PATH_BYTES_MAX} bytes"
    elif any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
        why = f"has a part longer than {NAME_BYTES_MAX} bytes"
    else:
        return []
    return [Diagnostic(f"the path {path[:80]!r} {why}: give a plain relative path such as src/main.ts")]


def _size_faults(files: Mapping[str, str]) -> list[Diagnostic]:
    faults = [
        Diagnostic("holds a lone surrogate, which no UTF-8 file can", file=path)
        for path, content in files.items()
        if not _is_unicode(content)
    ]
    if len(files) > FILES_MAX:
        faults.append(Diagnostic(f"{len(files)} files exceed the limit of {FILES_MAX} files"))
    source_bytes = sum(len(content.encode(errors="replace")) for content in files.values())
    if source_bytes > SOURCE_BYTES_MAX:
        faults.append(Diagnostic(f"{source_bytes} bytes of source exceed the limit of {SOURCE_BYTES_MAX} bytes"))
    return faults


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
