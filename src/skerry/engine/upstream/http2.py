"""HTTP/2: many requests of many functions over one connection to an origin.

No thread belongs to a session. Whoever waits for a stream of it waits for its socket too; who finds something there
reads it under the session's lock, and wakes those whom it is about. So what nobody waits for stays with the peer, whose
flow control bounds it.
"""

import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from skerry.engine.upstream.connections import Connection
from skerry.engine.upstream.errors import GoneError, UpstreamError
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.requests import OutgoingRequest
from skerry.engine.upstream.responses import INTERIM_MAX, ResponseHead
from skerry.engine.upstream.waits import Steps, Wait

#: Of one session, whatever the peer would take.
STREAMS_MAX = 100
#: What a peer may send of one response before the function takes it.
STREAM_WINDOW_BYTES = 256 * 1024
#: Of all together: more than the streams' windows, so that a slow reader holds up nobody else.
SESSION_WINDOW_BYTES = 32 * 1024 * 1024
#: What is read counts against the session's window until so much of it is due.
_ACKNOWLEDGED_BYTES = 1024 * 1024
#: Answers to pings and settings that a peer does not take.
UNSENT_BYTES_MAX = 4 * 1024 * 1024

_FRAME_HEAD_BYTES = 9
_FRAME_BYTES_MAX = _FRAME_HEAD_BYTES + 16 * 1024  # what we have not asked to be raised (RFC 9113, 4.2)
_GOAWAY = 7


class Stream:
    """One request and its response; see `Received`."""

    def __init__(self, session: "Http2Session", number: int, body: bytes, wake: Callable[[], None]) -> None:
        self.head = ResponseHead()
        self.has_head = False
        self.is_complete = False
        self.number = number
        self.unsent = memoryview(body)
        self.problem: Exception | None = None
        self.pieces: list[bytes] = []
        self.interim = 0
        self.changes = self._seen = 0
        self.taken_bytes = 0  # of the body, with padding: what the peer may send again
        self.wake = wake
        self._session = session

    def take_body(self) -> bytes:
        """Return what has come of the body since the last call."""
        return self._session.take_body(self)

    def more(self) -> Steps[None]:
        """Receive more of the body."""
        return self._session.more(self)

    def end(self) -> bool:
        """Say that nothing more of it is wanted."""
        self._session.end(self)
        return self._session.is_alive

    def has_changed(self) -> bool:
        """Tell whether something has come since the last call."""
        has_changed, self._seen = self.changes != self._seen or self.is_complete, self.changes
        return has_changed

    def note(self, own: "Stream | None") -> None:
        """Note that something has come; `own` is looked at by the calling thread itself."""
        self.changes += 1
        if self is not own:
            self.wake()


