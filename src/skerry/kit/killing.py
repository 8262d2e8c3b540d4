"""Killing a process with all that it started, and waiting for its end no longer than that takes.

Owns the signal, the limit, and that a process whose start is cancelled ends (`started_group`). Does not own when a
process is killed otherwise, nor what it may do before (`processes`).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

from skerry.kit.deadlines import within
from skerry.kit.ending import begun, to_its_end
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: How long the kernel may take to end a process.
KILLED_SECONDS_MAX = 10.0
_READ_BYTES = 64 * 1024


async def started_group(
    name: str, start: Coroutine[Any, Any, asyncio.subprocess.Process]
) -> asyncio.subprocess.Process:
    """Start a process that leads a group; where the caller is cancelled meanwhile, the group is killed and has ended.

    A process runs before asyncio says so, and may have started others by then, of which asyncio would end none.

    Args:
        name: for the log.
        start: starts it, with `start_new_session`.
    """
    return await begun(f"start:{name}", start, partial(kill_group, name=name))


async def kill_group(process: asyncio.subprocess.Process, name: str) -> None:
    """Kill a process that leads a group, and the group; return once it has ended. A cancellation waits for that.

    What is left in its pipes is dropped: asyncio tells a process' end after that of its pipes, and stops reading a full
    one. Where another process holds a pipe open, or the disk does not answer, it is left after `KILLED_SECONDS_MAX`.

    Args:
        process: started with `start_new_session`; it may have ended.
        name: for the log.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await to_its_end(f"kill:{name}", killed(process, name), seconds_max=2 * KILLED_SECONDS_MAX)


async def killed(process: asyncio.subprocess.Process, name: str, *, is_heard: bool = False) -> None:
    """Wait for the end of a process that was killed, no longer than `KILLED_SECONDS_MAX`; then it is let go of.

    Args:
        process: the process.
        name: for the log.
        is_heard: whether somebody else reads its pipes.
    """
    try:
        with within(KILLED_SECONDS_MAX):
            for stream in () if is_heard else (process.stdout, process.stderr):
                while stream is not None and await stream.read(_READ_BYTES):
                    pass
            await process.wait()
    except TimeoutError:
        log.warning("process has not ended though it was killed", process=name, pid=process.pid)
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - what else holds our ends of its pipes
