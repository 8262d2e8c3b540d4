"""What installs the packages of functions (pip, npm): processes that have their time, quoted where they fail."""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors

#: How long packages may take to install.
INSTALL_SECONDS_MAX = 600.0
#: How many characters of an installer's last words are told.
_SAID_CHARACTERS_MAX = 2000
#: How pip and npm, each in its own case, say that the disk is full.
_FULL = os.strerror(errno.ENOSPC).lower()


def install_packages(command: Sequence[str], manifest: str, folder: Path, environment: Mapping[str, str]) -> None:
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
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FunctionError(f"{manifest} took longer than {INSTALL_SECONDS_MAX:.0f} s to install") from error
    if done.returncode:
        kind = SystemError if _FULL in done.stderr.lower() else FunctionError
        raise kind(f"{manifest} could not be installed: {done.stderr.strip()[-_SAID_CHARACTERS_MAX:]}")
