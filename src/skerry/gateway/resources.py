"""What the translator reads: objects of the log, and facts of the node it translates for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skerry.api.apoxy_core_v1alpha2 import Backend
from skerry.api.apoxy_extensions_direct_response import DirectResponse
from skerry.api.core_v1 import Secret
from skerry.api.dispatch_endpoints import Endpoint
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.function_template import EdgeFunctionRevisionSpec
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import Gateway, GatewayClass
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.istio_request_authentication_v1 import RequestAuthentication
from skerry.gateway.decisions import Key
from skerry.gateway.route_filters import RuleFilter
from skerry.kit.immutable_map import ImmutableMap


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the node knows of itself.

    Attributes:
        engine_sockets: paths of the Unix sockets of its engine workers.
        default_address: the IP address to listen on where a Gateway names none.
        function_hostname_suffix: a function `f` answers at `f.<suffix>`.
        labels: of the node; plugins select by them, and by those of Gateways.
        root_namespace: plugins of this namespace apply to Gateways of every namespace.
        endpoints_socket: path of the Unix socket of whoever calls functions for endpoints; "" for nobody.
        elsewhere: the Gateways that other nodes run, by namespace and name, each with the name of its class.
    """

    engine_sockets: tuple[str, ...] = ()
    default_address: str = "127.0.0.1"
    function_hostname_suffix: str = "functions.localhost"
    labels: Mapping[str, str] = field(default_factory=dict)
    root_namespace: str = "istio-system"
    endpoints_socket: str = ""
    elsewhere: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldPlugin:
    """A plugin as this node can run it.

    Attributes:
        plugin: the plugin to run: the stored one, or, while the code of that is on its way, the one before it.
        code: path of its module; None where there is none.
        waiting: whether the code, or that of the plugin as it is stored now, is still on its way.
        problem: why there is no code; "" where there is, or where it is on its way.
    """

    plugin: WasmPlugin
    code: str | None = None
    waiting: bool = False
    problem: str = ""


def plugins_by_key(held: Iterable[HeldPlugin]) -> ImmutableMap[Key, HeldPlugin]:
    """Return plugins as `Resources` hold them."""
    return ImmutableMap({(item.plugin.namespace, item.plugin.name): item for item in held})


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that bears on traffic, as it stands at one moment; the order within the tuples does not matter.

    Attributes:
        plugins: as this node can run them, by namespace and name.
        filters: what those functions of mode filter are that the proxy itself runs, each named `filter_name(function)`;
            any other that has a live revision is run by the engine.
        secrets: only those of type kubernetes.io/tls matter.
        namespace_labels: labels of every namespace, by its name.
        revisions: what functions were at each revision, by its name.
        node: facts of the node.
    """

    gateway_classes: tuple[GatewayClass, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    http_routes: tuple[HTTPRoute, ...] = ()
    backends: tuple[Backend, ...] = ()
    direct_responses: tuple[DirectResponse, ...] = ()
    functions: tuple[EdgeFunction, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    plugins: ImmutableMap[Key, HeldPlugin] = field(default_factory=ImmutableMap)
    filters: tuple[RuleFilter, ...] = ()
    authentications: tuple[RequestAuthentication, ...] = ()
    policies: tuple[AuthorizationPolicy, ...] = ()
    secrets: tuple[Secret, ...] = ()
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    revisions: Mapping[str, EdgeFunctionRevisionSpec] = field(default_factory=dict)
    node: NodeFacts = NodeFacts()
