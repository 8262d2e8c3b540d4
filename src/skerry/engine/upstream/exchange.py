"""One subrequest, from its place in the pool to the end of its response.

What happens is told as events: the head, or head and body together where the body is short or has come already; then a
piece of the body each time that the function asks for one. The connection is given back as soon as the response has
been received, whatever the function has taken of it.
"""

import enum
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from skerry.engine.egress import EgressPolicy
from skerry.engine.upstream.carriers import Carrier, Received
from skerry.engine.upstream.decoding import PIECE_BYTES_MAX, Decoder, decoded, decoders_of
from skerry.engine.upstream.dialing import Dialer, is_own_address
from skerry.engine.upstream.errors import GoneError, UpstreamError
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.pool import ConnectionPool, Place
from skerry.engine.upstream.requests import OutgoingRequest, RequestParser
from skerry.engine.upstream.responses import ResponseHead
from skerry.engine.upstream.waits import UNTIL_ASKED, Steps


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
        is_refused: of a FAILED one, that it was not sent, since the function may not.
    """

    id: int
    kind: EventKind
    text: bytes = b""
    data: bytes = b""
    is_refused: bool = False


class Ways(NamedTuple):
    """How the subrequests of one function reach upstreams."""

    function: str
    pool: ConnectionPool
    dialer: Dialer
    parser: RequestParser
    limits: FetchLimits


class Exchange(NamedTuple):
    """One subrequest.

    Attributes:
        id: in its events.
        request: what is asked.
        body: the whole body.
        policy: where it may go.
        ways: how it gets there.
        tell: takes what happens.
        wake: ends the wait of the thread that resumes it; called from any thread.
    """

    id: int
    request: OutgoingRequest
    body: bytes
    policy: EgressPolicy
    ways: Ways
    tell: Callable[[Event], None]
    wake: Callable[[], None]

    def run(self) -> Steps[None]:
        """Send the request, and tell what happens; raises what `errors` has, and TimeoutError."""
        function, pool, *_, limits = self.ways
        origin = self.request.origin
        place = pool.place(function, origin) or (yield from pool.awaited_place(function, origin, self.wake))
        received: Received | None = None
        try:
            received = yield from self._answered(place)
            head = received.head
            is_short = (
                head.length is not None and head.length <= PIECE_BYTES_MAX and head.length <= limits.body_bytes_max
            )
            while is_short and not received.is_complete:
                yield from received.more()
            if is_short and not head.content_encoding:  # most are
                pool.give_back(place, keep=received.end())
                self.tell(Event(self.id, EventKind.WHOLE, head.lines(), received.take_body()))
            else:
                yield from self._told_in_pieces(place, received)
        finally:
            if place.is_held:
                pool.give_back(place, keep=received is not None and received.end())

    def _told_in_pieces(self, place: Place, received: Received) -> Steps[None]:
        """Tell head and body one by one, or together where the body has come and is one piece."""
        self._release(place, received)
        is_whole = received.is_complete  # looked at before the body is taken: another thread may receive more of it
        body = _Body(received.head, self.ways.limits)
        pieces = body.pieces(received)
        first = list(itertools.islice(pieces, 2))
        head = received.head.lines(is_decoded=body.is_decoded)
        if is_whole and len(first) < 2:
            body.finish()
            self.tell(Event(self.id, EventKind.WHOLE, head, b"".join(first)))
            return
        self.tell(Event(self.id, EventKind.HEAD, head))
        yield UNTIL_ASKED
        yield from self._hand_on(itertools.chain(first, pieces))
        while not is_whole:
            yield from received.more()
            self._release(place, received)
            is_whole = received.is_complete
            yield from self._hand_on(body.pieces(received))
        body.finish()
        self.tell(Event(self.id, EventKind.END))

    def _release(self, place: Place, received: Received) -> None:
        """Give the place back where the response has been received."""
        if place.is_held and received.is_complete:
            self.ways.pool.give_back(place, keep=received.end())

    def _answered(self, place: Place) -> Steps[Received]:
        """Send the request, and receive the head of the response; over a new connection where no kept one serves."""
        if place.carrier is not None and self._may_use(place.carrier):
            try:
                return (yield from place.carrier.ask(self.request, self.body, self.ways.limits, self.wake))
            except GoneError:
                if not self.request.may_be_repeated:
                    raise
        self.ways.pool.renew(place)
        connection = yield from self.ways.dialer.open(self.request.origin, self.policy, self.wake)
        connection.cleared_by = self.policy
        carrier = self.ways.pool.carry(place, connection)
        return (yield from carrier.ask(self.request, self.body, self.ways.limits, self.wake))

    def _may_use(self, carrier: Carrier) -> bool:
        """Tell whether a kept connection serves: the policy may have changed since it was made."""
        if carrier.cleared_by is not self.policy:
            origin = self.request.origin
            if not self.policy.allows(origin.host, carrier.address, origin.port, is_own_address):
                return False
            carrier.cleared_by = self.policy
        return carrier.is_alive

    def _hand_on(self, pieces: Iterable[bytes]) -> Steps[None]:
        for piece in pieces:
            self.tell(Event(self.id, EventKind.PIECE, data=piece))
            yield UNTIL_ASKED


class _Body:
    """A response's body, decoded and bounded."""

    def __init__(self, head: ResponseHead, limits: FetchLimits) -> None:
        decoders = decoders_of(head.content_encoding)
        self._decoders: list[Decoder] = decoders or []
        self._bytes_max = limits.body_bytes_max
        self._bytes = 0
        self.is_decoded = bool(decoders)

    def pieces(self, received: Received) -> Iterator[bytes]:
        """Yield what has come, decoded, in bounded pieces; raises UpstreamError."""
        for piece in decoded(self._decoders, received.take_body()):
            self._bytes += len(piece)
            if self._bytes > self._bytes_max:
                raise UpstreamError(f"the response's body is larger than {self._bytes_max} bytes")
            yield piece

    def finish(self) -> None:
        """Raise UpstreamError where the body ends within its coding."""
        for decoder in self._decoders:
            decoder.finish()
