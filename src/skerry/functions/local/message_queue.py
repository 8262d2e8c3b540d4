"""Messages that a function's process has at hand and has not begun: the queue is the system's, so both sides can take.

A process that is given one message at a time is woken for each, and waits for the next one while its answer is read.
So it gets several, one packet each, in a queue of the system's (a socket pair of packets). The process takes one when
it has answered the one before; whoever put them there holds that end as well, and can take back what has not begun:
where a call takes long, fails or is ended, the others go elsewhere. A packet is taken by one side only, so no message
is lost and none begins twice. Both sides take the eldest, and the process goes on taking meanwhile: so each packet ends
with a number, which tells what was taken back.

A message over `PACKET_BYTES_MAX` is in a file without a name, in memory, whose descriptor goes along with the packet:
so every message is one packet, and what one queue holds is bounded by what the system gives any socket to send.
"""

import os
import socket
from contextlib import suppress

from skerry.functions.local.frames import LENGTH

#: Messages that a process has, the one that it runs included: with 16 callers, 16 took 1,021 us of processor time a run
#: of all processes, 4 took 1,392.
MESSAGES_MAX = 16
#: So many fit into a socket's buffer of 208 KiB, what the system counts for each packet included.
PACKET_BYTES_MAX = 4096


class NotBegun(Exception):
    """A message was taken back before a process began it."""


class MessageQueue:
    """The messages of one process.

    Attributes:
        theirs: the end at which the process takes messages; it inherits it.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._is_open = True
        self._count = 0

    def put(self, frame: bytes) -> int:
        """Put a message behind the others; returns its number.

        Args:
            frame: as `frames.framed_message` made it.

        Raises:
            OSError: it can't be put.
        """
        self._count = (self._count + 1) % (1 << 32)
        number = LENGTH.pack(self._count)
        if len(frame) <= PACKET_BYTES_MAX:
            self._ours.send(frame + number)
        else:
            self._put_file(frame, number)
        return self._count

    def _put_file(self, frame: bytes, number: bytes) -> None:
        file = os.memfd_create("message")
        try:
            with memoryview(frame) as rest:
                written = LENGTH.size
                while written < len(frame):
                    written += os.write(file, rest[written:])
            socket.send_fds(self._ours, [frame[: LENGTH.size] + number], [file])
        finally:
            os.close(file)

    def take_back(self) -> set[int]:
        """Take all messages that the process has not; returns their numbers."""
        taken: set[int] = set()
        with suppress(BlockingIOError):
            while self._is_open and (packet := self.theirs.recv(PACKET_BYTES_MAX + LENGTH.size, socket.MSG_DONTWAIT)):
                taken.update(LENGTH.unpack(packet[-LENGTH.size :]))
        return taken

    def close(self) -> None:
        """Let the process find the end; nothing can be taken back any more."""
        self._is_open = False
        self._ours.close()
        self.theirs.close()
