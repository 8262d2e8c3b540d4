"""What installs the packages of functions (pip, npm): processes that have their time, quoted where they fail.

Invariant: none of them, nor what it started, goes on once `install_packages` has ended, cancelled or not: what it wrote
is about to be moved, or removed.
"""

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.kit.deadlines import within
from skerry.kit.killing import kill_group, started_group
from skerry.kit.processes import bound_to_this

#: How long packages may take to install.
INSTALL_SECONDS_MAX = 600.0
#: How many characters of an installer's last words are told, and how many bytes of them are looked through.
_SAID_CHARACTERS_MAX = 2000
_SAID_BYTES_MAX = 1 << 16
#: How pip and npm, each in its own case, say that the disk is full.
_FULL = os.strerror(errno.ENOSPC).lower()


async def install_packages(command: Sequence[str], manifest: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run an installer to its end.

    Args:
        command: what to run.
        manifest: the file that it reads, for messages.
        folder: where it runs.
        environment: its variables, and no others.

    Raises:
        FunctionError: what it says, or that it took too long.
        SystemError: likewise, where it says that the disk is full.
    """
    installer = await started_group(manifest, _started(command, folder, environment))
    try:
        with within(INSTALL_SECONDS_MAX) as limit:
            said = await _last_words(installer)
            code = await installer.wait()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise FunctionError(f"{manifest} took longer than {INSTALL_SECONDS_MAX:.0f} s to install") from error
    finally:
        await kill_group(installer, manifest)
    if code:
        kind = SystemError if _FULL in said.lower() else FunctionError
        raise kind(f"{manifest} could not be installed: {said.strip()[-_SAID_CHARACTERS_MAX:]}")


async def _started(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *bound_to_this(),
        *command,
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def _last_words(installer: asyncio.subprocess.Process) -> str:
    """Read what an installer says to its end, and return the last of it."""
    said = b""
    while installer.stderr is not None and (more := await installer.stderr.read(_SAID_BYTES_MAX)):
        said = (said + more)[-_SAID_BYTES_MAX:]
    return said.decode(errors="replace")
