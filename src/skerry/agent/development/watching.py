"""Notices that something in a function's folder was saved.

Looks at names, sizes and times every few hundredths of a second: it works on every file system, also where no events
come (mounted folders, containers), and a function's folder is small. A larger one is looked at less often, so that
looking takes a tenth of a core at most.
"""

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

from skerry.agent.development.project import SKIPPED_FOLDERS, VARIABLES
from skerry.kit.tasks import run_blocking

LOOK_SECONDS = 0.04
#: Looking may take this share of the time.
_LOOK_SHARE = 0.1
#: Files beyond these are not watched.
FILES_MAX = 20_000

#: What is known of each file: path, size, time of its last change, and which file it is.
Stamp = tuple[tuple[str, int, int, int], ...]


class Watcher:
    """Watches a folder.

    Args:
        folder: the folder; hidden and installed parts of it are left out.
        executor: looks.
    """

    def __init__(self, folder: Path, executor: Executor) -> None:
        self._folder = folder
        self._executor = executor
        self._also: tuple[Path, ...] = ()

    def watch_also(self, *files: Path) -> None:
        """Watch files in folders that are left out, such as a binary that is built."""
        self._also = files

    async def stamp(self) -> Stamp:
        """Look, once."""
        return await run_blocking(self._executor, self._look)

    async def changed_since(self, stamp: Stamp) -> None:
        """Wait until the folder is another than it was."""
        while True:
            started = time.perf_counter()
            if await self.stamp() != stamp:
                return
            await asyncio.sleep(max(LOOK_SECONDS, (time.perf_counter() - started) / _LOOK_SHARE))

    def _look(self) -> Stamp:
        found = []
        for path in (*map(Path, _files(self._folder)), *self._also):
            try:
                status = path.stat()
            except OSError:
                continue  # it is being replaced: the next look tells
            if stat.S_ISREG(status.st_mode):
                found.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
            if len(found) >= FILES_MAX:
                break
        return tuple(sorted(found))


def _files(folder: Path) -> Iterator[str]:
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in SKIPPED_FOLDERS and not entry.name.startswith("."):
                            waiting.append(entry.path)
                    elif not entry.name.startswith(".") or entry.name == VARIABLES:
                        yield entry.path
        except OSError:
            continue  # a folder that was just removed
