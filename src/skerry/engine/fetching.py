"""Requests that functions send: `fetch`, on the host's side.

A guest starts a subrequest, and takes what happens to it as events, one at a time: so it can wait for many at once, on
the one thread that it has. The connections live in one event loop on a thread of its own (`Fetcher`), for all of a
worker's functions; `Subrequests` is one instance's share.

Invariants: a subrequest has one event at most that was not taken yet, since the next piece of a body is read when the
guest asks for it; so a slow reader holds the sender up, and what is held here is bounded. Nothing outlives the call
that it was started in: `Subrequests.end` cancels what is left.
"""

import asyncio
import enum
import itertools
import threading
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from skerry.engine.egress import EgressDeniedError, EgressPolicy

if TYPE_CHECKING:
    import httpcore

#: Of one request of the function's; Cloudflare's limit too.
SUBREQUESTS_MAX = 1_000
#: Of one instance at once.
CONCURRENT_MAX = 64
#: All functions of a worker together.
CONNECTIONS_MAX = 512
KEPT_CONNECTIONS_MAX = 128
KEPT_SECONDS = 60.0
CONNECT_SECONDS_MAX = 10.0
#: A piece of a body, as the guest gets it. A body that is no longer comes with its head.
PIECE_BYTES_MAX = 64 * 1024