class Http2Session:
    """One connection; called from many threads.

    Attributes:
        places: how many subrequests may use it now; the pool counts them.
        address, idle_since, cleared_by, is_shared: see `Carrier`.
    """

    def __init__(self, connection: Connection, limits: FetchLimits) -> None:
        self.address = connection.address
        self.idle_since = connection.idle_since
        self.cleared_by = connection.cleared_by
        self.is_shared = True
        self.places = 0
        self._is_agreed = False
        self._connection = connection
        self._is_open = True
        self._limits = limits
        self._lock = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._unsent = bytearray()
        self._unread = bytearray()
        self._received_bytes = 0
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config)
        code = h2.settings.SettingCodes
        settings = {
            code.ENABLE_PUSH: 0,
            code.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            code.MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
        }
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(SESSION_WINDOW_BYTES)

    @property
    def is_alive(self) -> bool:
        """Whether another request may be sent, now or when one has ended."""
        return self._is_open

    @property
    def has_room(self) -> bool:
        """Whether another place may be given; before the peer has said how many, it is one."""
        streams_max = self._h2.remote_settings.max_concurrent_streams if self._is_agreed else 1
        return self.places < min(STREAMS_MAX, streams_max)

    @property
    def is_idle(self) -> bool:
        """Whether there is no request."""
        return not self.places and not self._streams

    def ask(
        self, request: OutgoingRequest, body: bytes, limits: FetchLimits, wake: Callable[[], None]
    ) -> Steps[Stream]:
        """Send a request; receive the head of its response."""
        with self._lock:
            stream = self._begin(request, body, wake)
        try:
            yield from self._until(stream, lambda: stream.has_head, limits.head_seconds_max, "waiting for the response")
        except BaseException:
            self.end(stream)
            raise
        return stream

    def more(self, stream: Stream) -> Steps[None]:
        """Receive more of a response's body."""
        doing = "waiting for more of the response's body"
        yield from self._until(stream, stream.has_changed, self._limits.idle_seconds_max, doing)

    def _until(self, stream: Stream, has_come: Callable[[], bool], seconds_max: float, doing: str) -> Steps[None]:
        until = time.monotonic() + seconds_max
        while True:
            with self._lock:
                self._pump(stream)
                if stream.problem is not None:
                    raise stream.problem
                if has_come():
                    return
                events = select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN
            yield Wait(self._connection.descriptor, events, until, doing, may_be_woken=True)

    def _begin(self, request: OutgoingRequest, body: bytes, wake: Callable[[], None]) -> Stream:
        try:
            number = self._h2.get_next_available_stream_id()
            self._h2.send_headers(number, _fields(request, body), end_stream=not body)
        except h2.exceptions.ProtocolError as error:
            self._is_open = False
            raise GoneError(f"the connection takes no further request: {error}") from error
        stream = self._streams[number] = Stream(self, number, body, wake)
        self._send_body(stream)
        return stream

    def _send_body(self, stream: Stream) -> None:
        while stream.unsent:
            room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            piece, stream.unsent = stream.unsent[:room], stream.unsent[room:]
            self._h2.send_data(stream.number, piece.tobytes(), end_stream=not stream.unsent)

    def _pump(self, own: Stream | None) -> None:
        """Send what is due, read what is there, and hand it to whom it is for."""
        try:
            self._flush()
            while (data := self._connection.read_now()) is not None:
                if not data:
                    self._break(UpstreamError("the upstream ended the connection"), own)
                    return
                self._unread += data
                for frame in self._frames(own):
                    for event in self._h2.receive_data(frame):
                        self._take(event, own)
            self._flush()
        except (h2.exceptions.ProtocolError, UpstreamError, OSError) as error:
            self._break(UpstreamError(f"HTTP/2: {error}"), own)

    def _frames(self, own: Stream | None) -> Iterator[bytes]:
        """Yield what has come, but for GOAWAY: h2 would take nothing more of the requests that are still answered."""
        while len(self._unread) >= _FRAME_HEAD_BYTES:
            end = _FRAME_HEAD_BYTES + int.from_bytes(self._unread[:3])
            if end > _FRAME_BYTES_MAX:
                raise UpstreamError("a frame is too large")
            if len(self._unread) < end:
                return
            frame = bytes(self._unread[:end])
            del self._unread[:end]
            if frame[3] == _GOAWAY:
                self._take_goodbye(int.from_bytes(frame[9:13]) & 0x7FFFFFFF, own)
            else:
                yield frame

    def _take_goodbye(self, last_stream: int, own: Stream | None) -> None:
        self._is_open = False
        for each in self._streams.values():
            if each.number > last_stream:
                each.problem = GoneError("the upstream takes no further request on its connection")
                each.note(own)

    def _flush(self) -> None:
        self._unsent += self._h2.data_to_send()
        if len(self._unsent) > UNSENT_BYTES_MAX:
            raise UpstreamError("the upstream takes no answers to what it sends")
        sent = self._connection.write_now(self._unsent)
        del self._unsent[:sent]

    def _break(self, problem: UpstreamError, own: Stream | None) -> None:
        self._is_open = False
        for stream in self._streams.values():
            if not stream.is_complete:
                stream.problem = stream.problem or problem
                stream.note(own)

    def _take(self, event: Any, own: Stream | None) -> None:
        match event:
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._is_agreed |= isinstance(event, h2.events.RemoteSettingsChanged)
                for each in list(self._streams.values()):
                    self._send_body(each)
            case h2.events.DataReceived():
                self._take_data(event, own)
            case _:
                stream = self._streams.get(getattr(event, "stream_id", None) or 0)
                if stream is not None:
                    _tell(stream, event, self._limits)
                    stream.note(own)

    def _take_data(self, event: h2.events.DataReceived, own: Stream | None) -> None:
        self._received_bytes += event.flow_controlled_length
        if self._received_bytes >= _ACKNOWLEDGED_BYTES:
            self._h2.increment_flow_control_window(self._received_bytes)
            self._received_bytes = 0
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.pieces.append(event.data)
            stream.taken_bytes += event.flow_controlled_length
            stream.note(own)

    def take_body(self, stream: Stream) -> bytes:
        """Return what has come of a body, and let the peer send as much again."""
        with self._lock:
            data = b"".join(stream.pieces)
            stream.pieces.clear()
            if stream.taken_bytes and not stream.is_complete and stream.problem is None:
                self._h2.increment_flow_control_window(stream.taken_bytes, stream.number)
                stream.taken_bytes = 0
                self._pump(stream)
            return data

    def end(self, stream: Stream) -> None:
        """Forget a request, and tell the peer where its response is not complete."""
        with self._lock:
            self._streams.pop(stream.number, None)
            if not stream.is_complete and stream.problem is None and self._is_open:
                try:
                    self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
                    self._flush()
                except (h2.exceptions.ProtocolError, UpstreamError):
                    self._is_open = False
            self.idle_since = time.monotonic()

    def close(self) -> None:
        """End the connection."""
        self._is_open = False
        self._connection.close()


def _tell(stream: Stream, event: Any, limits: FetchLimits) -> None:
    match event:
        case h2.events.ResponseReceived():
            _read_head(stream, event.headers, limits)
        case h2.events.InformationalResponseReceived():
            stream.interim += 1
            if stream.interim > INTERIM_MAX:
                stream.problem = UpstreamError(f"the upstream sends over {INTERIM_MAX} interim responses")
        case h2.events.StreamEnded():
            stream.is_complete = True
        case h2.events.StreamReset():
            refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            kind = GoneError if refused else UpstreamError
            stream.problem = kind(f"the upstream ended the request (HTTP/2 error {event.error_code})")
        case _:
            return


def _read_head(stream: Stream, headers: list[tuple[bytes, bytes]], limits: FetchLimits) -> None:
    if (
        len(headers) > limits.headers_max
        or sum(len(name) + len(value) for name, value in headers) > limits.header_bytes_max
    ):
        over = f"{limits.headers_max} headers or {limits.header_bytes_max} bytes of them"
        stream.problem = UpstreamError(f"the response has over {over}")
        return
    for name, value in headers:
        if name == b":status":
            stream.head.status = int(value)
        elif b"\n" not in value and b"\r" not in value and b"\n" not in name:
            stream.head.add(name, value)
    stream.has_head = True


def _fields(request: OutgoingRequest, body: bytes) -> list[tuple[bytes, bytes]]:
    scheme = b"https" if request.origin.is_tls else b"http"
    fields = [(b":method", request.method), (b":authority", request.authority), (b":scheme", scheme)]
    fields.append((b":path", request.target))
    for line in request.header_lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        fields.append((name, value))
    if request.needs_length(body):
        fields.append((b"content-length", b"%d" % len(body)))
    return fields
