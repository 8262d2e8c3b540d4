"""Code as files that Envoy reads: a name for each digest, in one folder of the node.

Owns the files. Does not own where code comes from, nor who uses it.

Invariant: a file is complete before it has its name, and stays while it is in use, and some time after.
"""

import os
import shutil
from collections.abc import Collection
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from skerry.agent.functions import ArtifactSource
from skerry.agent.idle import Idle
from skerry.kit.clock import Clock
from skerry.kit.tasks import run_blocking


class CodeFiles:
    """The files of one folder.

    Args:
        directory: belongs to these files alone; must exist.
        artifacts: where code comes from.
        clock: measures the grace of files that are not needed any more.
        executor: for file work.
    """

    def __init__(self, directory: Path, artifacts: ArtifactSource, clock: Clock, executor: Executor) -> None:
        self._directory = directory
        self._artifacts = artifacts
        self._executor = executor
        self._placed: set[str] = set()
        self._idle = Idle(clock)

    async def place(self, digest: str, suffix: str) -> Path:
        """Return the file of some code.

        Args:
            digest: of the code.
            suffix: of the file's name, such as `.wasm`.

        Raises:
            SkerryError: it can't be had.
            OSError: it can't be written.
        """
        path = self._directory / f"{digest.removeprefix('sha256:')}{suffix}"
        if path.name not in self._placed:
            artifact = await self._artifacts.fetch(digest)
            await run_blocking(self._executor, partial(_place, artifact, path))
            self._placed.add(path.name)
        return path

    async def remove_idle(self, in_use: Collection[str]) -> None:
        """Remove the files that were in no use for `idle.GRACE_SECONDS`; `in_use` are paths."""
        present = await run_blocking(self._executor, partial(_names, self._directory))
        for name in self._idle.expired(present, {Path(path).name for path in in_use}):
            self._placed.discard(name)
            await run_blocking(self._executor, partial((self._directory / name).unlink, missing_ok=True))


def _place(artifact: Path, path: Path) -> None:
    """Give an artifact its second name; copy it where the folders are on two file systems."""
    aside = path.with_suffix(".incoming")
    aside.unlink(missing_ok=True)
    try:
        os.link(artifact, aside)
    except OSError:
        shutil.copyfile(artifact, aside)
    aside.replace(path)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
