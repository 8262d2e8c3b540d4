"""The part of the log that a node follows: everything that bears on its traffic."""

from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from skerry.api.apoxy_core_v1alpha2 import Backend
from skerry.api.apoxy_extensions_direct_response import DirectResponse
from skerry.api.core_v1 import Namespace, Secret
from skerry.api.dispatch_endpoints import Endpoint
from skerry.api.egress_policy_v1alpha1 import EgressPolicy
from skerry.api.extensions_v1alpha2 import FUNCTION_LABEL, EdgeFunction, EdgeFunctionRevision
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import Gateway, GatewayClass, selects_nodes
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.istio_request_authentication_v1 import RequestAuthentication
from skerry.api.model import R, Resource
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.gateway.resources import HeldPlugin, NodeFacts, Resources
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.memo import Memo

if TYPE_CHECKING:
    from skerry.api.function_template import EdgeFunctionRevisionSpec

#: Writes whose event has not come yet are few; more only means a look too many.
OWN_WRITES_KEPT_MAX = 4096


class NodeSlice:
    """Informers of what a node reads; `loops` keeps them fresh.

    Args:
        client: where it is read from.
        joined: whether this is a node of a fleet, which is told of the Gateways alone that it runs; else it is the
            control plane's own, which runs those that select no nodes.
    """

    def __init__(self, client: Client, *, joined: bool = False) -> None:
        self._joined = joined
        self.functions = Informer(client, EdgeFunction)
        self.revisions = Informer(client, EdgeFunctionRevision)
        self.gateway_classes = Informer(client, GatewayClass)
        self.gateways = Informer(client, Gateway)
        self.http_routes = Informer(client, HTTPRoute)
        self.backends = Informer(client, Backend)
        self.egress_policies = Informer(client, EgressPolicy)
        self.direct_responses = Informer(client, DirectResponse)
        self.endpoints = Informer(client, Endpoint)
        self.plugins = Informer(client, WasmPlugin)
        self.authentications = Informer(client, RequestAuthentication)
        self.policies = Informer(client, AuthorizationPolicy)
        self.secrets = Informer(client, Secret)
        self.namespaces = Informer(client, Namespace)
        self._own: OrderedDict[str, None] = OrderedDict()
        self._tuples: defaultdict[Informer[Any], Memo[tuple[Any, ...]]] = defaultdict(Memo)
        self._gateways: Memo[tuple[Gateway, ...]] = Memo()
        self._elsewhere: Memo[Mapping[Key, str]] = Memo()
        self._specs: Memo[Mapping[str, EdgeFunctionRevisionSpec]] = Memo()
        self._labels: Memo[Mapping[str, Mapping[str, str]]] = Memo()
        self._all: tuple[Informer[EdgeFunction], ...] = (  # type: ignore[assignment]  # each of another model
            self.functions,
            self.revisions,
            self.gateway_classes,
            self.gateways,
            self.http_routes,
            self.backends,
            self.egress_policies,
            self.direct_responses,
            self.endpoints,
            self.plugins,
            self.authentications,
            self.policies,
            self.secrets,
            self.namespaces,
        )

    @property
    def loops(self) -> tuple[tuple[str, Callable[[], Awaitable[None]]], ...]:
        """The informers' loops, for `kit.tasks.background`."""
        return tuple((f"informer:{index}", informer.run) for index, informer in enumerate(self._all))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` at every change of anything here, but for what the node wrote itself."""
        for informer in self._all:
            informer.on_change(partial(self._changed, informer, listener))

    def note_own(self, obj: Resource) -> None:
        """Know a state of an object as the node's own: it tells what is in force, which is no reason to look again."""
        self._own[obj.metadata.resource_version or ""] = None
        while len(self._own) > OWN_WRITES_KEPT_MAX:
            self._own.popitem(last=False)

    def _changed(self, informer: Informer[Any], listener: Callable[[], None], key: Key) -> None:
        obj = informer.get(key[1], key[0])
        if obj is None or obj.metadata.resource_version not in self._own:
            listener()

    async def synced(self) -> None:
        """Wait until every first list is complete."""
        for informer in self._all:
            await informer.synced()

    @property
    def elsewhere(self) -> Mapping[Key, str]:
        """The Gateways that other nodes run, each with the name of its class; the same object until one changes."""
        return self._elsewhere.get((self.gateways.objects,), self._find_elsewhere)

    def _find_elsewhere(self) -> Mapping[Key, str]:
        if self._joined:
            return {}
        gateways = self.gateways.objects
        return {key: each.spec.gateway_class_name for key, each in gateways.items() if selects_nodes(each)}

    def _find_gateways(self) -> tuple[Gateway, ...]:
        return tuple(gateway for key, gateway in self.gateways.objects.items() if key not in self.elsewhere)

    def known_functions(self) -> dict[str, set[str]]:
        """Return the names of all functions, each with those of its revisions."""
        known: dict[str, set[str]] = {function.name: set() for function in self.functions}
        for revision in self.revisions:
            function = (revision.metadata.labels or {}).get(FUNCTION_LABEL, "")
            known.get(function, set()).add(revision.name)
        return known

    def resources(
        self, functions: Iterable[EdgeFunction], plugins: ImmutableMap[Key, HeldPlugin], node: NodeFacts
    ) -> Resources:
        """Return what the translator reads, with functions and plugins as the node serves them."""
        revisions, namespaces = self.revisions.objects, self.namespaces.objects
        return Resources(
            gateway_classes=self._all_of(self.gateway_classes),
            gateways=self._gateways.get((self.gateways.objects,), self._find_gateways),
            http_routes=self._all_of(self.http_routes),
            backends=self._all_of(self.backends),
            direct_responses=self._all_of(self.direct_responses),
            functions=tuple(functions),
            endpoints=self._all_of(self.endpoints),
            plugins=plugins,
            authentications=self._all_of(self.authentications),
            policies=self._all_of(self.policies),
            secrets=self._all_of(self.secrets),
            revisions=self._specs.get((revisions,), lambda: {each.name: each.spec for each in revisions.values()}),
            namespace_labels=self._labels.get(
                (namespaces,), lambda: {each.name: each.metadata.labels or {} for each in namespaces.values()}
            ),
            node=node,
        )

    def _all_of(self, informer: Informer[R]) -> tuple[R, ...]:
        """Return the objects of a kind: the very same tuple until one changes, so that nobody needs to compare them."""
        return self._tuples[informer].get((informer.objects,), lambda: tuple(informer.objects.values()))
