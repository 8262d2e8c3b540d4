"""Which objects of the log a node may read: its slice. Pure: it is told of changes, and asked.

A slice follows from the Gateways that its node runs: their classes and certificates, the routes that name them, what
those lead to, and the plugins and policies that apply to them. A Gateway with the label of default functions leads to
every function. Where only the node itself can tell (by its own labels), it is told of an object too many.

Owns what leads to what. Does not own the objects (whoever asks reads them) nor which Gateways a node runs (`index`).
Invariant: a slice equals what would be worked out from scratch, and a change costs time in proportion to what names it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from skerry.api.apoxy_core_v1alpha2 import BACKEND
from skerry.api.apoxy_extensions_direct_response import DIRECT_RESPONSE
from skerry.api.core_v1 import NAMESPACE, SECRET
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EDGE_FUNCTION_REVISION, EdgeFunction
from skerry.api.gateway_http_route_filters import HTTPRouteFilter
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE, HTTPRoute
from skerry.api.gateway_references import GROUP
from skerry.api.gateway_v1 import GATEWAY, GATEWAY_CLASS, Gateway, gives_functions_hosts
from skerry.api.istio_attachment import Attached, targets_of

Key: TypeAlias = tuple[str, str]
"""Namespace and name."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names an object.

    Attributes:
        resource: `plural.group` of its kind.
        namespace: "" in cluster scope.
    """

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.namespace}/{self.name}"


_NAMED = {(kind.group, kind.kind): kind.resource for kind in (EDGE_FUNCTION, BACKEND, DIRECT_RESPONSE)}
"""What routes may name, by group and kind."""


@dataclass(frozen=True, slots=True)
class _Gateway:
    class_name: str
    secrets: frozenset[Ref]
    has_every_function: bool


@dataclass(frozen=True, slots=True)
class _Attached:
    """A plugin or a policy: the Gateways and classes that it names, both empty for what selects by labels."""

    gateways: frozenset[str]
    classes: frozenset[str]
    selects: bool


@dataclass(frozen=True, slots=True)
class _Route:
    gateways: frozenset[Key]
    named: frozenset[Ref]


class SliceIndex:
    """What leads to what, of all namespaces.

    Whatever tells it of a change is answered with the Gateways, by namespace and name, in whose slices that shows.

    Args:
        root_namespace: plugins and policies of this namespace apply to Gateways of every namespace.
    """

    def __init__(self, root_namespace: str) -> None:
        self._root = root_namespace
        self._gateways: dict[Key, _Gateway] = {}
        self._routes: dict[Key, _Route] = {}
        self._functions: dict[str, frozenset[str]] = {}
        self._attached: defaultdict[str, dict[Ref, _Attached]] = defaultdict(dict)
        self._everywhere: set[Ref] = set()
        self._routes_of: defaultdict[Key, set[Key]] = defaultdict(set)
        self._naming: defaultdict[Ref, set[Key]] = defaultdict(set)

    def put_gateway(self, gateway: Gateway) -> set[Key]:
        """Take a Gateway, new or changed."""
        key = (gateway.namespace, gateway.name)
        every = gives_functions_hosts(gateway)
        self._gateways[key] = _Gateway(gateway.spec.gateway_class_name, frozenset(_secrets_of(gateway)), every)
        return {key}

    def drop_gateway(self, key: Key) -> set[Key]:
        """Forget a Gateway."""
        self._gateways.pop(key, None)
        return {key}

    def put_route(self, route: HTTPRoute) -> set[Key]:
        """Take a route, new or changed."""
        key = (route.namespace, route.name)
        affected = self.drop_route(key)
        found = _Route(frozenset(_parents_of(route)), frozenset(_named_by(route)))
        self._routes[key] = found
        for gateway in found.gateways:
            self._routes_of[gateway].add(key)
        for ref in found.named:
            self._naming[ref].add(key)
        return affected | found.gateways

    def drop_route(self, key: Key) -> set[Key]:
        """Forget a route."""
        before = self._routes.pop(key, None)
        if before is None:
            return set()
        for gateway in before.gateways:
            _discard(self._routes_of, gateway, key)
        for ref in before.named:
            _discard(self._naming, ref, key)
        return set(before.gateways)

    def put_function(self, function: EdgeFunction) -> set[Key]:
        """Take a function, new or changed."""
        status = function.status
        names = {target.revision for target in status.targets} | {status.live_revision, status.serving_revision}
        self._functions[function.name] = frozenset(name for name in names if name)
        return self.leading_to(Ref(EDGE_FUNCTION.resource, "", function.name))

    def drop_function(self, name: str) -> set[Key]:
        """Forget a function."""
        self._functions.pop(name, None)
        return self.leading_to(Ref(EDGE_FUNCTION.resource, "", name))

    def put_attached(self, ref: Ref, spec: Attached) -> set[Key]:
        """Take a plugin or a policy, new or changed."""
        before = self._selected(ref)
        targets = targets_of(spec)
        self._attached[ref.namespace][ref] = _Attached(
            frozenset(each.name for each in targets if (each.group, each.kind) == (GROUP, "Gateway")),
            frozenset(each.name for each in targets if (each.group, each.kind) == (GROUP, "GatewayClass")),
            selects=not targets,
        )
        return before | self._selected(ref)

    def drop_attached(self, ref: Ref) -> set[Key]:
        """Forget a plugin or a policy."""
        before = self._selected(ref)
        self._attached[ref.namespace].pop(ref, None)
        if not self._attached[ref.namespace]:
            del self._attached[ref.namespace]
        return before

    def put_everywhere(self, ref: Ref) -> set[Key]:
        """Take what every slice has that has a function in it."""
        self._everywhere.add(ref)
        return set(self._gateways)

    def drop_everywhere(self, ref: Ref) -> set[Key]:
        """Forget it."""
        self._everywhere.discard(ref)
        return set(self._gateways)

    def leading_to(self, ref: Ref) -> set[Key]:
        """Return the Gateways in whose slices an object is, of those that others name."""
        match ref.resource:
            case SECRET.resource:
                return {key for key, gateway in self._gateways.items() if ref in gateway.secrets}
            case GATEWAY_CLASS.resource:
                return {key for key, gateway in self._gateways.items() if gateway.class_name == ref.name}
            case NAMESPACE.resource:
                return set(self._gateways)
        found = {gateway for route in self._naming.get(ref, ()) for gateway in self._routes[route].gateways}
        if ref.resource == EDGE_FUNCTION.resource:
            found |= {key for key, gateway in self._gateways.items() if gateway.has_every_function}
        return found

    def members(self, gateways: Collection[Key]) -> set[Ref]:
        """Return what the slice of some Gateways consists of; some of it may not be there."""
        found: set[Ref] = set()
        for key in gateways:
            if (gateway := self._gateways.get(key)) is not None:
                found.add(Ref(GATEWAY.resource, *key))
                found.add(Ref(GATEWAY_CLASS.resource, "", gateway.class_name))
                found |= gateway.secrets | self._routed(key)
                found |= {ref for ref in self._candidates(key) if self._applies(ref, key, gateway)}
                if gateway.has_every_function:
                    found |= {Ref(EDGE_FUNCTION.resource, "", name) for name in self._functions}
        functions = [ref.name for ref in found if ref.resource == EDGE_FUNCTION.resource]
        revisions = (name for function in functions for name in self._functions.get(function, ()))
        found |= {Ref(EDGE_FUNCTION_REVISION.resource, "", name) for name in revisions}
        found |= {Ref(NAMESPACE.resource, "", ref.namespace) for ref in found if ref.namespace}
        return found | self._everywhere if functions else found

    def _routed(self, gateway: Key) -> set[Ref]:
        found: set[Ref] = set()
        for route in self._routes_of.get(gateway, ()):
            found.add(Ref(HTTP_ROUTE.resource, *route))
            found |= self._routes[route].named
        return found

    def _candidates(self, gateway: Key) -> Iterable[Ref]:
        return [ref for namespace in {gateway[0], self._root} for ref in self._attached.get(namespace, ())]

    def _applies(self, ref: Ref, key: Key, gateway: _Gateway) -> bool:
        """Tell whether a plugin or policy may apply to a Gateway (`gateway.selection`)."""
        attached = self._attached[ref.namespace][ref]
        if attached.selects:
            return ref.namespace in {key[0], self._root}
        is_named = ref.namespace == key[0] and key[1] in attached.gateways
        return is_named or (ref.namespace == self._root and gateway.class_name in attached.classes)

    def _selected(self, ref: Ref) -> set[Key]:
        if ref not in self._attached.get(ref.namespace, ()):
            return set()
        return {key for key, gateway in self._gateways.items() if self._applies(ref, key, gateway)}

    def statistics(self) -> dict[str, int]:
        """Return how much there is."""
        return {
            "gateways": len(self._gateways),
            "routes": len(self._routes),
            "functions": len(self._functions),
            "attached": sum(map(len, self._attached.values())),
        }


def _secrets_of(gateway: Gateway) -> Iterator[Ref]:
    """Yield the Secrets that a Gateway names, which may be of its own namespace alone (`gateway.gateways`)."""
    for listener in gateway.spec.listeners:
        for ref in (listener.tls and listener.tls.certificate_refs) or ():
            if (ref.group, ref.kind) == ("", "Secret") and (ref.namespace or gateway.namespace) == gateway.namespace:
                yield Ref(SECRET.resource, gateway.namespace, ref.name)


def _parents_of(route: HTTPRoute) -> Iterator[Key]:
    for parent in route.spec.parent_refs or ():
        if (parent.group, parent.kind) == (GROUP, "Gateway"):
            yield (parent.namespace or route.namespace, parent.name)


def _named_by(route: HTTPRoute) -> Iterator[Ref]:
    for rule in route.spec.rules:
        yield from _named_by_filters(rule.filters)
        for backend in rule.backend_refs or ():
            yield from _ref(backend.group, backend.kind, backend.name)
            yield from _named_by_filters(backend.filters)


def _named_by_filters(steps: Iterable[HTTPRouteFilter] | None) -> Iterator[Ref]:
    for step in steps or ():
        if step.extension_ref is not None:
            yield from _ref(step.extension_ref.group, step.extension_ref.kind, step.extension_ref.name)
        if step.request_mirror is not None:
            mirror = step.request_mirror.backend_ref
            yield from _ref(mirror.group, mirror.kind, mirror.name)


def _ref(group: str, kind: str, name: str) -> Iterator[Ref]:
    if (resource := _NAMED.get((group, kind))) is not None:
        yield Ref(resource, "", name)


def _discard(held: dict[T, set[Key]], by: T, item: Key) -> None:
    held[by].discard(item)
    if not held[by]:
        del held[by]
