"""gateway.networking.k8s.io/v1: GatewayClass and Gateway.

Fields, defaults, limits and cross-field rules are those of the standard channel of Gateway API v1.4; the rules that
its CRDs state as CEL stand here as Python, with the same sentences. HTTPRoute has a module of its own, and what both
refer to is in `gateway_references`.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.fields import FieldError, duplicate, invalid, repeated, required
from skerry.api.gateway_references import (
    DNS_PATTERN,
    GROUP,
    VERSION,
    AnnotationValue,
    ControllerName,
    Group,
    Hostname,
    KindName,
    LocalObjectReference,
    ObjectName,
    ParametersReference,
    SecretObjectReference,
    SectionName,
)
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.label_selector import LabelSelector, selector_errors
from skerry.api.model import LIST_ATOMIC, Condition, Conditions, Int32, Model, Port, Resource, list_map, pending
from skerry.api.selectors import LabelSelector as NodeSelector
from skerry.api.selectors import SelectorError, parse_label_selector

#: The controller of the classes whose gateways Skerry runs.
CONTROLLER_NAME = "skerry.dev/gateway-controller"

#: A Gateway with this label at "true" gives every backend function a host of its own. Skerry's own addition.
DEFAULT_FUNCTIONS_LABEL = "skerry.dev/default-functions"

#: Says which nodes of its namespace's fleet run a Gateway: a selector of their labels, as Kubernetes writes it. Those
#: without it are the control plane's own node's. Skerry's own addition.
NODE_SELECTOR_ANNOTATION = "skerry.dev/node-selector"


class GatewayClassSpec(Model):
    """Which controller runs the Gateways of this class."""

    controller_name: ControllerName
    """The controller, as a domain-prefixed path; skerry.dev/gateway-controller is this one. It can't be changed."""
    parameters_ref: ParametersReference | None = None
    """An object with parameters for the controller; this controller takes none."""
    description: Annotated[str, Field(max_length=64)] | None = None
    """What the class is for, for a person."""


class SupportedFeature(Model):
    """A feature of the Gateway API that a class supports."""

    name: str
    """Name of the feature, as the conformance tests of the Gateway API spell it."""


class GatewayClassStatus(Model):
    """What the controller says of the class."""

    conditions: Annotated[Conditions, Field(max_length=8)] = None
    """Accepted tells whether the controller runs Gateways of this class; SupportedVersion follows the CRDs."""
    supported_features: Annotated[list[SupportedFeature] | None, Field(max_length=64), list_map("name")] = None
    """The features that Gateways of this class support."""


class GatewayClass(Resource):
    """A class of Gateways that one controller runs."""

    spec: GatewayClassSpec
    """The desired state."""
    status: GatewayClassStatus = Field(default_factory=GatewayClassStatus)
    """The present state."""


def _prepare_class(gateway_class: GatewayClass) -> None:
    gateway_class.status.conditions = [pending("Accepted")]


def _validate_class(gateway_class: GatewayClass, old: GatewayClass | None) -> Iterator[FieldError]:
    name = gateway_class.spec.controller_name
    if old is not None and name != old.spec.controller_name:
        yield invalid("spec.controllerName", name, "Value is immutable")


GATEWAY_CLASS = Kind(
    group=GROUP,
    version=VERSION,
    model=GatewayClass,
    plural="gatewayclasses",
    namespaced=False,
    short_names=("gc",),
    categories=("gateway-api",),
    columns=(
        Column("Controller", value_at(".spec.controllerName"), description="The controller that runs its Gateways."),
        Column("Accepted", condition_status("Accepted"), description="Whether the controller runs its Gateways."),
        Column("Description", value_at(".spec.description"), description="What the class is for.", priority=1),
    ),
    prepare_create=_prepare_class,
    validate=_validate_class,
    read_by="view",
)


class RouteNamespaces(Model):
    """From which namespaces routes may attach."""

    from_: Annotated[Literal["All", "Selector", "Same"], Field(alias="from")] = "Same"
    """All namespaces, those that `selector` selects, or only the Gateway's own."""
    selector: LabelSelector | None = None
    """Selects namespaces by label, where `from` is Selector."""


class RouteGroupKind(Model):
    """A kind of route."""

    group: Group = GROUP
    """API group of the route."""
    kind: KindName
    """Kind of the route."""


