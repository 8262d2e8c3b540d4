"""The end of a process that runs until it is told to stop: by SIGINT or SIGTERM, in order, and within a limit.

Owns the signals, and the limit on all that follows. Does not own what the parts do to end.

Invariant: from the first signal on, the process ends within the limit, whatever hangs: a task, a thread, the event
loop, or the interpreter as it tidies up. What was still running then is in the log.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from skerry.kit.ending import still_running
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: For all parts together, beside the times to drain that are set: less than systemd's default, after which it kills.
END_SECONDS_MAX = 80.0
#: How often it is told meanwhile what still runs: the first time before most service managers kill, after 30 s.
TELL_SECONDS = 20.0
#: For the log's last line: then the kernel ends the process, also where no line of Python runs any more.
LAST_SECONDS = 5.0
EXIT_CODE = 1


@contextmanager
def ended_by_signals(seconds_max: float = END_SECONDS_MAX) -> Iterator[asyncio.Event]:
    """Have SIGINT and SIGTERM cancel the block, which ends without an error then; one after the first does so again.

    Args:
        seconds_max: how long it may take from the first signal until this process has ended.

    Yields:
        what is set from the first signal on: a cancellation may get lost in a library, and this does not.
    """
    loop, life, told = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def end() -> None:
        if not told.is_set():
            told.set()
            _limit(loop, seconds_max)
        if life is not None:
            life.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield told
    except asyncio.CancelledError:
        if not told.is_set():
            raise


def _limit(loop: asyncio.AbstractEventLoop, seconds_max: float) -> None:
    threading.Thread(target=_watch, args=(loop, seconds_max), name="end", daemon=True).start()
    signal.setitimer(signal.ITIMER_REAL, seconds_max + LAST_SECONDS)  # SIGALRM, which nobody handles


def _watch(loop: asyncio.AbstractEventLoop, seconds_max: float) -> None:
    """Tell what still runs until this process has ended, and end it at the limit; its children die with it."""
    left_seconds = seconds_max
    while left_seconds > TELL_SECONDS:
        time.sleep(TELL_SECONDS)
        left_seconds -= TELL_SECONDS
        log.warning("still ending", seconds=seconds_max - left_seconds, running=still_running(loop))
    time.sleep(left_seconds)
    log.error("the end took too long, ending at once", seconds=seconds_max, running=still_running(loop))
    os._exit(EXIT_CODE)
