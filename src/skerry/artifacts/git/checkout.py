"""Take a function's source files out of a git repository. Run as a child process: what comes in may be hostile.

    python -m skerry.artifacts.git.checkout FOLDER  <  one line of JSON, then the pack     ->  one JSON document
    {"commit": …, "directory": …, "path": … or null, …limits}    {"files": {path: text}} or {"problem": …}

Objects are read by dulwich, in Python, so no hook, filter, attribute or configuration of a repository is ever run or
followed. The process has a limit of memory (`address_space_bytes_max`); its parent ends it after a time.

Which files: those that a bundle can hold (`SOURCE_SUFFIXES`), as text, beneath `directory`. A submodule, a link that
leaves the repository, and an LFS pointer in the place of a source file are told, since the function would lack them.
"""

import io
import json
import posixpath
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich.errors import NotTreeError
from dulwich.object_store import BaseObjectStore
from dulwich.objects import S_ISGITLINK, Blob, Commit, ObjectID, Tag, Tree
from dulwich.repo import Repo

from skerry.artifacts.sources import SOURCE_SUFFIXES

#: Links that lead to links.
LINKS_MAX = 8
#: Folders within folders.
DEPTH_MAX = 64
#: Tags that name tags.
_TAGS_MAX = 8
_LFS = b"version https://git-lfs.github.com/spec/"
_SYMBOLIC_LINK = 0o120000


class RefusedError(Exception):
    """The repository can't be a function's source; the message is for its author."""


@dataclass
class _Budget:
    """What may still be taken."""

    entries: int
    files: int
    source_bytes: int

    def spend(self, name: str, amount: int, what: str) -> None:
        left = getattr(self, name) - amount
        if left < 0:
            raise RefusedError(f"the repository holds more than the limit of {what}: name a folder of it in directory")
        setattr(self, name, left)


