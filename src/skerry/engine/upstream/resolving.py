"""The addresses of a name. An address, however it is written, needs no resolver; a name asks the system's, on a thread.

Answers are kept for a moment: a burst of subrequests asks once. That is safe, since what is connected to is an address
that was checked, not the name.
"""

import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from skerry.engine.upstream.errors import FetchRefusedError, UpstreamError
from skerry.engine.upstream.waits import WOKEN, Steps, Wait
from skerry.kit.addresses import Address

#: Addresses of one name that are tried.
ADDRESSES_MAX = 4
#: How long an answer, or a failure, is kept.
KEPT_SECONDS = 2.0
KEPT_MAX = 1_024
THREADS_MAX = 8
#: Names that are asked for at once, waiting for a thread included.
ASKED_MAX = 256

#: Returns the addresses of a name; blocks; raises OSError or UnicodeError.
LookUp = Callable[[str], list[Address]]


def look_up(host: str) -> list[Address]:
    """Ask the system's resolver."""
    return _addresses(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


def written_address(host: str) -> list[Address]:
    """Return the address that a host is written as, in any form that the system takes; none for a name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return _addresses(found)


def _addresses(found: Iterable[tuple[Any, ...]]) -> list[Address]:
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class _Answer(NamedTuple):
    until: float
    future: Future[list[Address]]


class Resolver:
    """Resolves for all functions of a worker; called from many threads."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._executor = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="resolver")
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._asked = 0

    def addresses(self, host: str, wake: Callable[[], None], *, seconds_max: float) -> Steps[list[Address]]:
        """Return the addresses of a host, at most `ADDRESSES_MAX`; raises UpstreamError, FetchRefusedError."""
        if written := written_address(host):
            return written
        future = self._asked_for(host)
        if not future.done():
            future.add_done_callback(lambda _: wake())
            until = time.monotonic() + seconds_max
            while not future.done():
                yield Wait(WOKEN, until=until, doing=f"resolving {host}")
        try:
            found = future.result()
        except (OSError, UnicodeError) as error:
            raise UpstreamError(f"{host} can't be resolved: {error}") from error
        if not found:
            raise UpstreamError(f"{host} has no address")
        return found[:ADDRESSES_MAX]

    def _asked_for(self, host: str) -> Future[list[Address]]:
        now = time.monotonic()
        with self._lock:
            kept = self._answers.get(host)
            if kept is not None and (now < kept.until or not kept.future.done()):
                return kept.future
            if self._asked >= ASKED_MAX:
                raise FetchRefusedError(f"{ASKED_MAX} names are being resolved already")
            self._asked += 1
            future = self._executor.submit(self._look_up, host)
            self._answers[host] = _Answer(now + KEPT_SECONDS, future)
            self._answers.move_to_end(host)
            while len(self._answers) > KEPT_MAX:
                self._answers.popitem(last=False)
        future.add_done_callback(self._note_answered)  # called at once where it is done: not under the lock
        return future

    def _note_answered(self, _: Future[list[Address]]) -> None:
        with self._lock:
            self._asked -= 1

    def close(self) -> None:
        """Ask for nothing any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
