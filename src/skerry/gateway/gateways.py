"""Which Gateways are ours, and which of their listeners can be served.

Owns the conditions Accepted of classes and Gateways, and Accepted, Conflicted and ResolvedRefs of listeners. Does not
own which routes attach (`attachment.py`) or whether the proxy could bind (the agent's Programmed).

Invariant: a listener that can't be served takes no other with it, except those that it conflicts with.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skerry.api.core_v1 import Secret
from skerry.api.gateway_references import GROUP
from skerry.api.gateway_v1 import CONTROLLER_NAME, Gateway, GatewayClass, Listener
from skerry.gateway import ir
from skerry.gateway.certificates import certificate_of
from skerry.gateway.decisions import Decision, Key, no, yes
from skerry.gateway.hostnames import ANY
from skerry.gateway.resources import NodeFacts, Resources

HTTP, HTTPS = "HTTP", "HTTPS"
ROUTE_KIND = "HTTPRoute"


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """One listener and what was decided about it.

    Attributes:
        gateway: the Gateway's namespace and name.
        spec: the listener as it was given.
        kinds: kinds of routes that may attach.
        decisions: Accepted, Conflicted, ResolvedRefs.
        certificates: to present, for HTTPS.
        usable: whether it can be served.
    """

    gateway: Key
    spec: Listener
    kinds: tuple[str, ...]
    decisions: tuple[Decision, ...]
    certificates: tuple[ir.Certificate, ...]
    usable: bool

    @property
    def hostname(self) -> str:
        """The hosts that it serves, as a pattern."""
        return self.spec.hostname or ANY

    @property
    def table(self) -> str:
        """Name of its route table: plain listeners of a port share one, each TLS listener has its own."""
        shared = f"{self.gateway[0]}/{self.gateway[1]}/{self.spec.port}"
        return f"{shared}/{self.spec.name}" if self.spec.protocol == HTTPS else shared


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """One Gateway of ours and what was decided about it."""

    gateway: Gateway
    accepted: Decision
    addresses: tuple[str, ...]
    listeners: tuple[ListenerPlan, ...]

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.gateway.namespace, self.gateway.name)

    def bindings_of(self, listener: ListenerPlan) -> tuple[str, ...]:
        """Names of the bindings that serve a listener."""
        if not listener.usable:
            return ()
        return tuple(binding_name(self.key, address, listener.spec.port) for address in self.addresses)


def binding_name(gateway: Key, address: str, port: int) -> str:
    """Name the binding of a Gateway at an address and port."""
    return f"{gateway[0]}/{gateway[1]}/{address}/{port}"


def decide_classes(classes: Iterable[GatewayClass]) -> dict[str, Decision]:
    """Decide which classes of our controller are accepted."""
    return {
        cls.name: no("Accepted", "InvalidParameters", "this controller takes no parameters: remove spec.parametersRef")
        if cls.spec.parameters_ref
        else yes("Accepted", message="the class is run by this controller")
        for cls in classes
        if cls.spec.controller_name == CONTROLLER_NAME
    }


def plan_gateways(resources: Resources, classes: Mapping[str, Decision]) -> tuple[GatewayPlan, ...]:
    """Decide about every Gateway of our classes, the oldest first: it keeps a port that two ask for."""
    secrets = {(secret.namespace, secret.name): secret for secret in resources.secrets}
    taken: dict[tuple[str, int], Key] = {}
    ours = (gateway for gateway in resources.gateways if gateway.spec.gateway_class_name in classes)
    plans = []
    for gateway in sorted(ours, key=lambda g: (g.metadata.creation_timestamp or "", g.namespace, g.name)):
        class_decision = classes[gateway.spec.gateway_class_name]
        plan = _plan(gateway, _refusal(gateway, class_decision), resources.node, secrets, taken)
        plans.append(plan)
        for listener in plan.listeners:
            if listener.usable:
                taken |= {(address, listener.spec.port): plan.key for address in plan.addresses}
    return tuple(plans)


def _refusal(gateway: Gateway, class_decision: Decision) -> Decision | None:
    """Return why the Gateway as a whole can't be served, or None."""
    if class_decision.status == "False":
        return no("Accepted", "InvalidParameters", f"class {gateway.spec.gateway_class_name} is not accepted")
    for address in gateway.spec.addresses or ():
        if address.type != "IPAddress" or not address.value:
            wanted = "only addresses of type IPAddress with a value are supported"
            return no("Accepted", "UnsupportedAddress", f"{wanted}, not {address.type} {address.value!r}")
    if gateway.spec.infrastructure and gateway.spec.infrastructure.parameters_ref:
        message = "this controller takes no parameters: remove spec.infrastructure.parametersRef"
        return no("Accepted", "InvalidParameters", message)
    return None