class Checkout:
    """The files of one commit."""

    def __init__(self, store: BaseObjectStore, limits: dict[str, int]) -> None:
        self._store = store
        self._limits = limits
        self._budget = _Budget(limits["entries_max"], limits["files_max"], limits["source_bytes_max"])

    def files(self, commit: str, directory: str) -> dict[str, str]:
        """Return the text of each source file by its path below `directory`."""
        self._root = self._tree_of(commit)
        top = self._find(directory) if directory else (0o040000, self._root.id)
        tree = self._store[top[1]] if top else None
        if not isinstance(tree, Tree):
            raise RefusedError(f"the repository has no folder {directory} at commit {commit}")
        return dict(self._walk(tree, directory, "", 0))

    def _tree_of(self, commit: str) -> Tree:
        found = self._store[ObjectID(commit.encode())]
        for _ in range(_TAGS_MAX):
            if not isinstance(found, Tag):
                break
            found = self._store[found.object[1]]
        tree = self._store[found.tree] if isinstance(found, Commit) else None
        if not isinstance(tree, Tree):
            raise RefusedError(f"{commit} is no commit")
        return tree

    def _walk(self, tree: Tree, directory: str, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
        if depth > DEPTH_MAX:
            raise RefusedError(f"the repository has more than {DEPTH_MAX} folders within folders, at {prefix}")
        for entry in tree.iteritems():
            self._budget.spend("entries", 1, f"{self._limits['entries_max']} entries")
            path = prefix + entry.path.decode(errors="replace")
            full = posixpath.join(directory, path)
            mode = entry.mode or 0
            if S_ISGITLINK(mode):
                raise RefusedError(
                    f"{full} is a submodule, which is not fetched: put its files into the repository, "
                    "or depend on a package"
                )
            if mode & 0o170000 == 0o040000:
                below = self._store[entry.sha]
                if isinstance(below, Tree):
                    yield from self._walk(below, directory, f"{path}/", depth + 1)
                continue
            content = self._linked(full) if mode & 0o170000 == _SYMBOLIC_LINK else entry.sha
            if content is not None and posixpath.splitext(path)[1] in SOURCE_SUFFIXES:
                text = self._text(content, full)
                if text is not None:
                    yield path, text

    def _linked(self, path: str) -> ObjectID | None:
        """Follow a symbolic link within the repository; None where it ends at no file."""
        for _ in range(LINKS_MAX):
            found = self._find(path)
            if found is None:
                return None
            mode, object_id = found
            if mode & 0o170000 != _SYMBOLIC_LINK:
                return object_id if mode & 0o170000 == 0o100000 else None
            blob = self._store[object_id]
            target = blob.data.decode(errors="replace") if isinstance(blob, Blob) else ""
            led = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if target.startswith("/") or led == ".." or led.startswith("../"):
                raise RefusedError(f"{path} is a symbolic link that leaves the repository (to {target[:200]!r})")
            path = led
        raise RefusedError(f"{path} is reached by more than {LINKS_MAX} symbolic links")

    def _find(self, path: str) -> tuple[int, ObjectID] | None:
        try:
            mode, object_id = self._root.lookup_path(self._store.__getitem__, path.encode())
        except (KeyError, NotTreeError):
            return None
        return mode, object_id

    def _text(self, object_id: ObjectID, path: str) -> str | None:
        """Return a file's text; None for what is not text, such as an image with a wrong name."""
        blob = self._store[object_id]
        if not isinstance(blob, Blob) or not blob.data:
            return None
        content = blob.data
        if content.startswith(_LFS):
            raise RefusedError(f"{path} is in Git LFS, which is not fetched: put the file itself into the repository")
        self._budget.spend("files", 1, f"{self._limits['files_max']} source files")
        self._budget.spend("source_bytes", len(content), f"{self._limits['source_bytes_max']} bytes of source")
        try:
            return content.decode()
        except UnicodeDecodeError:
            return None


def opened(folder: str, path: str | None, pack: bytes) -> Repo:
    """Return the repository: that of a path, or one made of a pack."""
    if path is not None:
        inner = Path(path) / ".git"
        repository = Repo(str(inner if inner.is_dir() else path), bare=True)
        if (Path(repository.controldir()) / "objects" / "info" / "alternates").exists():
            raise RefusedError("the repository borrows objects of another one (alternates), which is not followed")
        return repository
    repository = Repo.init_bare(folder)
    store = repository.object_store
    file, commit, abort = store.add_pack()
    try:
        file.write(pack)
        commit()
    except BaseException:
        abort()
        raise
    return repository


def run(order: dict[str, Any], folder: str, pack: bytes) -> dict[str, Any]:
    """Do what a parent asks for; a refusal is an answer."""
    try:
        repository = opened(folder, order["path"], pack)
        commit = order["commit"] or _commit_of(repository, order["branch"])
        return {"commit": commit, "files": Checkout(repository.object_store, order).files(commit, order["directory"])}
    except RefusedError as error:
        return {"problem": str(error)}
    except KeyError as error:
        missing = error.args[0]
        name = missing.decode(errors="replace") if isinstance(missing, bytes) else missing
        return {"problem": f"the repository has no object {name}: is the commit right?"}


def _commit_of(repository: Repo, branch: str) -> str:
    """Return the commit of a branch of a repository on this machine; of HEAD for ""."""
    reference = f"refs/heads/{branch}".encode() if branch else b"HEAD"
    try:
        return repository.refs[reference].decode()  # type: ignore[index]
    except KeyError:
        known = sorted(name.decode(errors="replace") for name in repository.refs.as_dict(b"refs/heads"))[:20]  # type: ignore[arg-type]
        asked = f"no branch {branch}" if branch else "no commit (is HEAD's branch there?)"
        raise RefusedError(f"the repository has {asked}; its branches are: {', '.join(known) or 'none'}") from None


def _what_failed(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "the repository needs more memory than its checkout may take"
        cause = cause.__context__
    return f"the repository is damaged: {type(error).__name__} {str(error)[:200]}"


def main() -> None:
    """Read the order, and answer."""
    incoming = sys.stdin.buffer
    order = json.loads(incoming.readline())
    limit = order["address_space_bytes_max"]
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (order["seconds_max"],) * 2)
    try:
        answer = run(order, sys.argv[1], incoming.read())
    except Exception as error:  # noqa: BLE001 - at this process' edge: a hostile pack can make dulwich raise anything
        answer = {"problem": _what_failed(error)}
    with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as out:
        json.dump(answer, out)


if __name__ == "__main__":
    main()
