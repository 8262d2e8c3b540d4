"""Messages on a connection to where a function runs: 4 bytes of length, big-endian, and as many of JSON."""

import asyncio
import json
import re
import struct
from contextlib import suppress
from typing import Any, cast

import orjson

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.messages import Message

#: A message to or from a function: context and payload, as JSON.
MESSAGE_BYTES_MAX = 16 << 20
#: How long a function may take to load.
LOAD_SECONDS_MAX = 60.0
#: What is taken in of messages that nobody waits for yet.
READ_AHEAD_BYTES_MAX = 1 << 16

_LENGTH = struct.Struct(">I")
#: What orjson would make another number of: an integer of more than 64 bits, all of which have so many digits.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def framed(body: bytes) -> bytes:
    """Return a message as it is sent."""
    return _LENGTH.pack(len(body)) + body


def framed_message(message: Message) -> bytes:
    """Return a message to a function as it is sent; raises SystemError where it can't be."""
    try:
        body = orjson.dumps(message.as_object(), option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise SystemError(f"the message to the function is no JSON: {error}") from error
    if len(body) > MESSAGE_BYTES_MAX:
        raise SystemError(f"the message to the function has {len(body)} bytes, more than {MESSAGE_BYTES_MAX}")
    return framed(body)


class MessageStream(asyncio.Protocol):
    """A connection on which messages go both ways; one task at a time receives.

    A protocol of its own, because a stream of asyncio's costs a run as much as all that is sent over it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what came, and wake who waits for it once it is a message."""
        self._held += data
        if self._waiter is None:
            if len(self._held) > READ_AHEAD_BYTES_MAX and self._transport and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
        elif self._has_message():
            self._wake()

    def _has_message(self) -> bool:
        """Tell whether a whole message is here, or enough of one to refuse it."""
        if len(self._held) < _LENGTH.size:
            return False
        length: int = _LENGTH.unpack_from(self._held)[0]
        return length > MESSAGE_BYTES_MAX or len(self._held) >= _LENGTH.size + length

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason, it is over
        """Tell who waits."""
        self._lost.set_result(None)
        self._wake()

    @property
    def is_open(self) -> bool:
        """Whether the other side is still there."""
        return not self._lost.done() and self._transport is not None and not self._transport.is_closing()

    def send(self, frame: bytes) -> None:
        """Send a message that was `framed`; where the other side has gone, the next `receive` tells."""
        if self._transport is not None and not self._lost.done():
            self._transport.write(frame)

    async def receive(self) -> Any:
        """Wait for one message; return it parsed.

        Raises:
            FunctionError: it is over `MESSAGE_BYTES_MAX`, or no JSON.
            ConnectionError: the other side has gone.
        """
        while not self._has_message():
            if self._lost.done():
                raise ConnectionResetError("the connection ended before a whole message had come")
            await self._wait()
        (length,) = _LENGTH.unpack_from(self._held)
        if length > MESSAGE_BYTES_MAX:
            raise FunctionError(f"the output has {length} bytes, more than {MESSAGE_BYTES_MAX}")
        end = _LENGTH.size + length
        body = self._held[_LENGTH.size : end]
        del self._held[:end]
        return _parsed(body)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def close(self) -> None:
        """Close the connection, whatever is still to be sent, and wait until it is."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.shield(self._lost)


def _parsed(body: bytearray) -> Any:
    """Parse a message; raises FunctionError. What orjson does not read as Python does, Python reads."""
    if not _LONG_NUMBER.search(body):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    try:
        return json.loads(body.decode())
    except ValueError as error:
        raise FunctionError(f"the output is no JSON: {error}") from error
