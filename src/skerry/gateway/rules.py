"""A route's rules, one by one, into what is done with the requests that fit them.

Owns the meaning of matches, filters, backends and timeouts, and the reasons UnsupportedValue and UnsupportedRefValue.
Does not own where a route is attached, nor which of two routes wins (`tables.py`).

Invariant: a rule that can't be served answers 500 or 503 for its requests, and leaves the other rules alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from skerry.api.durations import parse_seconds
from skerry.api.gateway_http_route_filters import (
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestMirrorFilter,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
)
from skerry.api.gateway_http_route_v1 import HTTPBackendRef, HTTPRoute, HTTPRouteMatch, HTTPRouteRule
from skerry.api.gateway_references import LocalObjectReference
from skerry.gateway import ir
from skerry.gateway.backends import FUNCTION_KIND, RESPONSE_KIND, Catalog, Target
from skerry.gateway.checked_values import Unsupported, checked_regex, checked_text
from skerry.gateway.decisions import Decision, no, yes
from skerry.gateway.route_filters import RuleFilter, joined

#: How long an answer may take where neither route nor function says; Apoxy's default.
TIMEOUT_SECONDS_DEFAULT = 100.0

_REDIRECT_PORTS = {"http": 80, "https": 443}


class FilterMissing(Unsupported):
    """A rule's requests shall pass a function that can't be had."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.answer = message


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, translated.

    Attributes:
        index: its place in the route.
        matches: which requests.
        action: what is done.
        request_headers: changes of the request.
        response_headers: changes of the answer.
        filters: what the requests pass before, in order.
        backend_filters: likewise for each destination, with those of the rule; empty for one that has none of its own.
        sound: unless it asks for what is not done here, and answers 500 for it.
    """

    index: int
    matches: tuple[ir.RouteMatch, ...]
    action: ir.Action
    request_headers: ir.HeaderChanges = ir.NO_CHANGES
    response_headers: ir.HeaderChanges = ir.NO_CHANGES
    filters: tuple[RuleFilter, ...] = ()
    backend_filters: tuple[tuple[RuleFilter, ...], ...] = ()
    sound: bool = True


@dataclass(frozen=True, slots=True)
class TranslatedRoute:
    """A route's rules, translated once for all its parents.

    Attributes:
        rules: in their order; one whose matches make no sense has none.
        clusters: every cluster that they name.
        problems: decisions on ResolvedRefs that are False.
        unsupported: what the rules ask for that is not done here, in words.
    """

    rules: tuple[Rule, ...]
    clusters: tuple[ir.Cluster, ...]
    problems: tuple[Decision, ...]
    unsupported: tuple[str, ...]

    def decisions(self, accepted: Decision) -> tuple[Decision, ...]:
        """Join what was decided at one parent with what was decided about the rules."""
        found = [accepted]
        if self.unsupported and accepted.status == "True":
            message = "; ".join(self.unsupported)
            if any(rule.sound for rule in self.rules):
                found.append(yes("PartiallyInvalid", "UnsupportedValue", message))
            else:
                found = [no("Accepted", "UnsupportedValue", message)]
        if self.problems:
            messages = "; ".join(dict.fromkeys(problem.message for problem in self.problems))
            found.append(no("ResolvedRefs", self.problems[0].reason, messages))
        else:
            found.append(yes("ResolvedRefs", message="every reference is resolved"))
        return tuple(found)


def translate_route(route: HTTPRoute, catalog: Catalog) -> TranslatedRoute:
    """Translate every rule of a route.

    A rule that asks for the unsupported answers 500: its requests may not reach a backend past a filter that they were
    meant to pass (Gateway API, HTTPRouteFilter). A rule whose matches make no sense fits no request.
    """
    rules: list[Rule] = []
    clusters: dict[str, ir.Cluster] = {}
    problems: list[Decision] = []
    unsupported: list[str] = []
    for index, spec in enumerate(route.spec.rules):
        builder = _RuleBuilder(catalog)
        matches: tuple[ir.RouteMatch, ...] = ()
        try:
            matches = tuple(_match(match) for match in spec.matches) or (ir.EVERYTHING,)
            rules.append(builder.build(index, spec, matches))
        except Unsupported as reason:
            unsupported.append(f"rules[{index}]: {reason}")
            rules.append(Rule(index, matches, error_response(500, reason.answer), sound=False))
            problems += builder.problems
            continue
        clusters |= {cluster.name: cluster for cluster in builder.clusters}
        problems += builder.problems
    return TranslatedRoute(tuple(rules), tuple(clusters.values()), tuple(problems), tuple(unsupported))


class _RuleBuilder:
    """Gathers what one rule comes to; used once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.clusters: list[ir.Cluster] = []
        self.problems: list[Decision] = []

    def build(self, index: int, spec: HTTPRouteRule, matches: tuple[ir.RouteMatch, ...]) -> Rule:
        """Translate the rule; raises Unsupported."""
        filters = spec.filters or []
        functions = joined(self._functions(filters))
        action: ir.Action = self._answer(filters) or self._forward(spec)
        return Rule(
            index=index,
            matches=matches,
            action=action,
            request_headers=_changes(step.request_header_modifier for step in filters),
            response_headers=_changes(step.response_header_modifier for step in filters),
            filters=functions,
            backend_filters=self._backend_filters(spec, functions) if isinstance(action, ir.Forward) else (),
        )

    def _backend_filters(
        self, spec: HTTPRouteRule, of_rule: tuple[RuleFilter, ...]
    ) -> tuple[tuple[RuleFilter, ...], ...]:
        own = (tuple(self._functions(ref.filters or ())) for ref in spec.backend_refs or () if ref.weight > 0)
        return tuple(joined((*of_rule, *filters)) if filters else () for filters in own)

    def _functions(self, filters: Sequence[HTTPRouteFilter]) -> Iterator[RuleFilter]:
        """Yield the functions that requests pass first; raises FilterMissing where one can't be had."""
        for step in filters:
            if step.extension_ref is None or _kind(step.extension_ref) != FUNCTION_KIND:
                continue
            found = self._catalog.rule_filter(step.extension_ref.name)
            if isinstance(found, Decision):
                self.problems.append(found)
                raise FilterMissing(found.message)
            yield found

    def _answer(self, filters: Sequence[HTTPRouteFilter]) -> ir.Redirect | ir.Respond | None:
        """Return the answer that a filter gives instead of a backend, or None."""
        for step in filters:
            if step.request_redirect:
                return _redirect(step.request_redirect)
            if step.extension_ref and _kind(step.extension_ref) != FUNCTION_KIND:
                return self._response(step.extension_ref)
        return None

    def _response(self, ref: LocalObjectReference) -> ir.Respond:
        if _kind(ref) != RESPONSE_KIND:
            message = f"{ref.group}/{ref.kind} {ref.name}: not a kind of filter here; DirectResponse, EdgeFunction are"
            return self._refuse(no("ResolvedRefs", "InvalidKind", message))
        response = self._catalog.direct_response(ref.name)
        if response is None:
            return self._refuse(no("ResolvedRefs", "BackendNotFound", f"DirectResponse {ref.name} does not exist"))
        spec = response.spec
        return ir.Respond(
            status=spec.status_code,
            body=(spec.body.inline if spec.body else None) or "",
            content_type=spec.content_type,
            headers=tuple((header.name, header.value) for header in spec.headers or ()),
        )

    def _refuse(self, problem: Decision) -> ir.Respond:
        self.problems.append(problem)
        return error_response(500, "a filter of this route can't be resolved")

    def _forward(self, spec: HTTPRouteRule) -> ir.Forward | ir.Respond:
        targets = [(ref, self._target(ref)) for ref in spec.backend_refs or ()]
        mirrors = tuple(self._mirrors(spec.filters or ()))
        live = [(ref, target) for ref, target in targets if ref.weight > 0]
        if not any(target.cluster for _, target in live):
            return _no_backend([target for _, target in live])
        used = [target.cluster for _, target in live if target.cluster]
        if any(target.unready for _, target in live):
            used.append(ir.EmptyCluster(ir.UNREADY))
        self.clusters += used
        rewrite = next((step.url_rewrite for step in spec.filters or () if step.url_rewrite), None)
        timeout_seconds, try_timeout_seconds = _timeouts(spec, [target for _, target in live])
        return ir.Forward(
            destinations=tuple(_destinations(live)),
            timeout_seconds=timeout_seconds,
            try_timeout_seconds=try_timeout_seconds,
            host=rewrite.hostname if rewrite else None,
            path=_path_change(rewrite.path) if rewrite and rewrite.path else None,
            retries=any(isinstance(cluster, ir.EngineCluster) for cluster in used),
            mirrors=mirrors,
        )

    def _target(self, ref: HTTPBackendRef) -> Target:
        target = self._catalog.resolve(ref)
        for step in ref.filters or ():
            is_function = step.extension_ref and _kind(step.extension_ref) == FUNCTION_KIND
            if not is_function and step.type not in {"RequestHeaderModifier", "ResponseHeaderModifier"}:
                message = f"backendRef {ref.name}: filter {step.type} is not supported for a single backend"
                target = Target(None, problem=no("ResolvedRefs", "UnsupportedRefValue", message))
        if target.problem:
            self.problems.append(target.problem)
        return target

    def _mirrors(self, filters: Iterable[HTTPRouteFilter]) -> Iterator[ir.Mirror]:
        for step in filters:
            if mirror := step.request_mirror:
                target = self._catalog.resolve(mirror.backend_ref)
                if target.problem:
                    self.problems.append(target.problem)
                if target.cluster:
                    self.clusters.append(target.cluster)
                    greatest = target.shares[0]  # a copy has one place to go
                    yield ir.Mirror(target.cluster.name, _per_million(mirror), greatest.request_headers)


