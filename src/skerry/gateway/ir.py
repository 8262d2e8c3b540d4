"""Our own model of what the proxy shall do, between the Gateway API and Envoy.

Owns the words that both sides share: bindings, route tables, virtual hosts, routes, clusters. Knows neither the
Gateway API nor Envoy, so that each side changes alone.

Invariant: everything is a value (frozen, hashable, in a fixed order), so equal inputs give equal configurations.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from skerry.gateway.ir_access import Authentication, Authorization
from skerry.kit.immutable_map import ImmutableMap

PathKind = Literal["exact", "prefix", "regex"]
Protocol = Literal["http1", "h2c", "tls", "h2"]


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


PluginLayer = Literal["http", "network"]
#: What becomes of traffic while a plugin's code is not there, or was refused.
StandIn = Literal["deny", "allow"]


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plugin's place in a chain.

    It holds nothing of the plugin's code or configuration, so that these can change while the listener stays as it is.

    Attributes:
        plugin: name of the plugin.
        stand_in: what stands there until the proxy has taken the plugin once.
        loader: what the plugin is loaded by once it is there.
    """

    plugin: str
    stand_in: StandIn
    loader: Literal["wasm"] | NativeLoader = "wasm"

    @property
    def name(self) -> str:
        """Its name among the filters of the chain."""
        return self.plugin

    def renamed(self, name: str) -> "PluginUse":
        """Return the same under another name."""
        return replace(self, plugin=name)


@dataclass(frozen=True, slots=True)
class Wasm:
    """A Proxy-Wasm module and what it is given.

    Attributes:
        code: path of the module on this node, named by its digest.
        root_id: which of the module's root contexts is meant.
        configuration: JSON text, or "" for none.
        environment: variables by name.
        host_environment: names of the proxy's own variables that it may see.
        on_trap: what becomes of requests once the module has trapped.
    """

    code: str
    root_id: str = ""
    configuration: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    host_environment: tuple[str, ...] = ()
    on_trap: Literal["deny", "allow", "reload"] = "deny"


@dataclass(frozen=True, slots=True)
class Native:
    """A shared object that the proxy loads into its own process, and what it is given.

    Attributes:
        loader: what loads it.
        code: path of the file on this node, named by its digest: what is loaded is never another's.
        name: which of its filters is meant.
        configuration: JSON text of an object, or "" for none.
    """

    loader: NativeLoader
    code: str
    name: str
    configuration: str = ""

    def on_route(self, configuration: str) -> NativeRoute | None:
        """Return what it is given on a route, as the text of an object; None for ""."""
        return NativeRoute(self.loader, self.code, self.name, configuration) if configuration else None


@dataclass(frozen=True, slots=True)
class Plugin:
    """A filter whose content changes by itself.

    Attributes:
        name: `<namespace>.<name>`, and the layer where that is not http.
        layer: whether it filters HTTP requests or connections.
        filter: the module, or what stands in for it.
    """

    name: str
    layer: PluginLayer
    filter: Wasm | Native | StandIn


HttpFilter: TypeAlias = PluginUse | Authentication | Authorization
"""What a request meets on its way to the router."""


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Where requests are shown to functions of the engine; which functions, the routes say."""

    name: str

    def renamed(self, name: str) -> "EnginePlace":
        """Return the same under another name."""
        return EnginePlace(name)


RouteFilter: TypeAlias = PluginUse | EnginePlace
"""What only the requests of routes meet that turn it on; each kind has a `name`, and can be `renamed`."""


@dataclass(frozen=True, slots=True)
class Chain:
    """How one kind of connection to a binding is handled.

    Attributes:
        table: name of its route table.
        server_names: TLS server names for which it is taken; empty for any.
        certificates: names of certificates to present; empty for plain HTTP.
        network_plugins: plugins before HTTP is spoken, in order.
        http_filters: what requests meet before the router, in order.
        route_filters: what follows these, each off but on routes that turn it on, in order.
        last_filters: what follows these, right before the router, in order.
    """

    table: str
    server_names: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    network_plugins: tuple[PluginUse, ...] = ()
    http_filters: tuple[HttpFilter, ...] = ()
    route_filters: tuple[RouteFilter, ...] = ()
    last_filters: tuple[HttpFilter, ...] = ()

    @property
    def plugins(self) -> tuple[PluginUse, ...]:
        """The plugins of both layers, in order."""
        http = (*self.http_filters, *self.route_filters, *self.last_filters)
        return (*self.network_plugins, *(each for each in http if isinstance(each, PluginUse)))


@dataclass(frozen=True, slots=True)
class Binding:
    """An address and port to listen on.

    Attributes:
        name: `<namespace>/<gateway>/<address>/<port>`.
        gateway: `<namespace>/<name>` of the Gateway that asks for it.
        address: an IP address.
        port: a TCP port.
        chains: how connections are handled; a single one without server names for plain HTTP.
    """

    name: str
    gateway: str
    address: str
    port: int
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its private key, PEM."""

    name: str
    chain: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Host:
    """Where an upstream answers: a DNS name or IP address with a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class NetworkCluster:
    """An upstream reached over TCP.

    Attributes:
        name: `backend/<name>/<port>`.
        hosts: requests are spread over them.
        protocol: how it is spoken to.
        dns: whether `hosts` has names to resolve.
    """

    name: str
    hosts: tuple[Host, ...]
    protocol: Protocol = "http1"
    dns: bool = False


@dataclass(frozen=True, slots=True)
class EngineCluster:
    """Processes of this node that answer, each on a Unix socket: its engine workers, or who calls functions.

    Attributes:
        name: of the cluster.
        sockets: their paths.
        use: whether they answer requests, or see them on their way (ext_proc).
    """

    name: str
    sockets: tuple[str, ...]
    use: Literal["answers", "filters"] = "answers"


@dataclass(frozen=True, slots=True)
class EmptyCluster:
    """A cluster without endpoints: every request is answered 503."""

    name: str


Cluster: TypeAlias = NetworkCluster | EngineCluster | EmptyCluster


@dataclass(frozen=True, slots=True)
class Ir:
    """Everything the proxy shall do; each tuple is ordered by name.

    Attributes:
        plugins: by name; often many, of which few change at once.
    """

    bindings: tuple[Binding, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    plugins: ImmutableMap[str, Plugin] = field(default_factory=ImmutableMap)


def plugins_by_name(plugins: Iterable[Plugin]) -> ImmutableMap[str, Plugin]:
    """Return plugins as an `Ir` holds them."""
    return ImmutableMap({plugin.name: plugin for plugin in plugins})
