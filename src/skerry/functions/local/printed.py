"""What a process prints: read from its descriptors as it comes, and given to its run in lines, so many bytes of it."""

import asyncio
import os
from collections.abc import Callable

#: What one run may print to each of stdout and stderr; what is over it is dropped, and a line tells so.
OUTPUT_BYTES_MAX = 1 << 20

#: All that a pipe can hold, for who may not raise the system's own limit of it.
_READ_BYTES = 1 << 20


class Printed:
    """What comes out of one descriptor of a process: read as it comes, so that the process never waits for long.

    It is given at the end of the loop's turn in which it was read, when all answers that were there have been taken in:
    so what is printed behind an answer is not taken for what was printed before it.

    Args:
        descriptor: where it is read; closed by `close`.
        take: is given it.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._take = take
        #: What was read in this turn.
        self._held: list[bytes] = []
        self._is_open = True
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        """Read what is there."""
        try:
            more = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if not more:
            self._loop.remove_reader(self._descriptor)
            return
        if not self._held:
            self._loop.call_soon(self.give)
        self._held.append(more)

    def give(self) -> None:
        """Give what was read."""
        held, self._held = self._held, []
        for more in held:
            self._take(more)

    def drain(self) -> None:
        """Give all that is there now."""
        if self._is_open:
            self._read()
        self.give()

    def close(self) -> None:
        """Give all that is there, and stop reading."""
        self.drain()
        self._is_open = False
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)


class Lines:
    """What one run printed to one descriptor, as lines.

    Args:
        sink: takes them, as they come.
    """

    def __init__(self, sink: Callable[[list[str]], None]) -> None:
        self._sink = sink
        self._rest = bytearray()  # of a line that has not ended
        self._taken = self._dropped = 0

    def take(self, more: bytes) -> None:
        """Take in what was printed, as far as there is room."""
        room = max(OUTPUT_BYTES_MAX - self._taken, 0)
        self._taken += min(len(more), room)
        self._dropped += max(len(more) - room, 0)
        whole, newline, rest = more[:room].rpartition(b"\n")
        if newline:
            self._sink((bytes(self._rest) + whole).decode(errors="replace").splitlines() or [""])
            self._rest.clear()
        self._rest += rest

    def end(self) -> None:
        """Give the rest."""
        if self._rest:
            self._sink(self._rest.decode(errors="replace").splitlines())
        if self._dropped:
            self._sink([f"[{self._dropped} more bytes were dropped: a run may print {OUTPUT_BYTES_MAX}]"])
