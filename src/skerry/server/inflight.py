"""How much is done at once: bounds on requests and streams in flight, of all users together and of each.

At a bound the answer is 429 with `Retry-After: 1`, and names the bound; clients of Kubernetes try again by themselves.
Administrators are counted and never refused, as in kube-apiserver: whoever has to find out what is wrong gets an
answer. A request is in flight from its user's being known until its answer is made; a watch or a followed log counts
as a stream instead, while it is open, and the link of a node as a link.
"""

from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from prometheus_client import Counter as Metric

from skerry.api.errors import TooManyRequests
from skerry.kit.errors import ConfigurationError
from skerry.server.auth import ADMINISTRATORS, BAETYL_NODES, User

REFUSED = Metric("skerry_api_refused_total", "Requests that were refused because of a bound in flight.", ["limit"])

_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class InflightLimits:
    """How much may be in flight; the first two are kube-apiserver's, with its defaults.

    Attributes:
        max_requests_inflight: requests that read.
        max_mutating_requests_inflight: requests that write.
        max_streams_inflight: watches and followed logs; ten thousand of clients is what the log is made for.
        max_user_requests_inflight: requests of either kind, of one user.
        max_user_streams_inflight: streams of one user.
        max_node_requests_inflight: requests of nodes of fleets, whatever they are, and messages of their links: a
            fleet that comes back at once leaves room for people, and they for it.
        max_node_links_inflight: open links of nodes; apart from streams for the same reason.
        max_node_own_links_inflight: of one node. It has one, or two for its two agents, and more while one takes
            another's place.
    """

    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    max_streams_inflight: int = 10_000
    max_user_requests_inflight: int = 100
    max_user_streams_inflight: int = 1_000
    max_node_requests_inflight: int = 500
    max_node_links_inflight: int = 10_000
    max_node_own_links_inflight: int = 8

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name}: must be above 0, not {getattr(self, name)}")


class _Counted:
    """Counts one thing for the length of a block; a generator would cost as much as what it guards."""

    __slots__ = ("_all", "_by_user", "_limit", "_own")

    def __init__(
        self, counts: tuple[dict[str, int], dict[tuple[str, str], int]], limit: str, own: tuple[str, str]
    ) -> None:
        self._all, self._by_user = counts
        self._limit = limit
        self._own = own

    def __enter__(self) -> None:
        self._all[self._limit] += 1
        self._by_user[self._own] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all[self._limit] -= 1
        self._by_user[self._own] -= 1
        if not self._by_user[self._own]:
            del self._by_user[self._own]


class Inflight:
    """Counts what is in flight, and refuses what is too much.

    A user's count is dropped with its last request, so there are never more counts than requests.
    """

    def __init__(self, limits: InflightLimits) -> None:
        self._limits = limits
        self._all: defaultdict[str, int] = defaultdict(int)
        self._by_user: defaultdict[tuple[str, str], int] = defaultdict(int)

    def request(self, user: User, method: str) -> AbstractContextManager[None]:
        """Count a request for the length of the block; raises TooManyRequests."""
        kind = "max_requests_inflight" if method in _READING_METHODS else "max_mutating_requests_inflight"
        if BAETYL_NODES in user.groups:
            kind = "max_node_requests_inflight"
        return self._counted(user, kind, "max_user_requests_inflight")

    def stream(self, user: User) -> AbstractContextManager[None]:
        """Count a stream for the length of the block; raises TooManyRequests."""
        return self._counted(user, "max_streams_inflight", "max_user_streams_inflight")

    def link(self, user: User) -> AbstractContextManager[None]:
        """Count a link of a node for the length of the block; raises TooManyRequests."""
        return self._counted(user, "max_node_links_inflight", "max_node_own_links_inflight")

    def _counted(self, user: User, limit: str, user_limit: str) -> _Counted:
        own = (user_limit, user.name)
        if ADMINISTRATORS not in user.groups:
            self._check(limit, self._all.get(limit, 0))
            self._check(user_limit, self._by_user.get(own, 0))
        return _Counted((self._all, self._by_user), limit, own)

    def _check(self, limit: str, count: int) -> None:
        most: int = getattr(self._limits, limit)
        if count >= most:
            REFUSED.labels(limit).inc()
            raise TooManyRequests(f"too many requests, please try again later: {limit} is {most}")

    def statistics(self) -> dict[str, int]:
        """Return how much is in flight by limit, and how many users have something in flight."""
        return {**self._all, "users": len({name for _, name in self._by_user})}
