"""Lines on their way to a file with a bound, which is put aside when it is full. What is in them, `audit` decides.

Invariants: `add` never waits. A line that does not fit into the queue, or that the disk does not take, is lost, counted
and (by the disk) logged. What is in the file are whole lines, also where the disk took a part.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import Counter

from skerry.kit.files import PRIVATE_FILE
from skerry.kit.logs import get_logger

log = get_logger(__name__)
LOST = Counter("skerry_audit_events_lost_total", "Audit events that could not be kept.", ["why"])


#: Makes a line, with its end.
MakeLine = Callable[[], bytes]


class AuditFile:
    """A file of lines, and the older ones beside it: `.1` (the newest), `.2` and so on.

    Args:
        path: the file that is written.
        file_bytes_max: a file that reached this is put aside.
        files_max: files besides the one that is written.
        queue_events_max: lines that wait to be written.
    """

    def __init__(self, path: Path, *, file_bytes_max: int, files_max: int, queue_events_max: int) -> None:
        self._path = path
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._queue_events_max = queue_events_max
        self._queue: deque[MakeLine] = deque()

    def has_room(self) -> bool:
        """Tell whether another line fits into the queue; counts it as lost where none does."""
        if len(self._queue) < self._queue_events_max:
            return True
        LOST.labels("queue_events_max").inc()
        return False

    def add(self, make: MakeLine) -> None:
        """Queue a line; ask `has_room` before."""
        self._queue.append(make)

    def take(self) -> Sequence[bytes]:
        """Return what waits, and let it be gone from here.

        Lines are made here, all at once: made one by one, each would find its code gone from the processor's caches.
        """
        waiting, self._queue = self._queue, deque()
        return [make() for make in waiting]

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines; blocks, and never raises. Each call of the system takes Python's lock from the event loop."""
        if not lines:
            return
        try:
            self._make_room()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
            try:
                _append(descriptor, b"".join(lines))
            finally:
                os.close(descriptor)
        except OSError as error:
            LOST.labels("disk").inc(len(lines))
            log.warning("audit events are lost: the file can't be written", events=len(lines), error=str(error))

    def _make_room(self) -> None:
        """Put a full file aside, and the oldest away."""
        path = self._path
        try:
            if path.stat().st_size < self._file_bytes_max:
                return
        except FileNotFoundError:
            return
        for number in range(self._files_max - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def _append(descriptor: int, data: bytes) -> None:
    """Append all of it or, where that raises OSError, nothing."""
    before = os.fstat(descriptor).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise
