"""The listening server: uvicorn, embedded, with bounds and an orderly end.

Yields when the port is bound and accepts; on exit it stops accepting, ends the streams, lets running requests
finish within `drain_seconds`, then cancels them. It installs no signal handlers: the process' owner does that.
"""

import asyncio
import contextlib
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from skerry.fleet.reports import REPORT_BYTES_MAX
from skerry.kit.errors import ConfigurationError, StartError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import background
from skerry.server.app import App
from skerry.server.auth import CLIENT_CERTIFICATE, CREDENTIALS_READ, ClientCertificate, Credentials
from skerry.server.client_certificates import read_client_certificate
from skerry.server.held_writes import HeldWrites
from skerry.server.http import SEND_WHOLE, TAKE_BODY, Receive, Send
from skerry.server.tls import ServerIdentity

log = get_logger(__name__)

#: Request line and headers of one request; Go's server has the same order of size for kubectl's longest requests.
HEAD_BYTES_MAX = 64 * 1024
#: How long they may take to arrive.
HEAD_SECONDS = 30.0
#: How long the rest of a body is awaited, and thrown away, that nobody reads: its request is answered already.
LINGER_SECONDS = 5.0
#: How long a client may take nothing of what waits for it. A reader that is slow but reads is left alone.
STALLED_SECONDS = 60.0
#: What of an answer is written before a look whether its client reads.
PIECE_BYTES = 256 * 1024
_BACKLOG = 1024
#: Of one message over a WebSocket, however many frames it comes in: a report with its envelope.
MESSAGE_BYTES_MAX = REPORT_BYTES_MAX + 64 * 1024
#: How often an open WebSocket is asked whether it is still there, and how long it may take to say so.
PING_SECONDS, PONG_SECONDS = 20.0, 20.0
SWITCHING = 101