def _kind(ref: LocalObjectReference) -> tuple[str, str]:
    """Return group and kind; Apoxy takes an empty group for its own."""
    return ref.group or FUNCTION_KIND[0], ref.kind


def _match(match: HTTPRouteMatch) -> ir.RouteMatch:
    return ir.RouteMatch(
        path=_path_match(match.path.type, match.path.value),
        headers=tuple(_value_match(h.type, h.name, h.value) for h in match.headers or ()),
        query=tuple(_value_match(q.type, q.name, q.value) for q in match.query_params or ()),
        method=match.method,
    )


def _path_match(kind: str, value: str) -> ir.PathMatch:
    match kind:
        case "Exact":
            return ir.PathMatch("exact", value)
        case "RegularExpression":
            return ir.PathMatch("regex", checked_regex(value))
        case _:
            return ir.PathMatch("prefix", value.rstrip("/"))


def _value_match(kind: str, name: str, value: str) -> ir.ValueMatch:
    if kind == "RegularExpression":
        return ir.ValueMatch(name, checked_regex(value), regex=True)
    return ir.ValueMatch(name, value)


def _changes(modifiers: Iterable[HTTPHeaderFilter | None]) -> ir.HeaderChanges:
    changes = ir.NO_CHANGES
    for modifier in modifiers:
        if modifier is None:
            continue
        given = ir.HeaderChanges(
            set=tuple(map(_header, modifier.set or ())),
            add=tuple(map(_header, modifier.add or ())),
            remove=tuple(modifier.remove or ()),
        )
        names = [name for name, _ in (*given.set, *given.add)] + list(given.remove)
        if any(name.lower() == "host" for name in names):
            raise Unsupported("header Host can't be changed by a header modifier; use URLRewrite.hostname")
        changes = _joined(changes, given)
    return changes


