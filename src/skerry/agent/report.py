"""What a node tells the log: which revisions serve, and the statuses of Gateways, classes and routes.

Owns the writing, and nothing about the content: `gateway.status` says what a status holds. A status that would say
the same again is not written.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from skerry.agent.slice import NodeSlice
from skerry.api.errors import ApiError, NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import Gateway, GatewayClass
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.istio_request_authentication_v1 import RequestAuthentication
from skerry.api.model import R
from skerry.client.client import Client
from skerry.gateway.decisions import Decision, GatewayReport, ParentReport, PluginReport, PolicyReport
from skerry.gateway.plugin_status import plugin_status, relevant
from skerry.gateway.policy_status import policy_status, refusals_of
from skerry.gateway.status import class_status, gateway_status, route_status
from skerry.gateway.translate import Translation
from skerry.gateway.xds_stream import Rejection
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger

log = get_logger(__name__)

P = TypeVar("P", RequestAuthentication, AuthorizationPolicy)

_Told: TypeAlias = dict[str, tuple[object, object]]
"""What was told last, by uid: the object as it was then, and the news about it."""


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
        self._told: _Told = {}

    async def report(
        self, served: Iterable[EdgeFunction], translation: Translation, rejections: Sequence[Rejection]
    ) -> None:
        """Tell what is in force: the functions as they are served, and what was decided and refused on the way."""
        now = rfc3339(self._clock.now())
        conditions = translation.conditions
        before, self._told = self._told, {}
        for function in served:
            await self._tell_serving(function)
        for gateway_class in self._slice.gateway_classes:
            if decision := conditions.classes.get(gateway_class.name):
                await self._tell(before, gateway_class, decision, partial(_set_class, decision, now))
        for gateway in self._slice.gateways:
            if report := conditions.gateways.get((gateway.namespace, gateway.name)):
                news = (report, tuple(rejections))
                await self._tell(before, gateway, news, partial(_set_gateway, report, rejections, now))
        for route in self._slice.http_routes:
            parents = conditions.routes.get((route.namespace, route.name), ())
            await self._tell(before, route, parents, partial(_set_route, parents, now))
        await self._report_plugins(before, translation, rejections, now)
        await self._report_policies(before, translation, rejections, now)

    async def _report_plugins(
        self, before: _Told, translation: Translation, rejections: Sequence[Rejection], now: str
    ) -> None:
        conditions = translation.conditions
        for plugin in self._slice.plugins:
            if placed := conditions.plugins.get((plugin.namespace, plugin.name)):
                refused = relevant(placed, rejections)
                write = partial(_set_plugin, placed, refused, self._node, now)
                await self._tell(before, plugin, (placed, refused), write)

        await self._report_policies(before, translation, rejections, now)

    async def _report_policies(
        self, before: _Told, translation: Translation, rejections: Sequence[Rejection], now: str
    ) -> None:
        conditions = translation.conditions
        for authentication in self._slice.authentications:
            if report := conditions.authentications.get((authentication.namespace, authentication.name)):
                await self._tell_policy(before, authentication, report, rejections, now)
        for policy in self._slice.policies:
            if report := conditions.policies.get((policy.namespace, policy.name)):
                await self._tell_policy(before, policy, report, rejections, now)

    async def _tell_policy(
        self, before: _Told, policy: P, report: PolicyReport, rejections: Sequence[Rejection], now: str
    ) -> None:
        refusals = refusals_of(report, rejections)
        await self._tell(before, policy, (report, refusals), partial(_set_policy, report, refusals, now))

    async def _tell(self, before: _Told, obj: R, news: object, mutate: Callable[[R], None]) -> None:
        """Write a status, unless this was told of this very object: to compare thousands would slow each turn."""
        told = before.get(obj.uid)
        if (told and told[0] is obj and told[1] == news) or await self._write(obj, mutate):
            self._told[obj.uid] = (obj, news)

    async def _tell_serving(self, served: EdgeFunction) -> None:
        current = self._slice.functions.get(served.name)
        revision = served.status.live_revision
        if current is not None and current.uid == served.uid and current.status.serving_revision != revision:
            await self._write(current, partial(_set_serving, revision))

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


def _set_serving(revision: str | None, function: EdgeFunction) -> None:
    function.status.serving_revision = revision


def _set_class(decision: Decision, now: str, gateway_class: GatewayClass) -> None:
    gateway_class.status = class_status(gateway_class, decision, now)


def _set_gateway(report: GatewayReport, rejections: Sequence[Rejection], now: str, gateway: Gateway) -> None:
    gateway.status = gateway_status(gateway, report, rejections, now)


def _set_route(parents: Iterable[ParentReport], now: str, route: HTTPRoute) -> None:
    route.status = route_status(route, parents, now)


def _set_plugin(report: PluginReport, rejections: Sequence[Rejection], node: str, now: str, plugin: WasmPlugin) -> None:
    plugin.status = plugin_status(plugin, report, rejections, node=node, now=now)


def _set_policy(
    report: PolicyReport,
    refusals: Sequence[Rejection],
    now: str,
    policy: RequestAuthentication | AuthorizationPolicy,
) -> None:
    policy.status = policy_status(policy, report, refusals, now)
