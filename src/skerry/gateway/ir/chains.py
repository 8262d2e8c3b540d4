"""Where the proxy listens, and what connections and requests meet there, route or not."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from skerry.gateway.ir.access import Authentication, Authorization
from skerry.gateway.ir.routes import NativeLoader, NativeRoute

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
