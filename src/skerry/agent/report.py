"""What a node tells the log: which revisions serve, and the statuses of Gateways, classes and routes.

Owns the writing, and nothing about the content: `gateway.status` says what a status holds. A status that would say
the same again is not written.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from skerry.agent.filters import ON_TRIAL
from skerry.agent.slice import NodeSlice
from skerry.api.dispatch_endpoints import Endpoint
from skerry.api.dispatch_v1 import ERROR, READY
from skerry.api.errors import ApiError, NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import Gateway, GatewayClass
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.istio_request_authentication_v1 import RequestAuthentication
from skerry.api.model import Condition, R, condition_of, with_condition
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.gateway.decisions import Decision, GatewayReport, ParentReport, PluginReport, PolicyReport
from skerry.gateway.plugin_status import plugin_status, relevant
from skerry.gateway.policy_status import policy_status, refusals_of
from skerry.gateway.status import class_status, gateway_status, route_status
from skerry.gateway.translate import Translation
from skerry.gateway.xds_stream import Rejection
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.logs import get_logger
from skerry.kit.memo import Memo, MemoMap

log = get_logger(__name__)

#: The condition of functions that Envoy runs: whether it does so as they were asked for.
_PROGRAMMED = "Programmed"

#: What is told of an endpoint that no request comes to.
NOWHERE = "no listener of a Gateway with the label skerry.dev/default-functions=true takes its hosts"

N = TypeVar("N")


@dataclass(slots=True)
class Told:
    """What was told of the objects of one kind.

    Attributes:
        objects: as they were when it was.
        news: what was told of each.
        untold: the keys of those that changed since, or of which there is other news, or whose status was not written.
    """

    objects: ImmutableMap[Key, Any] = field(default_factory=ImmutableMap)
    news: ImmutableMap[Key, Any] = field(default_factory=ImmutableMap)
    untold: set[Key] = field(default_factory=set)

    def look(self, objects: ImmutableMap[Key, Any], news: ImmutableMap[Key, Any]) -> list[Key]:
        """Take the present state, and return the keys of what is to be told."""
        self.untold |= objects.changes_since(self.objects).keys | news.changes_since(self.news).keys
        self.objects, self.news = objects, news
        self.untold = {key for key in self.untold if key in objects and key in news}
        return sorted(self.untold)


class Reporter:
    """Writes the report of each turn.

    Args:
        client: where it goes.
        node_slice: the objects with their present statuses.
        clock: stamps conditions.
        node: this node's name.
    """

    def __init__(self, client: Client, node_slice: NodeSlice, clock: Clock, node: str) -> None:
        self._client = client
        self._slice = node_slice
        self._clock = clock
        self._node = node
        self._told: defaultdict[Informer[Any], Told] = defaultdict(Told)
        self._routes: Memo[ImmutableMap[Key, Sequence[ParentReport]]] = Memo()
        self._plugins: MemoMap[Key, PluginReport, tuple[PluginReport, Sequence[Rejection]]] = MemoMap()

    async def report(
        self,
        served: Iterable[EdgeFunction],
        filters: Mapping[str, str],
        translation: Translation,
        rejections: Sequence[Rejection],
    ) -> None:
        """Tell what is in force.

        Args:
            served: the functions as they are served.
            filters: of those that Envoy runs, by name: "" or what keeps them from being as they were asked for.
            translation: what was decided on the way.
            rejections: what was refused.
        """
        found, objects, refused = translation.conditions, self._slice, tuple(rejections)
        functions = {
            ("", each.name): (each, _tags_of(each, found.addresses), filters.get(each.name)) for each in served
        }
        await self._tell(objects.functions, ImmutableMap(functions), _set_function)
        await self._tell(objects.endpoints, ImmutableMap(found.endpoints), _set_endpoint)
        classes = ImmutableMap((("", name), decision) for name, decision in found.classes.items())
        await self._tell(objects.gateway_classes, classes, _set_class)
        gateways = ImmutableMap((key, (report, refused)) for key, report in found.gateways.items())
        await self._tell(objects.gateways, gateways, _set_gateway)
        routes = objects.http_routes.objects
        # A route that names no Gateway of ours is told that, too: it may have named one before.
        reports = self._routes.get(
            (routes, found.routes), lambda: ImmutableMap((key, found.routes.get(key, ())) for key in routes)
        )
        await self._tell(objects.http_routes, reports, partial(_set_route, objects.elsewhere))
        plugins = self._plugins.map(found.plugins, lambda each: (each, relevant(each, refused)), common=(refused,))
        await self._tell(objects.plugins, plugins, partial(_set_plugin, self._node))
        await self._tell(objects.authentications, _policies(found.authentications, refused), _set_policy)
        await self._tell(objects.policies, _policies(found.policies, refused), _set_policy)

    async def _tell(
        self, informer: Informer[R], news: ImmutableMap[Key, N], set_status: Callable[[N, str, R], None]
    ) -> None:
        """Write the statuses of a kind, but for those of which the same news was told of this very object before."""
        now = rfc3339(self._clock.now())
        objects, told = informer.objects, self._told[informer]
        for key in told.look(objects, news):
            if await self._write(objects[key], partial(set_status, news[key], now)):
                told.untold.discard(key)

    async def _write(self, obj: R, mutate: Callable[[R], None]) -> bool:
        """Write one status, and return whether it stands; a failure hurts no other object's, and is tried again."""
        is_changed = False

        def change(found: R) -> None:
            nonlocal is_changed
            before = found.model_copy(deep=True)
            mutate(found)
            is_changed = found != before

        try:
            written = await self._client.change_status(obj, change)
        except NotFound:
            return False  # deleted meanwhile
        except ApiError as error:
            log.warning("status not written", kind=obj.kind, name=obj.name, error=error.public)
            return False
        if is_changed:  # what others wrote meanwhile may come back here unchanged, and is no write of ours
            self._slice.note_own(written)
        return True


