"""What is done with requests: which ones are meant, what they pass, and where they go."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

PathKind = Literal["exact", "prefix", "regex"]


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path, without its query.

    Attributes:
        kind: the whole path, its first segments, or an RE2 expression over the whole path.
        value: for a prefix without a trailing slash; "" is the prefix of every path.
    """

    kind: PathKind
    value: str


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A condition on a header or query parameter.

    Attributes:
        name: of the header (any case) or parameter.
        value: the text, or an RE2 expression over the whole value.
        regex: whether `value` is an expression.
    """

    name: str
    value: str
    regex: bool = False


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Conditions on a request; all must hold."""

    path: PathMatch
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    method: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether every request fits."""
        return self.path == EVERY_PATH and not (self.headers or self.query or self.method)


EVERY_PATH = PathMatch("prefix", "")
EVERYTHING = RouteMatch(EVERY_PATH)


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Changes of headers: `remove` first, then `set` (overwrites) and `add` (appends), as (name, value)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True)
class PathChange:
    """A new path: for `prefix`, `value` stands for the prefix that the route matched."""

    kind: Literal["full", "prefix"]
    value: str


@dataclass(frozen=True, slots=True)
class Destination:
    """A share of the requests of a route.

    Attributes:
        cluster: name of a cluster; `BROKEN` answers 500, `UNREADY` answers 503.
        weight: relative to the sum of all weights of the route.
        request_headers: changes for this destination only, applied last.
        response_headers: likewise for the answer.
        filters: what its requests pass before, where that is not what the route has.
    """

    cluster: str
    weight: int = 1
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES
    filters: "tuple[FilterUse, ...]" = ()


#: The destination of a share whose backend can't be resolved: there is no such cluster, and Envoy answers 500.
BROKEN = "broken"
#: The destination of a share whose function has no live revision: a cluster without endpoints, so 503.
UNREADY = "unready"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of a share of the requests; its answers are dropped.

    Attributes:
        cluster: where the copies go.
        per_million: the share, in millionths.
        request_headers: changes of the copy.
    """

    cluster: str
    per_million: int = 1_000_000
    request_headers: HeaderChanges = NO_CHANGES


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request to one of the destinations, drawn by weight.

    Attributes:
        destinations: at least one, whose weights' sum is above 0.
        host: the new Host header, or None to keep it.
        path: the new path, or None to keep it.
        timeout_seconds: for the whole answer with all retries; 0 is no limit.
        try_timeout_seconds: for each try; 0 is no limit.
        retries: whether the destinations are engine workers, whose deaths retries hide.
        mirrors: copies.
    """

    destinations: tuple[Destination, ...]
    timeout_seconds: float
    try_timeout_seconds: float = 0.0
    host: str | None = None
    path: PathChange | None = None
    retries: bool = False
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with a redirection; None keeps what the request has."""

    status: int
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: PathChange | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer with a fixed response."""

    status: int
    body: str = ""
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


Action: TypeAlias = Forward | Redirect | Respond


NativeLoader = Literal["dynamic_module", "go"]
"""Which filter of the proxy loads a shared object: that of dynamic modules, or that of Go plugins."""


@dataclass(frozen=True, slots=True)
class NativeRoute:
    """What a native filter is given on one route.

    Attributes:
        loader: what loads it.
        code: path of the shared object.
        name: which of its filters is meant.
        configuration: JSON text of an object.
    """

    loader: NativeLoader
    code: str
    name: str
    configuration: str


@dataclass(frozen=True, slots=True)
class EngineFilter:
    """A function that sees requests on their way.

    Attributes:
        revision: which revision of which function.
        fails_open: whether requests go on where it fails.
        timeout_seconds: for each of its two looks, at the request and at the answer.
    """

    revision: str
    fails_open: bool
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class EngineRoute:
    """The functions that see the requests of one route, in their order."""

    filters: tuple[EngineFilter, ...]


@dataclass(frozen=True, slots=True)
class FilterUse:
    """That a route turns on a filter of its chain, which is off elsewhere.

    Attributes:
        filter: its name in the chain, as in `Chain.route_filters`.
        config: what it is given on this route; None for nothing.
    """

    filter: str
    config: EngineRoute | NativeRoute | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with the requests that fit.

    Attributes:
        name: where it comes from, such as `httproute/default/shop/rule/0/match/1`; it stands in the access log.
        match: which requests.
        action: what is done.
        request_headers: changes of the request for every destination.
        response_headers: changes of the answer.
        filters: what the requests pass before, in the order of the chain.
    """

    name: str
    match: RouteMatch
    action: Action
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES
    filters: tuple[FilterUse, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one host: exact, `*.suffix`, or `*` for any; the first route that fits is taken."""

    hostname: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The virtual hosts of one chain of a binding; hostnames are distinct, and the most specific one is taken."""

    name: str
    hosts: tuple[VirtualHost, ...]
