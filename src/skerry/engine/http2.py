"""gRPC over HTTP/2 with one peer, the node's Envoy: messages out of bytes, answers into bytes. One stream at a time.

Owns: the state of a connection, flow control, and the framing of gRPC messages. Does not own what a frame looks like
(`http2_frames`), sockets, nor what a message means. It tells the peer that one stream is all it takes, and no
compression state, so a connection is used as one of HTTP/1.1 is: by one request, then by the next. What a stream begins
with is the same for all requests of a route, and so is decoded once.

Why by hand, where libraries do it: measured with one function call a stream, before one worker, `grpc.aio` answers
1,600 streams a second, grpcio with threads 3,200, `h2` 2,900 and this 7,700 (docs/adr/0016); HPACK is a library's.

Source: RFC 9113 (HTTP/2), gRPC over HTTP2 (PROTOCOL-HTTP2.md).
"""

import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from skerry.engine.http1 import RequestError
from skerry.engine.http2_frames import (
    ACK,
    CONNECTION_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    GREETING,
    HEADER_BLOCK_BYTES_MAX,
    INITIAL_WINDOW,
    PRIORITY,
    RESPONSE_HEAD,
    SETTING,
    TRAILERS,
    WINDOW_DEFAULT,
    FrameType,
    decoded,
    frame,
    frames_in,
    unpadded,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: One gRPC message: a filter's body (`filtering.FILTER_BODY_BYTES_MAX`) and what Envoy reads beyond it in one go.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
#: A stream may wait for a backend's answer so long; Envoy ends it before, with its request.
STREAM_SECONDS_MAX: Final = 2 * 3600.0
#: Between two streams. Envoy closes first where it can: it keeps an idle connection for an hour by default.
IDLE_SECONDS_MAX: Final = 120.0
#: How long a peer that was asked to leave may take.
LEAVE_SECONDS_MAX: Final = 5.0

_MESSAGE_HEAD = struct.Struct(">BI")
_NO_ERROR = 0
_ANY_STREAM = 2**31 - 1  # of a GOAWAY: what the peer began before it knew is answered (RFC 9113, 6.8)


class Stream:
    """One call of the peer: messages from both sides.

    Attributes:
        metadata: the headers that it began with.
        state: whatever the one who answers keeps for its length.
        is_open: whether the peer waits for an answer.
    """

    __slots__ = ("_exchange", "_reader", "_window", "has_begun", "id", "is_open", "metadata", "state")

    def __init__(
        self, reader: "StreamReader", number: int, metadata: Mapping[str, str], exchange: Callable[[bytes, int], bytes]
    ) -> None:
        self.id = number
        self.metadata = metadata
        self.state: object = None
        self.is_open = True
        self.has_begun = False
        self._reader = reader
        self._exchange = exchange

    def reply(self, message: bytes, *, last: bool) -> bytes:
        """Return the frames that answer with a message; empty where the peer waits for none any more."""
        return self._reader.reply(self, message, last=last)

    def exchange(self, message: bytes, deadline_ns: int) -> bytes:
        """Answer with a message, and wait for the peer's next one on this thread, which must not lead the loop.

        Args:
            message: not the last one.
            deadline_ns: of the monotonic clock.

        Raises:
            TimeoutError: it did not come in time.
            ConnectionError: the peer has ended the stream.
        """
        return self._exchange(self.reply(message, last=False), deadline_ns)


class StreamMessage:
    """A message of the peer, as a worker's loop takes requests: one at a time, each with one answer.

    Attributes:
        stream: that it came on.
        data: the message, without gRPC's framing.
        is_whole: always.
    """

    __slots__ = ("_reader", "data", "stream")
    is_whole = True

    def __init__(self, reader: "StreamReader", stream: Stream, data: bytes) -> None:
        self._reader = reader
        self.stream = stream
        self.data = data

    @property
    def keep_alive(self) -> bool:
        """Whether the connection goes on after the answer: the peer ends it, once it was asked to.

        Ended here with something unread, such as an acknowledgement, it would be reset, and the answer lost.
        """
        return True

    @keep_alive.setter
    def keep_alive(self, stays: bool) -> None:
        if not stays:
            self._reader.leaves = True


class StreamReader:
    """The messages of one connection, in order; for a worker's loop, a `connection.Reader`.

    Every method raises ConnectionError where the peer does what it may not: the connection ends.

    Attributes:
        requests: messages that have arrived and are not answered yet.
        error: none ever: what can't be read ends the connection.
        is_within_body: never: a message is handed out when it has arrived whole.
        leaves: no further stream is wanted here; the answer that ends a stream, or `farewell`, says so.
    """

    is_within_body = False

    def __init__(self, exchange: Callable[[bytes, int], bytes]) -> None:
        self.requests: deque[StreamMessage] = deque()
        self.error: RequestError | None = None
        self.leaves = False
        self._exchange = exchange
        self._has_preface = False
        self._unread = bytearray()
        self._message = bytearray()
        self._block = bytearray()
        self._block_flags = 0
        self._stream: Stream | None = None
        self._last_id = 0
        self._said_farewell = False
        self._replying = threading.Lock()
        self._prompt = bytearray(GREETING)
        self._send_window = WINDOW_DEFAULT
        self._stream_window_first = WINDOW_DEFAULT
        self._stream_window = 0
        self._received = 0

    @property
    def is_midway(self) -> bool:
        """Whether something has arrived in part."""
        return bool(self._unread or self._message or self._block)

    @property
    def is_engaged(self) -> bool:
        """Whether a stream is open."""
        return self._stream is not None

    @property
    def idle_seconds_max(self) -> float:
        """How long the peer may say nothing now."""
        if self._stream:
            return STREAM_SECONDS_MAX
        return LEAVE_SECONDS_MAX if self._said_farewell else IDLE_SECONDS_MAX

    def give_up(self) -> None:
        """Expect nothing more; nothing is wrong that would need an answer."""

    def late(self, _seconds: float) -> RequestError | None:
        """Nothing is said to a peer that is late."""
        return None

    @property
    def may_prompt(self) -> bool:
        """Whether `prompt` has something."""
        return bool(self._prompt)

    def prompt(self) -> bytes:
        """Return what the peer is told at once, whatever is answered."""
        told = bytes(self._prompt)
        self._prompt.clear()
        return told

    def farewell(self, send: Callable[[bytes], None]) -> None:
        """Say that no further stream is wanted here, while one is open, which goes on. Called on any thread.

        Never after an answer's end, however close: the peer may have begun its next stream by then.
        """
        with self._replying:
            if self._stream is not None and not self._said_farewell:
                send(self._goaway())

    def _goaway(self) -> bytes:
        self.leaves = self._said_farewell = True
        return frame(FrameType.GOAWAY, 0, 0, _ANY_STREAM.to_bytes(4, "big") + _NO_ERROR.to_bytes(4, "big"))

    def feed(self, data: bytes) -> None:
        """Take what was read from the peer."""
        self._unread += data
        if not self._has_preface:
            if len(self._unread) < len(PREFACE):
                return
            if not self._unread.startswith(PREFACE):
                raise ConnectionAbortedError("the peer does not speak HTTP/2")
            del self._unread[: len(PREFACE)]
            self._has_preface = True
        for kind, flags, stream, payload in frames_in(self._unread):
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block and kind != FrameType.CONTINUATION:
            raise ConnectionAbortedError("a header block is cut off by another frame")
        match kind:
            case FrameType.DATA:
                self._on_data(flags, number, payload)
            case FrameType.HEADERS:
                self._block_flags = flags
                self._on_block(flags, number, unpadded(flags, payload))
            case FrameType.CONTINUATION:
                self._on_block(flags, number, payload)
            case FrameType.RST_STREAM if self._stream and self._stream.id == number:
                self._close()
            case FrameType.SETTINGS if not flags & ACK:
                self._on_settings(payload)
            case FrameType.PING if not flags & ACK:
                self._prompt += frame(FrameType.PING, ACK, 0, payload)
            case FrameType.WINDOW_UPDATE:
                self._on_window(number, int.from_bytes(payload, "big"))
            case FrameType.GOAWAY:
                self.leaves = self._said_farewell = True
            case _:
                pass  # of an ended stream, an acknowledgement, or an extension: RFC 9113, 5.5

    def _on_settings(self, payload: bytes) -> None:
        if len(payload) % SETTING.size:
            raise ConnectionAbortedError("settings that are none")
        for name, value in SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW:
                self._stream_window += value - self._stream_window_first
                self._stream_window_first = value
        self._prompt += frame(FrameType.SETTINGS, ACK, 0, b"")

    def _on_window(self, number: int, more: int) -> None:
        if number == 0:
            self._send_window += more
        elif self._stream and self._stream.id == number:
            self._stream_window += more

    def _on_block(self, flags: int, number: int, part: bytes) -> None:
        self._block += part
        if len(self._block) > HEADER_BLOCK_BYTES_MAX:
            raise ConnectionAbortedError(f"a stream begins with over {HEADER_BLOCK_BYTES_MAX} bytes of headers")
        if not flags & END_HEADERS:
            return
        block = bytes(self._block)
        self._block.clear()
        if number <= self._last_id:
            return  # trailers, which gRPC's clients do not send, or of a stream that has ended
        if self._stream is not None:
            raise ConnectionAbortedError("a second stream, beside the only one that is taken")
        self._last_id = number
        self._stream = Stream(self, number, decoded(block), self._exchange)
        self._stream_window = self._stream_window_first
        if self._block_flags & END_STREAM:
            self._end_by_peer()

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= CONNECTION_WINDOW_BYTES // 2:
            self._prompt += frame(FrameType.WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big"))
            self._received = 0
        if self._stream is None or self._stream.id != number:
            return
        self._message += unpadded(flags & ~PRIORITY, payload)
        self._split_messages(self._stream)
        if flags & END_STREAM:
            self._end_by_peer()

    def _split_messages(self, stream: Stream) -> None:
        while len(self._message) >= _MESSAGE_HEAD.size:
            compressed, length = _MESSAGE_HEAD.unpack_from(self._message)
            if compressed or length > MESSAGE_BYTES_MAX:
                raise ConnectionAbortedError(f"a message of {length} bytes, or a compressed one")
            end = _MESSAGE_HEAD.size + length
            if len(self._message) < end:
                return
            self.requests.append(StreamMessage(self, stream, bytes(self._message[_MESSAGE_HEAD.size : end])))
            del self._message[:end]

    def _end_by_peer(self) -> None:
        """The peer sends nothing more: what it has sent is answered, where there is something."""
        if self._stream and not self.requests:
            self._prompt += self._ending(self._stream)
            self._close()

    def _close(self) -> None:
        if self._stream:
            self._stream.is_open = False
            self._stream = None
        self._message.clear()
        self.requests.clear()

    def reply(self, stream: Stream, message: bytes, *, last: bool) -> bytes:
        """Write an answer; `Stream.reply`."""
        data = _MESSAGE_HEAD.pack(0, len(message)) + message
        with self._replying:
            if not stream.is_open:
                return b""
            self._send_window -= len(data)
            self._stream_window -= len(data)
            if self._send_window < 0 or self._stream_window < 0:
                # Envoy is told to keep windows wider than what a stream is answered with (`gateway.envoy_functions`).
                raise ConnectionAbortedError("the peer takes in no more")
            pieces = (data[at : at + FRAME_BYTES_MAX] for at in range(0, len(data), FRAME_BYTES_MAX))
            frames = [self._head(stream), *(frame(FrameType.DATA, 0, stream.id, piece) for piece in pieces)]
            if last:
                if self.leaves and not self._said_farewell:
                    frames.append(self._goaway())
                frames.append(frame(FrameType.HEADERS, END_HEADERS | END_STREAM, stream.id, TRAILERS))
                self._close()
        return b"".join(frames)

    def _head(self, stream: Stream) -> bytes:
        if stream.has_begun:
            return b""
        stream.has_begun = True
        return frame(FrameType.HEADERS, END_HEADERS, stream.id, RESPONSE_HEAD)

    def _ending(self, stream: Stream) -> bytes:
        return self._head(stream) + frame(FrameType.HEADERS, END_HEADERS | END_STREAM, stream.id, TRAILERS)
