"""Tells of Gateways, routes, functions, plugins and policies what becomes of them on the nodes of fleets.

Owns the status of Gateways that select nodes, the parts of routes' statuses that are of such Gateways, the condition
Distributed of all else, and the entries of nodes in the status of plugins; where the control plane has no node of its
own, also what that would say of classes, and of which revision serves. Does not own what nodes say (each its own
`TrafficReport`), nor how that comes together (`gateway.merged_status`).

Invariant: what is told follows from the objects, the reports and the nodes alone; nobody else writes it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from skerry.api.baetyl_traffic import TrafficReport
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.errors import NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import Gateway, GatewayClass, node_selector_of, selects_nodes
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.istio_request_authentication_v1 import RequestAuthentication
from skerry.api.model import Model, is_true, with_condition
from skerry.api.registry import kind_of
from skerry.api.selectors import LabelSelector, SelectorError
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.client.informers import Informers
from skerry.gateway.merged_status import (
    DISTRIBUTED,
    distributed,
    is_judged,
    merged_gateway,
    merged_route,
    problem_of_attached,
    problem_of_function,
)
from skerry.gateway.status import parent_key
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers

log = get_logger(__name__)

#: Objects whose statuses are written at once.
CONCURRENCY = 8

S = TypeVar("S", bound=Model)
Place = tuple[type[Any], str, str]
"""The model of an object, its namespace and its name."""

_MODELS: tuple[type[Any], ...] = (
    GatewayClass,
    Gateway,
    HTTPRoute,
    EdgeFunction,
    WasmPlugin,
    RequestAuthentication,
    AuthorizationPolicy,
)
_BY_RESOURCE = {kind_of(model).resource: model for model in _MODELS}


class Selected(Protocol):
    """Which nodes there are: the binding index."""

    def matching(self, namespace: str, selector: LabelSelector) -> set[str]:
        """Return the names of the nodes that a selector matches."""
        ...


class FleetTraffic:
    """Writes the statuses; `running()` is its life.

    Args:
        client: reads and writes.
        informers: where the caches come from.
        nodes: knows which nodes a Gateway selects.
        clock: stamps conditions.
    """

    def __init__(self, client: Client, informers: Informers, nodes: Selected, clock: Clock) -> None:
        self._client = client
        self._selected = nodes
        self._clock = clock
        self._reports = informers.of(TrafficReport)
        self._nodes = informers.of(Node)
        self._objects: dict[type[Any], Informer[Any]] = {model: informers.of(model) for model in _MODELS}
        self._gateways: Informer[Gateway] = self._objects[Gateway]
        self._routes: Informer[HTTPRoute] = self._objects[HTTPRoute]
        #: What each node said last, and by which object who says something.
        self._said: dict[Key, Mapping[str, Any]] = {}
        self._tellers: dict[Place, set[Key]] = {}
        #: The Gateways that select nodes.
        self._of_nodes: set[Key] = set()
        self._workers = KeyedWorkers[Place]("baetyl-traffic", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell for the length of the block."""
        self._reports.on_change(self._reported)
        self._nodes.on_change(self._node_changed)
        self._gateways.on_change(self._gateway_changed)
        for model, informer in self._objects.items():
            informer.on_change(partial(self._changed, model))
        try:
            yield
        finally:
            await self._workers.stop()

    def _changed(self, model: type[Any], key: Key) -> None:
        """Look at an object again, if nodes have to do with it."""
        place = (model, *key)
        if place in self._tellers or place[0] is Gateway:
            self._workers.add(place)

    def _gateway_changed(self, key: Key) -> None:
        """Look at the routes of a Gateway that comes to nodes, or leaves them; mostly only its status has changed."""
        gateway = self._gateways.get(key[1], key[0])
        is_of_nodes = gateway is not None and selects_nodes(gateway)
        if is_of_nodes == (key in self._of_nodes):
            return
        self._of_nodes ^= {key}
        for route in self._routes:
            if any(parent_key(route, parent) == key for parent in route.spec.parent_refs or ()):
                self._workers.add((HTTPRoute, route.namespace, route.name))

    def _node_changed(self, key: Key) -> None:
        for gateway in self._gateways:
            if gateway.namespace == key[0] and selects_nodes(gateway):
                self._workers.add((Gateway, gateway.namespace, gateway.name))

    def _reported(self, node: Key) -> None:
        """Look at every object of which a node says something else than before."""
        report = self._reports.get(node[1], node[0])
        before, now = self._said.pop(node, {}), report.statuses if report else {}
        if now:
            self._said[node] = now
        for key in before.keys() | now.keys():
            place = _place_of(key)
            if place is None or before.get(key) == now.get(key):
                continue
            if key in now:
                self._tellers.setdefault(place, set()).add(node)
            elif place in self._tellers:
                self._tellers[place].discard(node)
                if not self._tellers[place]:
                    del self._tellers[place]
            self._workers.add(place)

    async def reconcile(self, place: Place) -> None:
        """Bring what is told of one object to what nodes say of it."""
        for informer in (self._reports, self._nodes, self._gateways, self._objects[place[0]]):
            await informer.synced()
        model, namespace, name = place
        obj = self._objects[model].get(name, namespace)
        if obj is None or (model is Gateway and not selects_nodes(obj)):
            return
        try:
            await self._client.change_status(obj, lambda found: self._set(place, found))
        except NotFound:
            return  # deleted meanwhile

    def _set(self, place: Place, found: Any) -> None:
        now = rfc3339(self._clock.now())
        told = self._told(place, type(found.status))
        match found:
            case GatewayClass():
                if told and not is_true(found.status.conditions, "Accepted"):  # every node says the same
                    found.status = next(iter(told.values()))
            case Gateway():
                by_name = {node[1]: status for node, status in told.items() if node[0] == found.namespace}
                found.status = merged_gateway(found, by_name, self._nodes_of(found), now)
            case HTTPRoute():
                elsewhere = {(each.namespace, each.name): selects_nodes(each) for each in self._gateways}
                found.status = merged_route(
                    found, {"/".join(node): each for node, each in told.items()}, elsewhere, now
                )
            case _:
                _set_distributed(found, told, now, has_own_node=self._has_own_node)

    @property
    def _has_own_node(self) -> bool:
        """Whether the control plane has a node of its own: that has then judged a Gateway that selects no nodes."""
        own = (each for each in self._gateways if not selects_nodes(each))
        return any(is_judged(each.status.conditions) for each in own)

    def _nodes_of(self, gateway: Gateway) -> set[str]:
        try:
            selector = node_selector_of(gateway)
        except SelectorError:
            return set()
        return self._selected.matching(gateway.namespace, selector) if selector else set()

    def _told(self, place: Place, model: type[S]) -> dict[Key, S]:
        """Return what nodes say of an object; what can't be a status of its kind counts for nothing."""
        found, key = {}, _key_of(place)
        for node in sorted(self._tellers.get(place, ())):
            try:
                found[node] = model.model_validate(self._said[node][key], by_alias=True, by_name=False)
            except ValidationError as error:
                log.warning("a node told what is no status", node="/".join(node), object=key, error=str(error))
        return found


