"""Messages on a connection to where a function runs: 4 bytes of length, big-endian, and as many of JSON."""

import asyncio
import json
import string
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import orjson

from skerry.functions.errors import FunctionError, SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.messages import Message
from skerry.kit.deadlines import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: A message to or from a function: context and payload, as JSON.
MESSAGE_BYTES_MAX = 16 << 20
#: How long a function may take to load.
LOAD_SECONDS_MAX = 60.0
#: What is taken in of messages that nobody waits for yet.
READ_AHEAD_BYTES_MAX = 1 << 16

LENGTH = struct.Struct(">I")
#: What orjson would make another number of: an integer of more than 64 bits, all of which have so many digits. They are
#: looked for where every digit is a zero and all else a space: a twentieth of what a regular expression takes.
_LONG_NUMBER = b"0" * 19
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte) in string.digits else ord(" ") for byte in range(256))


def framed(body: bytes) -> bytes:
    """Return a message as it is sent."""
    return LENGTH.pack(len(body)) + body


def framed_message(message: Message) -> bytes:
    """Return a message to a function as it is sent; raises SystemError where it can't be."""
    body = message.as_json()
    if len(body) > MESSAGE_BYTES_MAX:
        raise SystemError(f"the message to the function has {len(body)} bytes, more than {MESSAGE_BYTES_MAX}")
    return framed(body)


class MessageStream(asyncio.Protocol):
    """A connection on which messages go both ways; what comes goes to who expects it, in the order of their asking.

    A protocol of its own, because a stream of asyncio's costs a run as much as all that is sent over it.

    Attributes:
        on_end: called when the other side has gone, before those who expect a message are told.
        sift: takes what comes between the messages that are expected, as True tells.
    """

    def __init__(self) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self.sift: Callable[[bytearray], bool] = lambda _: False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._expected: deque[asyncio.Future[bytearray]] = deque()
        self._is_paused = False
        self._lost = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what came, and hand on what is a whole message and expected."""
        self._held += data
        self._hand_on()
        if len(self._held) > READ_AHEAD_BYTES_MAX and not self._expected and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _hand_on(self) -> None:
        held = self._held
        while self._expected and len(held) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(held)
            end = LENGTH.size + length
            if length > MESSAGE_BYTES_MAX:
                error = FunctionError(f"the output has {length} bytes, more than {MESSAGE_BYTES_MAX}")
                _tell(self._expected.popleft(), error)
                self.abort()  # what follows can't be told apart any more
                return
            if len(held) < end:
                return
            body = held[LENGTH.size : end]
            del held[:end]
            if not self.sift(body):
                _tell(self._expected.popleft(), body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason, it is over
        """Tell who expects a message that there is none."""
        self._lost.set_result(None)
        self.on_end()
        while self._expected:
            _tell(
                self._expected.popleft(), ConnectionResetError("the connection ended before a whole message had come")
            )

    @property
    def is_open(self) -> bool:
        """Whether the other side is still there."""
        return not self._lost.done() and self._transport is not None and not self._transport.is_closing()

    def send(self, frame: bytes) -> None:
        """Send a message that was `framed`; where the other side has gone, the next `receive` tells."""
        if self._transport is not None and not self._lost.done():
            self._transport.write(frame)

    def expect(self) -> "asyncio.Future[bytearray]":
        """Return what becomes the next message that nobody expects yet; `parsed` reads it.

        Its errors: FunctionError, the message is over `MESSAGE_BYTES_MAX`; ConnectionError, the other side has gone.
        """
        future: asyncio.Future[bytearray] = self._loop.create_future()
        self._expected.append(future)
        if self._held:
            self._hand_on()
        if self._lost.done() and not future.done():
            self._expected.pop()
            future.set_exception(ConnectionResetError("the connection has ended"))
        elif self._is_paused and self._transport is not None and not future.done():
            self._is_paused = False
            self._transport.resume_reading()
        return future

    def forget(self, expected: "asyncio.Future[bytearray]") -> None:
        """Expect a message no longer: it will not come."""
        self._expected.remove(expected)

    async def receive(self) -> Any:
        """Wait for one message; return it parsed.

        Raises:
            FunctionError: it is over `MESSAGE_BYTES_MAX`, or no JSON.
            ConnectionError: the other side has gone.
        """
        return parsed(await self.expect())

    def abort(self) -> None:
        """Close the connection, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close the connection, whatever is still to be sent, and wait until it is."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.shield(self._lost)


async def loaded(hello: "Awaitable[Any]") -> None:
    """Wait until a function has loaded, as the first message of its instance says.

    Args:
        hello: that message, parsed.

    Raises:
        FunctionError: the function does not load: as its instance says, with the stack trace.
        SystemError: it took longer than `LOAD_SECONDS_MAX`.
    """
    try:
        with within(LOAD_SECONDS_MAX):
            said = await hello
    except TimeoutError as error:
        raise SystemError(f"the function did not load within {LOAD_SECONDS_MAX:.0f} s") from error
    if failure := error_of(said.get("error") if isinstance(said, dict) else None):
        raise failure


def _tell(future: "asyncio.Future[bytearray]", outcome: bytearray | Exception) -> None:
    if future.done():
        return  # who expected it has gone
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def parsed(body: bytearray) -> Any:
    """Parse a message, as Python does where orjson does not; raises FunctionError where it is no JSON."""
    if _LONG_NUMBER not in body.translate(_DIGITS_AS_ZEROS):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # Python's reads more, and tells what is wrong
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise FunctionError(f"the output is no JSON: {error}") from error
