"""Who may have a connection: places for subrequests, connections that are kept, and the queue for both.

Owns the counts. Invariants: no more than `connections_max` connections exist, `connections_per_origin_max` of one
origin, and no function holds more than `exchanges_per_function_max` places; so no function takes all from the others.
Where one of these is reached a kept connection that is not needed makes room, else the subrequest waits its turn.
"""

import threading
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from skerry.engine.upstream.carriers import Carrier
from skerry.engine.upstream.connections import Connection
from skerry.engine.upstream.dialing import HTTP2
from skerry.engine.upstream.errors import FetchRefusedError
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.requests import Origin
from skerry.engine.upstream.waits import WOKEN, Steps, Wait

if TYPE_CHECKING:
    from skerry.engine.upstream.http2 import Http2Session

_Key = TypeVar("_Key")


def _uncount(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@dataclass(eq=False, slots=True)
class Place:
    """The right to one connection to an origin, for one subrequest of a function.

    Attributes:
        carrier: the connection that it has, or None while it has none.
        is_held: it was not given back.
    """

    function: str
    origin: Origin
    carrier: Carrier | None = None
    is_held: bool = True

    @property
    def is_shared(self) -> bool:
        """Whether the connection is that of others, too, and counts once for all."""
        return self.carrier is not None and self.carrier.is_shared


@dataclass(eq=False, slots=True)
class _Waiting:
    function: str
    origin: Origin
    wake: Callable[[], None]
    place: Place | None = None


class ConnectionPool:
    """The connections of one worker; called from many threads."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[Connection, None] = OrderedDict()  # longest unused first
        self._shared: dict[Origin, Http2Session] = {}
        self._kept_of: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._of_origin: Counter[Origin] = Counter()  # connections, kept ones included
        self._of_function: Counter[str] = Counter()  # places
        self._connections = 0
        self._waiting: deque[_Waiting] = deque()
        self._waiting_of: Counter[str] = Counter()

    def place(self, function: str, origin: Origin) -> Place | None:
        """Return a place, with a kept connection where there is one; None where all are taken. `give_back` it."""
        with self._lock:
            return self._granted(function, origin)

    def awaited_place(self, function: str, origin: Origin, wake: Callable[[], None]) -> Steps[Place]:
        """Return a place as `place` does, when there is one.

        Raises:
            FetchRefusedError: too many wait already.
            TimeoutError: it has waited for too long.
        """
        with self._lock:
            if (place := self._granted(function, origin)) is not None:
                return place
            waiting = self._enqueued(_Waiting(function, origin, wake))
        until = time.monotonic() + self._limits.waiting_seconds_max
        try:
            while waiting.place is None:
                yield Wait(WOKEN, until=until, doing="waiting for a connection")
        except BaseException:
            self._leave(waiting)
            raise
        return waiting.place

    def _enqueued(self, waiting: _Waiting) -> _Waiting:
        limits = self._limits
        if self._waiting_of[waiting.function] >= limits.waiting_per_function_max:
            raise FetchRefusedError(
                f"{limits.exchanges_per_function_max} subrequests of the function run and "
                f"{limits.waiting_per_function_max} wait: fetch less at once"
            )
        self._waiting_of[waiting.function] += 1
        self._waiting.append(waiting)
        return waiting

    def _leave(self, waiting: _Waiting) -> None:
        with self._lock:
            place = waiting.place
            if place is None:
                self._waiting.remove(waiting)
                _uncount(self._waiting_of, waiting.function)
        if place is not None:
            self.give_back(place, keep=True)

    def _granted(self, function: str, origin: Origin) -> Place | None:
        if self._of_function[function] >= self._limits.exchanges_per_function_max:
            return None
        session = self._session(origin) if self._shared else None
        if session is not None and not session.has_room:
            return None
        carrier: Carrier | None = session
        if carrier is None:
            if kept := self._kept_of.get(origin):
                carrier = kept[-1]
                self._unkeep(carrier)
            elif self._has_room(origin):
                self._count(origin)
            else:
                return None
        self._of_function[function] += 1
        if session is not None:
            session.places += 1
        return Place(function, origin, carrier)

    def _session(self, origin: Origin) -> "Http2Session | None":
        session = self._shared.get(origin)
        if session is not None and not session.is_alive:
            self._unshare(origin)
            return None
        return session

    def _unshare(self, origin: Origin) -> None:
        session = self._shared.pop(origin)
        self._forget(origin)
        if session.is_idle:  # else the last of its requests closes it, by letting it go
            session.close()

    def renew(self, place: Place) -> None:
        """Take a connection that serves no more from its place, which may have a new one; raises FetchRefusedError."""
        carrier, place.carrier = place.carrier, None
        if carrier is None:
            return
        if not carrier.is_shared:
            carrier.close()
            return
        with self._lock:
            self._let_go(Place(place.function, place.origin, carrier))
            if self._shared.get(place.origin) is carrier:
                self._unshare(place.origin)
            if not self._has_room(place.origin):
                self._count(place.origin)  # of this one, that is about to be given back
                raise FetchRefusedError("no connection is free")
            self._count(place.origin)

    def carry(self, place: Place, connection: Connection) -> Carrier:
        """Give a place its new connection; returns what it is used through."""
        if connection.protocol != HTTP2:
            place.carrier = connection
            return connection
        from skerry.engine.upstream.http2 import (
            Http2Session,  # imports take long, and a killed worker must be back soon
        )

        with self._lock:
            session = self._session(place.origin)
            if session is None:
                session = self._shared[place.origin] = Http2Session(connection, self._limits)
            else:  # two were opened at once
                self._forget(place.origin)
                connection.close()
            session.places += 1
            place.carrier = session
            return session

    def _has_room(self, origin: Origin) -> bool:
        if self._of_origin[origin] >= self._limits.connections_per_origin_max:
            return False
        if self._connections >= self._limits.connections_max and self._kept:
            self._drop(next(iter(self._kept)))
        return self._connections < self._limits.connections_max

    def _drop(self, connection: Connection) -> None:
        self._unkeep(connection)
        self._forget(connection.origin)
        connection.close()

    def _unkeep(self, connection: Connection) -> None:
        del self._kept[connection]
        kept = self._kept_of[connection.origin]
        kept.remove(connection)
        if not kept:
            del self._kept_of[connection.origin]

    def _count(self, origin: Origin) -> None:
        self._connections += 1
        self._of_origin[origin] += 1

    def _forget(self, origin: Origin) -> None:
        self._connections -= 1
        _uncount(self._of_origin, origin)

    def give_back(self, place: Place, *, keep: bool) -> None:
        """Give back a place, and keep its connection for the next request, or end it."""
        carrier = place.carrier
        place.is_held = False
        with self._lock:
            _uncount(self._of_function, place.function)
            if isinstance(carrier, Connection) and keep:
                self._keep(carrier)
            elif place.is_shared:
                self._let_go(place)
            else:
                self._forget(place.origin)
                if carrier is not None:
                    carrier.close()
            if self._waiting:
                self._grant_waiting()

    def _let_go(self, place: Place) -> None:
        session = cast("Http2Session", place.carrier)
        session.places -= 1
        if session.is_idle and not session.is_alive:
            session.close()

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        self._kept[connection] = None
        self._kept_of[connection.origin].append(connection)
        if len(self._kept) > self._limits.kept_max:
            self._drop(next(iter(self._kept)))

    def _grant_waiting(self) -> None:
        for waiting in list(self._waiting):
            place = self._granted(waiting.function, waiting.origin)
            if place is not None:
                self._waiting.remove(waiting)
                _uncount(self._waiting_of, waiting.function)
                waiting.place = place
                waiting.wake()

    def sweep(self) -> None:
        """End the connections that were kept for too long."""
        stale = time.monotonic() - self._limits.kept_seconds_max
        with self._lock:
            while self._kept and (oldest := next(iter(self._kept))).idle_since < stale:
                self._drop(oldest)
            for origin, session in list(self._shared.items()):
                if not session.is_alive or (session.is_idle and session.idle_since < stale):
                    self._unshare(origin)

    def close(self) -> None:
        """End the connections that are kept."""
        with self._lock:
            while self._kept:
                self._drop(next(iter(self._kept)))
            for origin in list(self._shared):
                self._unshare(origin)

    def statistics(self) -> dict[str, int]:
        """Return the present counts."""
        with self._lock:
            return {
                "fetch_connections": self._connections,
                "fetch_connections_idle": len(self._kept),
                "fetches_waiting": len(self._waiting),
            }