NOT_GRANTED = "the function was not granted the capability fetchAPI"
_OVER = b"the subrequest is over: it was cancelled, or the request that it was started in has ended"
_LATIN_1 = "latin-1"
#: What the connection needs is said by the host alone, and the length is the body's.
_OURS = frozenset(
    b"connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
_WITHOUT_BODY = frozenset((b"GET", b"HEAD"))
_DEFAULT_HEADERS = ((b"accept", b"*/*"), (b"accept-encoding", b"gzip, deflate"), (b"user-agent", b"Skerry"))
#: Not true of a body that was decoded.
_OF_ENCODED_BODY = frozenset((b"content-encoding", b"content-length"))
#: zlib's window bits, by content encoding.
_DECODED = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class EventKind(enum.IntEnum):
    """What happened to a subrequest, as world.wit has it."""

    HEAD = 1
    WHOLE = 2
    PIECE = 3
    END = 4
    FAILED = 5


class Event(NamedTuple):
    """What happened.

    Attributes:
        id: of the subrequest.
        kind: what.
        text: of a HEAD or WHOLE the response's head: lines of status, reason, then names and values by turns; of
            FAILED the reason. UTF-8.
        data: of a PIECE or WHOLE, bytes of the body.
    """

    id: int
    kind: EventKind
    text: bytes = b""
    data: bytes = b""


_LAST_EVENTS = frozenset((EventKind.WHOLE, EventKind.END, EventKind.FAILED))


class FetchRefusedError(Exception):
    """A subrequest that is not sent: the sentence says why."""


class Fetcher:
    """Sends subrequests, on an event loop of its own, which starts with the first of them; `close` ends it.

    Args:
        policy: where connections may go.
    """

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pool: httpcore.AsyncConnectionPool | None = None

    def submit(self, number: int, request: "SubrequestHead", body: bytes, exchange: "Exchange") -> Future[None]:
        """Start a subrequest; what happens is told to the exchange. Cancel the future to end it."""
        return asyncio.run_coroutine_threadsafe(self._send(number, request, body, exchange), self._running_loop())

    def call(self, callback: Callable[[], None]) -> None:
        """Call on the event loop."""
        self._running_loop().call_soon_threadsafe(callback)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="fetcher", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """End every subrequest and connection; nothing may be submitted any more."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        if self._pool is not None:
            await self._pool.aclose()

    def _connections(self) -> "httpcore.AsyncConnectionPool":
        if self._pool is None:
            # Imported here because a worker must be back soon after a crash, and most functions fetch nothing.
            import httpx

            from skerry.engine.egress_network import ConnectionPool

            self._pool = ConnectionPool(
                self._policy,
                httpx.create_ssl_context(),
                keepalive_seconds=KEPT_SECONDS,
                connections_max=CONNECTIONS_MAX,
                kept_max=KEPT_CONNECTIONS_MAX,
            )
        return self._pool

    async def _send(self, number: int, request: "SubrequestHead", body: bytes, exchange: "Exchange") -> None:
        try:
            timeouts = {"timeout": {"connect": CONNECT_SECONDS_MAX}}
            content = body if body or request.method not in _WITHOUT_BODY else None
            async with self._connections().stream(
                request.method, request.url, headers=request.headers, content=content, extensions=timeouts
            ) as response:
                await _receive(number, response, exchange)
        except Exception as error:  # noqa: BLE001 - whatever it was, the function that waits is told
            exchange.tell(Event(number, EventKind.FAILED, _reason(error).encode()))


class Exchange(NamedTuple):
    """Between a subrequest and who started it.

    Attributes:
        tell: takes what happened; called on the fetcher's thread.
        wanted: has an item for each piece of the body that was asked for.
    """

    tell: Callable[[Event], None]
    wanted: "asyncio.Queue[None]"


class SubrequestHead(NamedTuple):
    """What a function asks for."""

    method: bytes
    url: bytes
    headers: list[tuple[bytes, bytes]]

    @classmethod
    def parse(cls, lines: bytes) -> "SubrequestHead":
        """Read UTF-8 lines of method, URL, then names and values by turns; raises FetchRefusedError."""
        try:
            method, url, *pairs = lines.decode().encode(_LATIN_1).split(b"\n")
        except (UnicodeError, ValueError) as error:
            raise FetchRefusedError("the request is not HTTP") from error
        if not url.startswith((b"http://", b"https://")):
            raise FetchRefusedError("only http: and https: URLs can be fetched")
        if len(pairs) % 2:
            raise FetchRefusedError("the request is not HTTP")
        given = zip(pairs[::2], pairs[1::2], strict=True)
        headers = [(name, value) for name, value in given if name.lower() not in _OURS]
        names = {name.lower() for name, _ in headers}
        headers += [header for header in _DEFAULT_HEADERS if header[0] not in names]
        return cls(method, url, headers)


async def _receive(number: int, response: "httpcore.Response", exchange: Exchange) -> None:
    encoding, length = _encoding_and_length(response)
    pieces = _pieces(response, encoding)
    head, held = _head(response, decoded=encoding is not None), [b""]
    if length is not None and length <= PIECE_BYTES_MAX:
        async for piece in pieces:
            if len(held[0]) + len(piece) > PIECE_BYTES_MAX:  # it was packed
                held.append(piece)
                break
            held[0] += piece
        else:
            exchange.tell(Event(number, EventKind.WHOLE, head, held[0]))
            return
    exchange.tell(Event(number, EventKind.HEAD, head))
    await exchange.wanted.get()
    for piece in filter(None, held):
        exchange.tell(Event(number, EventKind.PIECE, data=piece))
        await exchange.wanted.get()
    async for piece in pieces:
        exchange.tell(Event(number, EventKind.PIECE, data=piece))
        await exchange.wanted.get()
    exchange.tell(Event(number, EventKind.END))


def _encoding_and_length(response: "httpcore.Response") -> tuple[int | None, int | None]:
    """Return how to decode the body (zlib's window bits), and how long it is as sent, where these are known."""
    headers = {name.lower(): value for name, value in response.headers}
    length = headers.get(b"content-length", b"")
    return (
        _DECODED.get(headers.get(b"content-encoding", b"").strip().lower()),
        int(length) if length.isdigit() else None,
    )


async def _pieces(response: "httpcore.Response", encoding: int | None) -> AsyncIterator[bytes]:
    """Yield the decoded body in pieces of at most `PIECE_BYTES_MAX`, however much a piece may unpack to."""
    decoder = zlib.decompressobj(encoding) if encoding is not None else None
    async for sent in response.aiter_stream():
        if decoder is None:
            for at in range(0, len(sent), PIECE_BYTES_MAX):
                yield sent[at : at + PIECE_BYTES_MAX]
            continue
        packed = sent
        while packed and not decoder.eof:
            if data := decoder.decompress(packed, PIECE_BYTES_MAX):
                yield data
            packed = decoder.unconsumed_tail
    if decoder is not None and not decoder.eof:
        raise zlib.error("the body ends within its compression")


def _head(response: "httpcore.Response", *, decoded: bool) -> bytes:
    dropped = _OF_ENCODED_BODY if decoded else frozenset()
    reason = response.extensions.get("reason_phrase", b"")
    lines = [b"%d" % response.status, reason]
    for name, value in response.headers:
        if (lower := name.lower()) not in dropped:
            lines += (lower, value)
    return b"\n".join(lines).decode(_LATIN_1).encode()


def _reason(error: Exception) -> str:
    if isinstance(error, EgressDeniedError | FetchRefusedError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _Running(NamedTuple):
    future: Future[None]
    want: Callable[[], None]


class Subrequests:
    """The subrequests of one instance; entered by the instance's thread, told by the fetcher's.

    Args:
        fetcher: sends them; None where the function may send none.
        refusal: what it is told then.
        subrequests_max: how many there may be in one call.
    """

    def __init__(
        self, fetcher: Fetcher | None, *, refusal: str = NOT_GRANTED, subrequests_max: int = SUBREQUESTS_MAX
    ) -> None:
        self._fetcher = fetcher
        self._subrequests_max = subrequests_max
        self._refusal = refusal
        self._numbers = itertools.count(1)  # never used again: what comes late of an earlier call is not taken for new
        self._started = 0
        self._open: dict[int, _Running | None] = {}
        self._happened: OrderedDict[int, Event] = OrderedDict()  # by subrequest
        self._asked: set[int] = set()  # whose next event was asked for, and not taken yet
        self._changed = threading.Condition()  # of the three above

    def start(self, head: bytes, body: bytes) -> int:
        """Send a request; returns its id. What refuses it is its first event.

        Args:
            head: UTF-8 lines: method, URL, then name and value of each header by turns.
            body: the whole body.
        """
        number = next(self._numbers)
        self._started += 1
        with self._changed:
            self._open[number] = None
            self._asked.add(number)
        try:
            running = self._submit(number, head, body)
        except FetchRefusedError as error:
            self._tell(Event(number, EventKind.FAILED, str(error).encode()))
            return number
        with self._changed:
            if number in self._open:
                self._open[number] = running
        return number

    def _submit(self, number: int, head: bytes, body: bytes) -> "_Running":
        if self._fetcher is None:
            raise FetchRefusedError(self._refusal)
        if self._started > self._subrequests_max:
            raise FetchRefusedError(f"a request may cause {self._subrequests_max} subrequests, and this one has")
        if len(self._open) > CONCURRENT_MAX:
            raise FetchRefusedError(f"{CONCURRENT_MAX} subrequests run already: wait for some of them")
        wanted: asyncio.Queue[None] = asyncio.Queue()
        exchange = Exchange(self._tell, wanted)
        future = self._fetcher.submit(number, SubrequestHead.parse(head), body, exchange)
        return _Running(future, partial(self._fetcher.call, partial(wanted.put_nowait, None)))

    def read(self, number: int) -> None:
        """Ask for the next piece of a response's body; it is an event. While one is on its way, nothing more comes."""
        with self._changed:
            if number in self._asked:
                return
            if (running := self._open.get(number)) is None:
                self._happened[number] = Event(number, EventKind.FAILED, _OVER)
                return
            self._asked.add(number)
        running.want()

    def cancel(self, number: int) -> None:
        """End a subrequest: nothing more happens to it."""
        with self._changed:
            running = self._open.pop(number, None)
            self._happened.pop(number, None)
            self._asked.discard(number)
        if running is not None:
            running.future.cancel()

    def take(self) -> Event | None:
        """Return the next event, or None."""
        with self._changed:
            if not self._happened:
                return None
            _, event = self._happened.popitem(last=False)
            self._asked.discard(event.id)
            if event.kind in _LAST_EVENTS:
                self._open.pop(event.id, None)
            return event

    @property
    def has_event(self) -> bool:
        """Whether there is an event to be taken."""
        return bool(self._happened)

    def wait(self, seconds: float) -> bool:
        """Wait for an event; False where the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._happened), seconds)

    def end(self) -> None:
        """Cancel what is left: the call that started it is over."""
        if self._started or self._happened:
            self._started = 0
            with self._changed:
                self._happened.clear()
            for number in list(self._open):
                self.cancel(number)

    def _tell(self, event: Event) -> None:
        with self._changed:
            if event.id in self._open:
                self._happened[event.id] = event
                self._changed.notify()
