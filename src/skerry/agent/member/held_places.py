"""Places below folders that programs write to, held so that no link which a program puts there leads out of them.

A path that was looked at can be another one when it is used: programs run meanwhile. So what this agent, which may be
root, does there it does to descriptors: it walks from one part of the path to the next, and takes no link for a part.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from skerry.agent.member.errors import ApplicationError
from skerry.kit.files import PRIVATE_DIRECTORY

#: Holds a place whatever it is, a link too, and opens nothing.
_HELD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def held(folder: Path, place: PurePosixPath, *, make: bool = False) -> Iterator[list[Path]]:
    """Hold each part of a path below a folder for the length of the block.

    Args:
        folder: that nobody else puts links above.
        place: below it.
        make: whether folders that are missing are made, for their owner alone.

    Yields:
        Paths of what is held, which lead there whatever becomes of the path.

    Raises:
        ApplicationError: a part of it is a link.
        OSError: it is not there.
    """
    with ExitStack() as stack:
        descriptor = os.open(folder, _HELD | os.O_DIRECTORY)
        stack.callback(os.close, descriptor)
        parts = []
        for name in place.parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, PRIVATE_DIRECTORY, dir_fd=descriptor)
            descriptor = os.open(name, _HELD, dir_fd=descriptor)
            stack.callback(os.close, descriptor)
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise ApplicationError(f"{str(place)!r} has become a link, which may lead out of its folder")
            parts.append(Path(f"/proc/self/fd/{descriptor}"))
        yield parts


def give(folder: Path, user: tuple[int, int]) -> None:
    """Make a folder and all that is in it a user's, but not what links lead to. Raises OSError."""
    for _, _, names, descriptor in os.fwalk(folder):
        os.chown(descriptor, *user)
        for name in names:
            os.chown(name, *user, dir_fd=descriptor, follow_symlinks=False)