def _plan(
    gateway: Gateway,
    refusal: Decision | None,
    node: NodeFacts,
    secrets: Mapping[Key, Secret],
    taken: Mapping[tuple[str, int], Key],
) -> GatewayPlan:
    wanted = dict.fromkeys(address.value for address in gateway.spec.addresses or ())
    addresses = tuple(wanted) or (node.default_address,)
    conflicts = _conflicts(gateway.spec.listeners)
    listeners = []
    for listener, conflict in zip(gateway.spec.listeners, conflicts, strict=True):
        unavailable = [f"{a}:{listener.port}" for a in addresses if (a, listener.port) in taken]
        accepted = _accepted(listener, conflict, unavailable)
        resolved, kinds, certificates = _resolve(gateway, listener, secrets)
        conflicted = yes("Conflicted", *conflict) if conflict else no("Conflicted", "NoConflicts")
        listeners.append(
            ListenerPlan(
                gateway=(gateway.namespace, gateway.name),
                spec=listener,
                kinds=kinds,
                decisions=(accepted, conflicted, resolved),
                certificates=certificates,
                usable=refusal is None
                and accepted.status == "True"
                and (listener.protocol == HTTP or bool(certificates)),
            )
        )
    return GatewayPlan(gateway, refusal or _overall(listeners), addresses, tuple(listeners))


def _overall(listeners: list[ListenerPlan]) -> Decision:
    bad = [listener.spec.name for listener in listeners if not listener.usable]
    if not bad:
        return yes("Accepted", message="every listener is accepted")
    message = f"listeners that can't be served: {', '.join(bad)}; see their own conditions"
    return Decision("Accepted", "False" if len(bad) == len(listeners) else "True", "ListenersNotValid", message)


def _conflicts(listeners: list[Listener]) -> list[tuple[str, str] | None]:
    """Return reason and message for each listener that another one of the Gateway contradicts."""
    places = Counter((listener.port, listener.protocol, listener.hostname or ANY) for listener in listeners)
    protocols: dict[int, set[str]] = {}
    for listener in listeners:
        protocols.setdefault(listener.port, set()).add(listener.protocol)
    found: list[tuple[str, str] | None] = []
    for listener in listeners:
        if len(protocols[listener.port]) > 1:
            listed = ", ".join(sorted(protocols[listener.port]))
            found.append(("ProtocolConflict", f"port {listener.port} is asked for by listeners for {listed}"))
        elif places[listener.port, listener.protocol, listener.hostname or ANY] > 1:
            place = f"{listener.hostname or ANY} at port {listener.port}"
            found.append(("HostnameConflict", f"several listeners ask for {place}"))
        else:
            found.append(None)
    return found


def _accepted(listener: Listener, conflict: tuple[str, str] | None, unavailable: list[str]) -> Decision:
    if listener.protocol not in {HTTP, HTTPS}:
        message = f"protocol {listener.protocol} is not supported; HTTP and HTTPS are"
        return no("Accepted", "UnsupportedProtocol", message)
    if conflict:
        return no("Accepted", *conflict)
    if unavailable:
        return no("Accepted", "PortUnavailable", f"{', '.join(unavailable)} belongs to an older Gateway")
    return yes("Accepted", message="the listener is accepted")


def _resolve(
    gateway: Gateway, listener: Listener, secrets: Mapping[Key, Secret]
) -> tuple[Decision, tuple[str, ...], tuple[ir.Certificate, ...]]:
    """Resolve what a listener names: kinds of routes, and certificates."""
    wanted = listener.allowed_routes.kinds or ()
    unknown = [kind.kind for kind in wanted if (kind.group, kind.kind) != (GROUP, ROUTE_KIND)]
    kinds = (ROUTE_KIND,) if not wanted or len(unknown) < len(wanted) else ()
    resolved = yes("ResolvedRefs", message="every reference is resolved")
    if unknown:
        resolved = no("ResolvedRefs", "InvalidRouteKinds", f"unsupported kinds of routes: {', '.join(unknown)}")
    if listener.protocol != HTTPS:
        return resolved, kinds, ()
    certificates, problem = _certificates(gateway, listener, secrets)
    return problem or resolved, kinds, certificates


def _certificates(
    gateway: Gateway, listener: Listener, secrets: Mapping[Key, Secret]
) -> tuple[tuple[ir.Certificate, ...], Decision | None]:
    found: dict[str, ir.Certificate] = {}
    refs = (listener.tls.certificate_refs if listener.tls else None) or ()
    for ref in refs:
        namespace = ref.namespace or gateway.namespace
        if (ref.group, ref.kind) != ("", "Secret"):
            return (), _bad_certificate(f"{ref.group}/{ref.kind} {ref.name}: only Secrets hold certificates")
        if namespace != gateway.namespace:
            message = f"Secret {namespace}/{ref.name} is in another namespace, which needs a ReferenceGrant"
            return (), no("ResolvedRefs", "RefNotPermitted", message)
        secret = secrets.get((namespace, ref.name))
        if secret is None:
            return (), _bad_certificate(f"Secret {namespace}/{ref.name} does not exist")
        try:
            certificate = certificate_of(secret)
        except ValueError as error:
            return (), _bad_certificate(f"Secret {namespace}/{ref.name}: {error}")
        found[certificate.name] = certificate
    if not found:
        return (), _bad_certificate("an HTTPS listener needs tls.certificateRefs")
    return tuple(found.values()), None


def _bad_certificate(message: str) -> Decision:
    return no("ResolvedRefs", "InvalidCertificateRef", message)