class AllowedRoutes(Model):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces = Field(default_factory=RouteNamespaces)
    """From which namespaces; from the Gateway's own where absent."""
    kinds: Annotated[list[RouteGroupKind] | None, Field(max_length=8), LIST_ATOMIC] = None
    """Which kinds; those of the listener's protocol where absent."""


class ListenerTLSConfig(Model):
    """How a listener handles TLS."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    """Terminate ends TLS here, with `certificateRefs`; Passthrough hands the encrypted stream on."""
    certificate_refs: Annotated[list[SecretObjectReference] | None, Field(max_length=64), LIST_ATOMIC] = None
    """Secrets of type kubernetes.io/tls with the certificates to present."""
    options: Annotated[dict[str, AnnotationValue] | None, Field(max_length=16)] = None
    """Options of the implementation; this one has none."""


class Listener(Model):
    """A port on which a Gateway accepts connections."""

    name: SectionName
    """Name of the listener, unique within the Gateway."""
    hostname: Hostname | None = None
    """Only requests for this hostname, exact or with a leading `*.`; for any hostname where absent."""
    port: Port
    """The port to listen on. Several listeners may share one, told apart by their hostnames."""
    protocol: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            pattern=rf"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|{DNS_PATTERN}\/[A-Za-z0-9]+$",
        ),
    ]
    """The protocol to expect. HTTP and HTTPS are served here; TLS, TCP and UDP are not."""
    tls: ListenerTLSConfig | None = None
    """How TLS is handled; for HTTPS and TLS listeners only."""
    allowed_routes: AllowedRoutes = Field(default_factory=AllowedRoutes)
    """Which routes may attach."""


class GatewaySpecAddress(Model):
    """An address that a Gateway asks for."""

    type: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=rf"^Hostname|IPAddress|NamedAddress|{DNS_PATTERN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
        ),
    ] = "IPAddress"
    """IPAddress is served here; Hostname and others are not."""
    value: Annotated[str, Field(max_length=253)] = ""
    """The address to listen on."""


class GatewayInfrastructure(Model):
    """What to put on the infrastructure that a Gateway makes."""

    labels: Annotated[dict[str, str] | None, Field(max_length=8)] = None
    """Labels for it."""
    annotations: Annotated[dict[str, AnnotationValue] | None, Field(max_length=8)] = None
    """Annotations for it."""
    parameters_ref: LocalObjectReference | None = None
    """An object with parameters for the controller; this controller takes none."""


class GatewaySpec(Model):
    """Where traffic comes in."""

    gateway_class_name: ObjectName
    """The GatewayClass of this Gateway."""
    listeners: Annotated[list[Listener], Field(min_length=1, max_length=64), list_map("name")]
    """The ports on which it accepts connections."""
    addresses: Annotated[list[GatewaySpecAddress] | None, Field(max_length=16), LIST_ATOMIC] = None
    """The addresses to listen on; the node's default address where absent."""
    infrastructure: GatewayInfrastructure | None = None
    """What to put on the infrastructure of this Gateway."""


class GatewayStatusAddress(Model):
    """An address on which a Gateway listens."""

    type: Annotated[str, Field(min_length=1, max_length=253)] = "IPAddress"
    """Type of the address."""
    value: Annotated[str, Field(min_length=1, max_length=253)]
    """The address."""


class ListenerStatus(Model):
    """The present state of one listener."""

    name: SectionName
    """Name of the listener."""
    supported_kinds: Annotated[list[RouteGroupKind] | None, Field(max_length=8), LIST_ATOMIC] = None
    """The kinds of routes that may attach here."""
    attached_routes: Int32
    """How many routes are attached."""
    conditions: Annotated[list[Condition], Field(max_length=8), list_map("type")]
    """Accepted, Conflicted, ResolvedRefs and Programmed."""


class GatewayStatus(Model):
    """The present state of a Gateway."""

    addresses: Annotated[list[GatewayStatusAddress] | None, Field(max_length=16), LIST_ATOMIC] = None
    """The addresses on which it listens."""
    conditions: Annotated[Conditions, Field(max_length=8)] = None
    """Accepted: the specification is sound. Programmed: the proxy listens with it."""
    listeners: Annotated[list[ListenerStatus] | None, Field(max_length=64), list_map("name")] = None
    """The state of each listener."""


class Gateway(Resource):
    """Where traffic comes in: addresses, ports and who may attach routes to them."""

    spec: GatewaySpec
    """The desired state."""
    status: GatewayStatus = Field(default_factory=GatewayStatus)
    """The present state."""


