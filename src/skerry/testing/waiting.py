"""Waiting for a state of something that has no event: a process, a file, a socket."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: How long anything may take on a busy machine.
SECONDS_MAX = 120.0
#: What is over soon is noticed soon, and what takes a minute is not asked a thousand times.
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.01, 0.25
_LOOK_SHARE = 0.1


def until(holds: Callable[[], Any], what: str = "it holds", *, seconds_max: float = SECONDS_MAX) -> Any:
    """Wait until something holds, and return what it returned; `what` says in a failure what was waited for."""
    begun = time.monotonic()
    while not (found := holds()):
        waited = time.monotonic() - begun
        if waited > seconds_max:
            raise AssertionError(f"it took too long until {what}")
        time.sleep(min(max(LOOK_SECONDS_MIN, waited * _LOOK_SHARE), LOOK_SECONDS_MAX))
    return found


def accepts(path: Path) -> bool:
    """Tell whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0
