"""What a backend reference stands for: a cluster, or the reason why there is none.

Owns the reasons InvalidKind, BackendNotFound, PortNotSpecified of the route condition ResolvedRefs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skerry.api.apoxy_core_v1alpha2 import Backend
from skerry.api.apoxy_extensions_direct_response import DirectResponse
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionStatus
from skerry.api.function_template import FILTER
from skerry.api.function_traffic import WHOLE_PERCENT, TrafficTarget, scaled
from skerry.api.gateway_references import BackendObjectReference
from skerry.api.names import is_label, is_subdomain
from skerry.gateway import ir
from skerry.gateway.decisions import Decision, no
from skerry.gateway.resources import Resources
from skerry.gateway.route_filters import RuleFilter, engine_filter, filter_name

BACKEND_KIND = ("core.apoxy.dev", "Backend")
FUNCTION_KIND = ("extensions.apoxy.dev", "EdgeFunction")
RESPONSE_KIND = ("extensions.apoxy.dev", "DirectResponse")

#: The cluster of this node's engine workers.
ENGINE = "engine"

#: The same workers, for requests that they see on their way (ext_proc).
ENGINE_FILTERS = "engine-filters"

#: Tells the engine worker which revision shall answer; clients can't send it (the listener strips `x-skerry-*`).
REVISION_HEADER = "x-skerry-revision"

#: The worker's own answer, which says more, shall arrive before Envoy's 504: a request may wait 10 s for an instance
#: (engine.pool, PoolLimits) before its time counts.
FUNCTION_TIMEOUT_MARGIN_SECONDS = 12.0

#: Envoy's protocol for each of a Backend's.
_PROTOCOLS: dict[str, ir.Protocol] = {"": "http1", "h2c": "h2c", "tls": "tls", "h2": "h2"}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the requests of a target.

    Attributes:
        weight: relative to the sum of the target's weights.
        request_headers: changes that the cluster needs.
    """

    weight: int = 1
    request_headers: ir.HeaderChanges = ir.NO_CHANGES


_WHOLE = (Share(),)


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference stands for.

    Attributes:
        cluster: the cluster that answers; None where there is none.
        shares: of its requests; at least one, the greatest first.
        timeout_seconds: how long the whole answer may take; None where the backend does not say.
        problem: the decision on ResolvedRefs, where the reference can't be resolved.
        unready: the function that has no live revision yet.
    """

    cluster: ir.Cluster | None
    shares: tuple[Share, ...] = _WHOLE
    timeout_seconds: float | None = None
    problem: Decision | None = None
    unready: str = ""

    @property
    def weight(self) -> int:
        """The sum of the shares' weights."""
        return sum(share.weight for share in self.shares)

    @property
    def cluster_name(self) -> str:
        """The name for a destination."""
        if self.cluster is not None:
            return self.cluster.name
        return ir.UNREADY if self.unready else ir.BROKEN