def node_selector_of(gateway: Gateway) -> NodeSelector | None:
    """Return which nodes run a Gateway; None for the control plane's own. Raises SelectorError."""
    text = (gateway.metadata.annotations or {}).get(NODE_SELECTOR_ANNOTATION)
    if text is None:
        return None
    selector = parse_label_selector(text)
    if not selector:
        raise SelectorError("must name a label of nodes, such as site=lyon; leave it out for the control plane's own")
    return selector


def gives_functions_hosts(gateway: Gateway) -> bool:
    """Tell whether every backend function has a host of its own at a Gateway."""
    return (gateway.metadata.labels or {}).get(DEFAULT_FUNCTIONS_LABEL) == "true"


def selects_nodes(gateway: Gateway) -> bool:
    """Tell whether nodes of a fleet run a Gateway, and not the control plane's own."""
    return NODE_SELECTOR_ANNOTATION in (gateway.metadata.annotations or {})


_NO_TLS = frozenset({"HTTP", "TCP", "UDP"})
_NO_HOSTNAME = frozenset({"TCP", "UDP"})


def _listener_errors(path: str, listener: Listener) -> Iterator[FieldError]:
    if listener.tls is not None:
        if listener.protocol in _NO_TLS:
            yield invalid(
                f"{path}.tls", listener.protocol, "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']"
            )
        if listener.protocol == "HTTPS" and listener.tls.mode != "Terminate":
            yield invalid(f"{path}.tls.mode", listener.tls.mode, "tls mode must be Terminate for protocol HTTPS")
        if listener.tls.mode == "Terminate" and not (listener.tls.certificate_refs or listener.tls.options):
            yield required(f"{path}.tls", "certificateRefs or options must be specified when mode is Terminate")
    if listener.hostname and listener.protocol in _NO_HOSTNAME:
        yield invalid(
            f"{path}.hostname", listener.hostname, "hostname must not be specified for protocols ['TCP', 'UDP']"
        )
    yield from selector_errors(f"{path}.allowedRoutes.namespaces.selector", listener.allowed_routes.namespaces.selector)


def _address_errors(addresses: Sequence[GatewaySpecAddress]) -> Iterator[FieldError]:
    seen = set()
    for index, address in enumerate(addresses):
        path = f"spec.addresses[{index}].value"
        if address.type == "IPAddress" and address.value:
            try:
                ipaddress.ip_address(address.value)
            except ValueError:
                yield invalid(path, address.value, "must be a valid IP address, such as 127.0.0.1 or ::1")
        if address.type == "Hostname" and not re.fullmatch(rf"(\*\.)?{DNS_PATTERN}|", address.value):
            yield invalid(path, address.value, "Hostname value must be empty or contain only valid characters")
        if address.value and (address.type, address.value) in seen:
            yield duplicate(path, address.value)
        seen.add((address.type, address.value))


def _validate_gateway(gateway: Gateway, _: Gateway | None) -> Iterator[FieldError]:
    listeners = gateway.spec.listeners
    yield from repeated((listener.name for listener in listeners), "spec.listeners", "name")
    places = set()
    for index, listener in enumerate(listeners):
        path = f"spec.listeners[{index}]"
        yield from _listener_errors(path, listener)
        place = (listener.port, listener.protocol, listener.hostname)
        if place in places:
            yield invalid(path, place, "Combination of port, protocol and hostname must be unique for each listener")
        places.add(place)
    yield from _address_errors(gateway.spec.addresses or ())
    try:
        node_selector_of(gateway)
    except SelectorError as error:
        text = (gateway.metadata.annotations or {})[NODE_SELECTOR_ANNOTATION]
        yield invalid(f"metadata.annotations[{NODE_SELECTOR_ANNOTATION}]", text, str(error))


def _prepare_gateway(gateway: Gateway) -> None:
    gateway.status.conditions = [pending("Accepted"), pending("Programmed")]


GATEWAY = Kind(
    group=GROUP,
    version=VERSION,
    model=Gateway,
    plural="gateways",
    namespaced=True,
    short_names=("gtw",),
    categories=("gateway-api",),
    columns=(
        Column("Class", value_at(".spec.gatewayClassName"), description="The GatewayClass."),
        Column("Address", value_at(".status.addresses[0].value"), description="Where it listens."),
        Column("Programmed", condition_status("Programmed"), description="Whether the proxy listens with it."),
    ),
    prepare_create=_prepare_gateway,
    validate=_validate_gateway,
    read_by="view",
    written_by="edit",
)
