"""Waiting for a state of something that has no event: a process, a file, a socket."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: How long anything may take on a busy machine.
SECONDS_MAX = 120.0
LOOK_SECONDS = 0.05


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds, and return what it returned; `what` says in a failure what was waited for."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"it took too long until {what}")
        time.sleep(LOOK_SECONDS)
    return found


def accepts(path: Path) -> bool:
    """Tell whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0