class Catalog:
    """Everything that a route can name, by name."""

    def __init__(self, resources: Resources) -> None:
        self._backends = {backend.name: backend for backend in resources.backends}
        self._functions = {function.name: _sound(function) for function in resources.functions}
        self._revisions = resources.revisions
        self._responses = {response.name: response for response in resources.direct_responses}
        self._filters = {each.name: each for each in resources.filters}
        sockets = tuple(sorted(resources.node.engine_sockets))
        self.engine = ir.EngineCluster(ENGINE, sockets)
        self.engine_filters = ir.EngineCluster(ENGINE_FILTERS, sockets, "filters")

    def functions(self) -> Iterable[EdgeFunction]:
        """Every function, by name."""
        return (self._functions[name] for name in sorted(self._functions))

    def direct_response(self, name: str) -> DirectResponse | None:
        """Return a DirectResponse, or None."""
        return self._responses.get(name)

    def rule_filter(self, name: str) -> RuleFilter | Decision:
        """Return what a function is as a filter of a rule, or why there is none."""
        function = self._functions.get(name)
        if function is None:
            return no("ResolvedRefs", "BackendNotFound", f"EdgeFunction {name} does not exist")
        if function.spec.template.mode != FILTER:
            message = f"EdgeFunction {name} has mode {function.spec.template.mode}: name it in backendRefs"
            return no("ResolvedRefs", "InvalidKind", message)
        found = self._filters.get(filter_name(function))
        if found is None and function.status.live_revision:
            return engine_filter(function)
        if found is None:
            message = f"EdgeFunction {name} has no live revision; see its conditions"
            return no("ResolvedRefs", "BackendNotFound", message)
        return found

    def resolve(self, ref: BackendObjectReference) -> Target:
        """Return what a reference stands for."""
        kind = (ref.group, ref.kind)
        if kind == FUNCTION_KIND:
            return self._resolve_function(ref.name)
        if kind == BACKEND_KIND:
            return self._resolve_backend(ref.name, ref.port)
        named = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
        wanted = "core.apoxy.dev/Backend and extensions.apoxy.dev/EdgeFunction are"
        return _problem("InvalidKind", f"{named} {ref.name}: not a kind of backend here; {wanted}")

    def _resolve_function(self, name: str) -> Target:
        function = self._functions.get(name)
        if function is None:
            return _problem("BackendNotFound", f"EdgeFunction {name} does not exist")
        if function.spec.template.mode == FILTER:
            return _problem("InvalidKind", f"EdgeFunction {name} has mode filter: it can't answer requests")
        if not function.status.live_revision:
            message = f"EdgeFunction {name} has no live revision; see its conditions"
            return Target(None, problem=no("ResolvedRefs", "BackendNotFound", message), unready=name)
        return self.function_target(function)

    def function_target(self, function: EdgeFunction) -> Target:
        """Return the target of a function that has a live revision."""
        return self._target_of(function, _whole(function))

    def tag_targets(self, function: EdgeFunction) -> dict[str, Target]:
        """Return the targets of a function's tags."""
        tagged = (target for target in function.status.targets if target.tag)
        whole = {"percent": WHOLE_PERCENT}
        return {target.tag or "": self._target_of(function, [target.model_copy(update=whole)]) for target in tagged}

    def _target_of(self, function: EdgeFunction, shares: Sequence[TrafficTarget]) -> Target:
        """Return the target of revisions; the time that an answer may take is that of the most patient one."""
        greatest_first = sorted(shares, key=lambda share: -(share.percent or 0))
        unit = math.gcd(*(share.percent or 0 for share in shares))
        specs = [self._revisions.get(share.revision, function.spec.template) for share in shares]
        return Target(
            self.engine,
            shares=tuple(
                Share((share.percent or 0) // unit, ir.HeaderChanges(set=((REVISION_HEADER, share.revision),)))
                for share in greatest_first
            ),
            timeout_seconds=max(spec.timeout_seconds for spec in specs) + FUNCTION_TIMEOUT_MARGIN_SECONDS,
        )

    def _resolve_backend(self, name: str, port: int | None) -> Target:
        backend = self._backends.get(name)
        if backend is None:
            return _problem("BackendNotFound", f"Backend {name} does not exist")
        if port is None:
            return _problem("PortNotSpecified", f"Backend {name} needs a port in its backendRef")
        if backend.spec.dynamic_proxy is not None:
            return _problem("UnsupportedValue", f"Backend {name}: dynamicProxy is not supported; give it endpoints")
        return Target(_network_cluster(backend, port))


def _sound(function: EdgeFunction) -> EdgeFunction:
    """Return a function, without a status that names what no revision is called: Envoy would refuse the table."""
    status = function.status
    revisions = {status.live_revision, *(target.revision for target in status.targets)} - {None}
    tags = {target.tag for target in status.targets} - {None}
    if all(map(is_subdomain, filter(None, revisions))) and all(map(is_label, filter(None, tags))):
        return function
    return function.model_copy(update={"status": EdgeFunctionStatus()})


def _whole(function: EdgeFunction) -> list[TrafficTarget]:
    """Return the shares of a function that has a live revision as a whole, whatever its status says."""
    shares = [target for target in function.status.targets if target.percent]
    if not shares:
        return [TrafficTarget(revision=function.status.live_revision or "", percent=WHOLE_PERCENT)]
    percents = [target.percent or 0 for target in shares]
    if sum(percents) != WHOLE_PERCENT:
        percents = scaled(percents, WHOLE_PERCENT)
    return [share.model_copy(update={"percent": n}) for share, n in zip(shares, percents, strict=True) if n > 0]


def _network_cluster(backend: Backend, port: int) -> ir.NetworkCluster:
    endpoints = backend.spec.endpoints or ()
    return ir.NetworkCluster(
        name=f"backend/{backend.name}/{port}",
        hosts=tuple(ir.Host(endpoint.fqdn or endpoint.ip or "", port) for endpoint in endpoints),
        protocol=_PROTOCOLS.get(backend.spec.protocol, "http1"),
        dns=any(endpoint.fqdn for endpoint in endpoints),
    )


def _problem(reason: str, message: str) -> Target:
    return Target(None, problem=no("ResolvedRefs", reason, message))