def _policies(
    reports: Mapping[Key, PolicyReport], rejections: Sequence[Rejection]
) -> ImmutableMap[Key, tuple[PolicyReport, Sequence[Rejection]]]:
    return ImmutableMap((key, (report, refusals_of(report, rejections))) for key, report in reports.items())


def _tags_of(function: EdgeFunction, addresses: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Return the addresses of a function's tags, of which most have none."""
    tags = (target.tag for target in function.status.targets if target.tag)
    return {tag: addresses[function.name, tag] for tag in tags if (function.name, tag) in addresses}


def _set_function(news: tuple[EdgeFunction, Mapping[str, str], str | None], now: str, function: EdgeFunction) -> None:
    served, urls, problem = news
    if function.uid == served.uid:
        _set_serving(served, urls, function)
        _set_filter(problem, now, function)


def _set_serving(served: EdgeFunction, urls: Mapping[str, str], function: EdgeFunction) -> None:
    """Tell what of that which was decided about a function's requests is in force here."""
    in_force = {target.identity for target in served.status.targets}
    function.status.serving_revision = served.status.live_revision
    for target in function.status.traffic or ():
        target.ready = target.identity in in_force
        target.url = urls.get(target.tag) if target.tag else None


def _set_filter(problem: str | None, now: str, function: EdgeFunction) -> None:
    """Tell whether Envoy runs a function's filter as it was asked for; None where it runs none of it."""
    if problem is None:
        if condition_of(function.status.conditions, _PROGRAMMED):
            function.status.conditions = [c for c in function.status.conditions or () if c.type != _PROGRAMMED]
        return
    pending = problem == ON_TRIAL
    condition = Condition(
        type=_PROGRAMMED,
        status="Unknown" if pending else "False" if problem else "True",
        observed_generation=function.metadata.generation,
        last_transition_time=now,
        reason="Pending" if pending else "Invalid" if problem else _PROGRAMMED,
        message=problem,
    )
    function.status.conditions = with_condition(function.status.conditions, condition)


def _set_endpoint(urls: tuple[str, ...], now: str, endpoint: Endpoint) -> None:  # noqa: ARG001 - as all of its kind
    status = endpoint.status
    status.urls = list(urls) or None
    as_wanted = bool(urls) or not endpoint.spec.enabled
    status.state = READY if as_wanted else ERROR
    status.reason = None if as_wanted else [NOWHERE]


def _set_class(decision: Decision, now: str, gateway_class: GatewayClass) -> None:
    gateway_class.status = class_status(gateway_class, decision, now)


def _set_gateway(news: tuple[GatewayReport, Sequence[Rejection]], now: str, gateway: Gateway) -> None:
    gateway.status = gateway_status(gateway, *news, now)


def _set_route(elsewhere: Container[Key], parents: Iterable[ParentReport], now: str, route: HTTPRoute) -> None:
    route.status = route_status(route, parents, now, elsewhere)


def _set_plugin(node: str, news: tuple[PluginReport, Sequence[Rejection]], now: str, plugin: WasmPlugin) -> None:
    plugin.status = plugin_status(plugin, *news, node=node, now=now)


def _set_policy(
    news: tuple[PolicyReport, Sequence[Rejection]], now: str, policy: RequestAuthentication | AuthorizationPolicy
) -> None:
    policy.status = policy_status(policy, *news, now)