#: An ASGI application.
Asgi = Callable[[Mapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How the server listens.

    Attributes:
        host: the address to bind.
        port: 0 for any free one.
        keep_alive_seconds: how long an idle connection stays; longer than Go clients keep theirs.
        drain_seconds: how long running requests may take when the server stops.
        connections_max: above this, requests get 503: room for the watches of `LogSettings.watchers_max`, and for the
            links of `InflightLimits.max_node_links_inflight`.
    """

    host: str = "127.0.0.1"
    port: int = 6443
    keep_alive_seconds: int = 100
    drain_seconds: int = 5
    connections_max: int = 21_000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port: {self.port} is not between 0 and 65535")
        if min(self.keep_alive_seconds, self.drain_seconds, self.connections_max) <= 0:
            raise ConfigurationError("keep_alive_seconds, drain_seconds and connections_max must be above zero")


@dataclass(frozen=True, slots=True)
class ServingAt:
    """Where a running server is reached."""

    host: str
    port: int
    url: str


@asynccontextmanager
async def serve(app: App, settings: ServeSettings, identity: ServerIdentity) -> AsyncIterator[ServingAt]:
    """Run the server for the length of the block; raises StartError where the port can't be bound."""
    listener = _bind(settings)
    host, port = listener.getsockname()[:2]
    config = _configuration(app, settings)
    config.ssl, config.ws_protocol_class = identity.context, BoundedWebSocketProtocol
    async with background(("tls", identity.keep_current)), _listening(config, [listener]):
        try:
            shown = f"[{host}]" if ":" in host else host
            yield ServingAt(host, port, f"https://{shown}:{port}")
        finally:
            app.end_streams()


@asynccontextmanager
async def serve_socket(app: Asgi, path: Path, *, drain_seconds: int) -> AsyncIterator[None]:
    """Serve an application on a Unix socket for the length of the block; who may reach it is its folder's affair."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - left by one that was killed; one call, at start
    config = _configuration(app, ServeSettings(drain_seconds=drain_seconds))
    config.uds = str(path)
    async with _listening(config, None):
        yield


@asynccontextmanager
async def serve_loopback(app: Asgi, *, drain_seconds: int) -> AsyncIterator[str]:
    """Serve an application without TLS on any free port of loopback for the length of the block; yields its URL."""
    settings = ServeSettings(port=0, drain_seconds=drain_seconds)
    listener = _bind(settings)
    async with _listening(_configuration(app, settings), [listener]):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def _listening(config: uvicorn.Config, listeners: list[socket.socket] | None) -> AsyncIterator[None]:
    server = _Server(config)
    stopped = asyncio.Event()

    async def run() -> None:
        try:
            await server.serve(sockets=listeners)
        finally:
            stopped.set()

    async with background(("server", run)):
        await server.listening.wait()
        try:
            yield
        finally:
            server.should_exit = True
            await stopped.wait()


def _bind(settings: ServeSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((settings.host, settings.port))
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise StartError(f"the API can't listen on {settings.host}:{settings.port}: {error.strerror}") from error
    return listener


def _configuration(app: Asgi, settings: ServeSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        cast("Any", app),
        http=BoundedHttpProtocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=settings.connections_max,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,  # it would keep a window for each of thousands of connections
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    config.load()
    return config


class _Server(uvicorn.Server):
    """uvicorn's server, less its signal handlers, and telling when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in tuple(self.server_state.connections):
            cast("BoundedHttpProtocol | BoundedWebSocketProtocol", connection).abort()
        await asyncio.sleep(0)  # lets the transports notice


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with a bound on the size of a request's head and on every time that a client may take.

    The parser gathers a header of any length. Where the connection waits for the client without end, one of two timers
    runs: for the client's next bytes, and for the client to read ours.
    """

    _wait_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0
    _in_message = False
    _is_handed_on = False
    _certificate: ClientCertificate | None = None
    _credentials_read: dict[bytes, Credentials]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(cast("asyncio.Transport", HeldWrites(transport, self.loop)))
        self._certificate = _certificate_of(transport)
        self._credentials_read = {}
        self._begin_head()

    def _should_upgrade_to_ws(self) -> bool:
        """Tell whether a wish for a WebSocket is granted; elsewhere it is passed over, and the request answered."""
        path = self.url.partition(b"?")[0].decode("latin-1")
        return super()._should_upgrade_to_ws() and cast("App", self.app).converses_at(path)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: any client may wish for an upgrade."""

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on, with no timer of ours: whoever has it now says how long its client may take."""
        self._is_handed_on = True
        self._end_wait()
        self._end_stall()
        super().handle_websocket_upgrade()

    def _begin_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._wait(HEAD_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._end_wait()
        self._wait_timer = self.loop.call_later(seconds, self.transport.close)

    def _end_wait(self) -> None:
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None

    def data_received(self, data: bytes) -> None:
        """Take bytes, and count them while they belong to a head."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_handed_on or self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self.send_400_response(f"The request's head is over {HEAD_BYTES_MAX} bytes.")
        elif self._in_head and self._wait_timer is None:
            self._wait(HEAD_SECONDS)  # for the rest of it; most come in one piece
        elif self._is_idle() and self._wait_timer is None:
            self._begin_head()  # bytes between requests have ended the keep-alive timer

    def _is_idle(self) -> bool:
        return not self._in_message and (self.cycle is None or self.cycle.response_complete)

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a further request."""
        super().on_message_begin()
        self._in_message = True
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Stop waiting: the head is here."""
        self._in_head = False
        self._end_wait()
        super().on_headers_complete()
        extensions: dict[str, Any] = {CREDENTIALS_READ: self._credentials_read}
        if self.cycle is not None:  # there is none for what goes on as another protocol
            # The cycle has the scope: a strong reference back would leave every request to the search for cycles.
            running = weakref.ref(self.cycle)
            extensions[SEND_WHOLE] = partial(_send_whole, running)
            extensions[TAKE_BODY] = partial(_take_body, running)
        if self._certificate is not None:
            extensions[CLIENT_CERTIFICATE] = self._certificate
        self.scope["extensions"] = extensions

    def on_message_complete(self) -> None:
        """Stop waiting: the request is here."""
        self._in_message = False
        self._end_wait()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait a little for what is left of a request that is answered."""
        super().on_response_complete()
        if self._in_message and self.cycle.response_complete and not self.transport.is_closing():
            self._wait(LINGER_SECONDS)

    def shutdown(self) -> None:
        """Close the connection, or let its running request be the last.

        An idle one is cut at once: a TLS farewell would wait for the client, and idle clients don't listen.
        """
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not self.transport.get_write_buffer_size():
            self.abort()
        else:
            super().shutdown()

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Hold what writes, and begin to wait for the client to read."""
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def _await_reader(self, unread_bytes: int) -> None:
        def look() -> None:
            left_bytes = self.transport.get_write_buffer_size()
            if left_bytes < unread_bytes:
                self._await_reader(left_bytes)
                return
            log.info("cut a client that does not read", unread_bytes=left_bytes, seconds=STALLED_SECONDS)
            self.abort()

        self._stall_timer = self.loop.call_later(STALLED_SECONDS, look)

    def resume_writing(self) -> None:
        """Let writers go on: the client has read."""
        self._end_stall()
        super().resume_writing()

    def _end_stall(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._end_wait()
        self._end_stall()
        super().connection_lost(exc)


def _take_body(running: weakref.ref[RequestResponseCycle]) -> bytes | None:
    """Take the body of a request that is here, as `RequestResponseCycle.receive` does in a message; see `TAKE_BODY`."""
    cycle = running()
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


async def _send_whole(running: weakref.ref[RequestResponseCycle], status: int, lines: bytes, body: bytes) -> None:
    """Send an answer as `RequestResponseCycle.send` does in two messages; see `SEND_WHOLE`.

    A long one goes as fast as the client reads: what is written at once lies below TLS, where nobody is told that it
    waits, and is cut off with the connection.
    """
    if (cycle := running()) is None:  # its task keeps it for as long as it runs
        return
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    close = b"" if cycle.keep_alive else b"connection: close\r\n"
    head = b"%s%s%s\r\n" % (STATUS_LINE[status], lines, close)
    if len(body) <= PIECE_BYTES:
        cycle.transport.write(head + body)
    else:
        cycle.transport.write(head)
        for begin in range(0, len(body), PIECE_BYTES):
            if cycle.flow.write_paused:
                await cycle.flow.drain()
            if cycle.disconnected:
                return
            cycle.transport.write(body[begin : begin + PIECE_BYTES])
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets, that cut a client which takes nothing, and know the client's certificate."""

    def handle_connect(self, event: Request) -> None:
        """Answer a handshake, or have the application do that."""
        super().handle_connect(event)
        if (certificate := _certificate_of(self.transport)) is not None and self.response.status_code == SWITCHING:
            self.scope["extensions"][CLIENT_CERTIFICATE] = certificate  # type: ignore[assignment] # ours is an object

    def keepalive_timeout(self) -> None:
        """Cut a client that answers no ping: what waits for it would never be taken."""
        log.info("cut a client that does not answer pings", seconds=PONG_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self.stop_keepalive()
        self.transport.abort()


def _certificate_of(transport: asyncio.Transport) -> ClientCertificate | None:
    """Return the certificate that the client showed in the handshake, which verified it."""
    tls = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return read_client_certificate(der) if der else None