def _set_distributed(found: Any, told: Mapping[Key, Any], now: str, *, has_own_node: bool) -> None:
    generation, status = found.metadata.generation, found.status
    if isinstance(found, EdgeFunction):
        problems = {"/".join(node): problem_of_function(found, each) for node, each in told.items()}
        if not has_own_node:
            _set_serving(found, problems)
    else:
        problems = {"/".join(node): problem_of_attached(each.conditions, generation) for node, each in told.items()}
    if isinstance(found, WasmPlugin):
        _set_gateways(found, told)
    if problems:
        status.conditions = with_condition(status.conditions, distributed(problems, generation, now))
    else:
        status.conditions = [each for each in status.conditions or () if each.type != DISTRIBUTED] or None


def _set_serving(function: EdgeFunction, problems: Mapping[str, str]) -> None:
    """Tell that every node serves what was decided, as the control plane's own node would."""
    if problems and not any(problems.values()):
        function.status.serving_revision = function.status.live_revision
        for target in function.status.traffic or ():
            target.ready = True


def _set_gateways(plugin: WasmPlugin, told: Mapping[Key, Any]) -> None:
    """Put the entries of nodes beside that of the control plane's own, which has no namespace in its name."""
    own = [each for each in plugin.status.gateways or () if "/" not in each.node]
    theirs = [
        each.model_copy(update={"node": "/".join(node)})
        for node, status in told.items()
        for each in status.gateways or ()
    ]
    if own or theirs:
        plugin.status.gateways = sorted([*own, *theirs], key=lambda each: (each.namespace, each.name, each.node))


def _place_of(key: str) -> Place | None:
    """Read `resource/namespace/name`; None for what has no status that nodes have to do with."""
    resource, _, rest = key.partition("/")
    namespace, _, name = rest.partition("/")
    return (_BY_RESOURCE[resource], namespace, name) if resource in _BY_RESOURCE else None


def _key_of(place: Place) -> str:
    return f"{kind_of(place[0]).resource}/{place[1]}/{place[2]}"
