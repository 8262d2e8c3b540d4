"""A file system that is soon full.

with small_disk(16 * 1024 * 1024) as disk:
    disk.fill()
    ...
    disk.make_room()
"""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PIECE_BYTES = 64 * 1024


class SmallDiskMissingError(Exception):
    """None can be had on this machine; the message says what was tried."""


@dataclass(frozen=True)
class SmallDisk:
    """One in memory.

    Attributes:
        directory: where it is mounted; any user may go into it.
    """

    directory: Path

    @property
    def _ballast(self) -> Path:
        return self.directory / "ballast"

    def fill(self, *, but_bytes: int = 0) -> None:
        """Take all that is free, or leave so much of it."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while self.free_bytes > but_bytes:
                    file.write(bytes(min(_PIECE_BYTES, self.free_bytes - but_bytes)))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    @property
    def free_bytes(self) -> int:
        """How much is free."""
        return shutil.disk_usage(self.directory).free

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()


@contextmanager
def small_disk(size_bytes: int) -> Iterator[SmallDisk]:
    """Mount one for the length of the block: by right, or in a namespace of its own where the system allows that.

    Raises:
        SmallDiskMissingError: the system allows neither.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0755", "tmpfs"]
    with tempfile.TemporaryDirectory(prefix="skerry-disk-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        if os.geteuid() == 0:
            _run([*mount, folder])
            try:
                yield SmallDisk(directory)
            finally:
                _run(["umount", "--lazy", folder])
            return
        # Whoever may not mount may in a namespace of his own, and see it through the process that lives there.
        shell = f'{" ".join(mount)} "{folder}" && echo mounted && exec cat'
        arguments = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", shell]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as holder:
            if not holder.stdout or holder.stdout.readline() != "mounted\n":
                raise SmallDiskMissingError(f"no namespace to mount in: {holder.communicate()[1].strip()}")
            try:
                yield SmallDisk(Path(f"/proc/{holder.pid}/root{folder}"))
            finally:
                holder.communicate()  # the end of its input ends it


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SmallDiskMissingError(f"{' '.join(command)}: {done.stderr.strip()}")