def _header(header: HTTPHeader) -> tuple[str, str]:
    return header.name, checked_text(header.value, f"the value of header {header.name},")


def _joined(one: ir.HeaderChanges, other: ir.HeaderChanges) -> ir.HeaderChanges:
    return ir.HeaderChanges(one.set + other.set, one.add + other.add, one.remove + other.remove)


def _destinations(backends: Sequence[tuple[HTTPBackendRef, Target]]) -> Iterator[ir.Destination]:
    """Spread requests over backends by the weights of their references, and within each by its own."""
    common = math.lcm(*(target.weight for _, target in backends))
    for ref, target in backends:
        filters = ref.filters or ()
        own = _changes(step.request_header_modifier for step in filters)
        answers = _changes(step.response_header_modifier for step in filters)
        for share in target.shares:
            yield ir.Destination(
                cluster=target.cluster_name,
                weight=ref.weight * share.weight * (common // target.weight),
                # What the cluster needs comes last, so that no filter can point a request at another revision.
                request_headers=_joined(own, share.request_headers),
                response_headers=answers,
            )


def _timeouts(spec: HTTPRouteRule, targets: Sequence[Target]) -> tuple[float, float]:
    """Return seconds for the whole answer and for one try; 0 is no limit."""
    told = spec.timeouts
    one_try = parse_seconds(told.backend_request) if told and told.backend_request else 0.0
    if told and told.request:
        return parse_seconds(told.request), one_try
    defaults = [t.timeout_seconds or TIMEOUT_SECONDS_DEFAULT for t in targets if t.cluster]
    return max([*defaults, one_try]), one_try


def _per_million(mirror: HTTPRequestMirrorFilter) -> int:
    if mirror.percent is not None:
        return mirror.percent * 10_000
    if mirror.fraction:
        return min(1_000_000, mirror.fraction.numerator * 1_000_000 // mirror.fraction.denominator)
    return 1_000_000


def _path_change(change: HTTPPathModifier) -> ir.PathChange:
    if change.type == "ReplaceFullPath":
        return ir.PathChange("full", checked_text(change.replace_full_path or "/", "the path"))
    return ir.PathChange("prefix", checked_text(change.replace_prefix_match or "", "the path").rstrip("/"))


def _redirect(spec: HTTPRequestRedirectFilter) -> ir.Redirect:
    """Translate a redirection; without scheme and port, the port stays open until the listener is known."""
    return ir.Redirect(
        status=spec.status_code,
        scheme=spec.scheme,
        host=spec.hostname,
        port=spec.port or _REDIRECT_PORTS.get(spec.scheme or ""),
        path=_path_change(spec.path) if spec.path else None,
    )


def at_listener_port(action: ir.Action, port: int) -> ir.Action:
    """Complete an action by the listener's port: a redirection without scheme and port goes to that one."""
    if isinstance(action, ir.Redirect) and action.port is None:
        return replace(action, port=port)
    return action


def _no_backend(targets: Sequence[Target]) -> ir.Respond:
    unready = [target.unready for target in targets if target.unready]
    if unready:
        return error_response(503, f"function {unready[0]} has no live revision")
    return error_response(500, "this route has no backend that can be resolved")


def error_response(status: int, message: str) -> ir.Respond:
    """Return an answer of the gateway's own."""
    body = orjson.dumps({"code": status, "message": message}).decode()
    return ir.Respond(status, body, "application/json")
