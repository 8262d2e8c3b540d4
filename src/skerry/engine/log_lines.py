"""What a program writes to standard output or error, as lines of its function's log; a flood of it harms nobody else.

A program can write faster than a log can be kept. What is over the share of one request is dropped and counted, and
each further write waits: so a flood costs the worker next to nothing, for as long as the request's time limit allows.
"""

import time
from collections.abc import Callable

from skerry.engine.instances import LogSink
from skerry.engine.out_of_memory import tells_of_memory

#: One line; the rest of it is another line.
LOG_LINE_BYTES_MAX = 16 * 1024
#: Of one request. What it says beyond either is dropped, and one line tells how much.
LOG_LINES_MAX = 1_000
LOG_BYTES_MAX = 1024 * 1024
#: How long a write takes that is dropped.
FLOOD_PAUSE_SECONDS = 0.01

INFO_LEVEL = 1


class LogLines:
    """The lines of one stream of one request.

    Args:
        log: takes each line.
        before_pause: called before the calling thread sleeps.
    """

    def __init__(self, log: LogSink, before_pause: Callable[[], None]) -> None:
        self._log = log
        self._before_pause = before_pause
        self._rest = bytearray()
        self._lines = self._bytes = self._dropped_bytes = 0
        self._tells_of_memory = False

    @property
    def tells_of_memory(self) -> bool:
        """Whether one of the lines says that the program was given no memory."""
        return self._tells_of_memory or tells_of_memory(self._rest)

    def write(self, data: bytes) -> None:
        """Take what was written, at level info."""
        if self._is_full:
            self._pause(len(data))
            return
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._put(line)
        while len(self._rest) > LOG_LINE_BYTES_MAX:
            self._put(self._rest[:LOG_LINE_BYTES_MAX])
            del self._rest[:LOG_LINE_BYTES_MAX]

    def say(self, level: int, line: bytes) -> None:
        """Take one line of a level of its own."""
        if self._is_full:
            self._pause(len(line))
        else:
            self._put(line, level)

    def close(self) -> None:
        """Log the line that was begun, and what was dropped."""
        if self._rest:
            self._put(self._rest)
        if self._dropped_bytes:
            limits = f"{LOG_LINES_MAX} lines or {LOG_BYTES_MAX} bytes of one request"
            self._log(INFO_LEVEL, f"{self._dropped_bytes} bytes more were dropped: over {limits}".encode())

    @property
    def _is_full(self) -> bool:
        return self._lines >= LOG_LINES_MAX or self._bytes >= LOG_BYTES_MAX

    def _put(self, line: bytes | bytearray, level: int = INFO_LEVEL) -> None:
        if self._is_full:
            self._drop(len(line) + 1)
            return
        self._lines += 1
        self._bytes += len(line)
        self._tells_of_memory = self._tells_of_memory or tells_of_memory(line)
        self._log(level, bytes(line[:LOG_LINE_BYTES_MAX]))

    def _pause(self, size: int) -> None:
        self._drop(size)
        self._before_pause()
        time.sleep(FLOOD_PAUSE_SECONDS)

    def _drop(self, size: int) -> None:
        self._dropped_bytes += size
