"""Our route tables in Envoy's words (RDS).

Envoy's traps that this module knows, each from Envoy's documentation or source:

- A header's value is a format string: a percent sign is doubled.
- `path_separated_prefix` matches whole segments and may not be `/`; a replacement by nothing would leave `//`.
- A substitution is a template of RE2: a backslash is doubled.
- Mutations run from the table to the destination (`most_specific_header_mutations_wins`), so the revision that
  a destination needs is written last, over whatever a client or a filter has set.
- A retry policy knows no method: idempotent methods, which may be sent again after a reset, get a route of their own.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from envoy.config.route.v3 import route_components_pb2 as rc
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.type.matcher.v3.regex_pb2 import RegexMatchAndSubstitute, RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any as AnyMessage

from skerry.gateway import ir
from skerry.gateway.envoy_functions import engine_route
from skerry.gateway.envoy_natives import native_route
from skerry.gateway.envoy_retries import IDEMPOTENT_METHODS, RETRY_RESET, RETRY_UNSENT, retry_policy
from skerry.gateway.envoy_words import any_of, duration

#: How long neither side of a request may send anything; a route that may take longer is given its own time.
STREAM_IDLE_SECONDS_MAX = 300.0

#: A body up to this size is kept for a retry; a longer one is sent once.
RETRY_BODY_BYTES_MAX = 1024 * 1024

#: A change usually touches one host of a table: the messages of the others are kept (some kilobytes each).
VIRTUAL_HOSTS_KEPT_MAX = 4096

_APPEND = HeaderValueOption.HeaderAppendAction
_REDIRECT_CODES = {
    301: rc.RedirectAction.MOVED_PERMANENTLY,
    302: rc.RedirectAction.FOUND,
    303: rc.RedirectAction.SEE_OTHER,
    307: rc.RedirectAction.TEMPORARY_REDIRECT,
    308: rc.RedirectAction.PERMANENT_REDIRECT,
}


def route_configuration(table: ir.RouteTable) -> RouteConfiguration:
    """Write a route table."""
    return RouteConfiguration(
        name=table.name,
        virtual_hosts=[_virtual_host(host) for host in table.hosts],
        ignore_port_in_host_matching=True,
        most_specific_header_mutations_wins=True,
    )


@lru_cache(maxsize=VIRTUAL_HOSTS_KEPT_MAX)
def _virtual_host(host: ir.VirtualHost) -> rc.VirtualHost:
    """Write a virtual host. The message is shared: it is copied into tables, and never changed."""
    messages = [message for route in host.routes for message in _routes(route)]
    return rc.VirtualHost(name=host.hostname, domains=[host.hostname], routes=messages)


def _routes(route: ir.Route) -> Iterator[rc.Route]:
    action = route.action
    if not (isinstance(action, ir.Forward) and (action.retries or _is_shown_to_engine(route, action))):
        yield _route(route, action)
        return
    methods = (route.match.method,) if route.match.method else IDEMPOTENT_METHODS
    if set(methods) <= set(IDEMPOTENT_METHODS):
        idempotent = _route(route, action, retry_on=RETRY_RESET)
        if not route.match.method:
            idempotent.match.headers.add(name=":method", string_match=_regex_text("|".join(methods)))
        yield idempotent
    if not set(methods) <= set(IDEMPOTENT_METHODS) or not route.match.method:
        yield _route(route, action, retry_on=RETRY_UNSENT)


def _is_shown_to_engine(route: ir.Route, action: ir.Forward) -> bool:
    uses = [*route.filters, *(use for destination in action.destinations for use in destination.filters)]
    return any(isinstance(use.config, ir.EngineRoute) for use in uses)


def _route(route: ir.Route, action: ir.Action, *, retry_on: str = "") -> rc.Route:
    message = rc.Route(
        name=route.name,
        match=_match(route.match),
        request_headers_to_add=_header_options(route.request_headers),
        request_headers_to_remove=route.request_headers.remove,
        response_headers_to_add=_header_options(route.response_headers),
        response_headers_to_remove=route.response_headers.remove,
    )
    for use in route.filters:
        message.typed_per_filter_config[use.filter].CopyFrom(_turned_on(use, retry_on))
    match action:
        case ir.Forward():
            message.route.CopyFrom(_forward(action, route.match.path, retry_on))
            if action.path and route.filters:
                _set_path_after_filters(message.route, action.path, route.match.path)
            _give_filters_time(message.route, route, action)
            message.request_body_buffer_limit.value = RETRY_BODY_BYTES_MAX
        case ir.Redirect():
            message.redirect.CopyFrom(_redirect(action, route.match.path))
        case ir.Respond():
            message.direct_response.status = action.status
            if action.body:
                message.direct_response.body.CopyFrom(DataSource(inline_string=action.body))
            own = ir.HeaderChanges(set=(("content-type", action.content_type), *action.headers))
            message.response_headers_to_add.extend(_header_options(own))
    return message


def _turned_on(use: ir.FilterUse, retry_on: str) -> AnyMessage:
    """Turn a filter on. The empty message must be there: Envoy refuses a configuration that is left out."""
    match use.config:
        case ir.EngineRoute():
            return any_of(engine_route(use.config, retry_on))
        case ir.NativeRoute():
            return any_of(rc.FilterConfig(config=any_of(native_route(use.config))))
        case None:
            return any_of(rc.FilterConfig(config=AnyMessage()))


def _give_filters_time(message: rc.RouteAction, route: ir.Route, action: ir.Forward) -> None:
    """Let a request say nothing for as long as the functions that it passes may take, where that is long."""
    uses = (*route.filters, *(use for destination in action.destinations for use in destination.filters))
    configs = [use.config for use in uses if isinstance(use.config, ir.EngineRoute)]
    seconds = max((each.timeout_seconds for config in configs for each in config.filters), default=0.0)
    if seconds > STREAM_IDLE_SECONDS_MAX:
        message.idle_timeout.CopyFrom(duration(max(seconds, action.timeout_seconds)))


def _match(match: ir.RouteMatch) -> rc.RouteMatch:
    message = rc.RouteMatch(
        headers=[rc.HeaderMatcher(name=h.name, string_match=_text(h)) for h in match.headers],
        query_parameters=[rc.QueryParameterMatcher(name=q.name, string_match=_text(q)) for q in match.query],
    )
    if match.method:
        message.headers.add(name=":method", string_match=StringMatcher(exact=match.method))
    match match.path.kind:
        case "exact":
            message.path = match.path.value
        case "regex":
            message.safe_regex.regex = match.path.value
        case "prefix":
            if match.path.value:
                message.path_separated_prefix = match.path.value
            else:
                message.prefix = "/"
    return message


def _text(match: ir.ValueMatch) -> StringMatcher:
    return _regex_text(match.value) if match.regex else StringMatcher(exact=match.value)


def _regex_text(pattern: str) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=pattern))


def _forward(action: ir.Forward, path: ir.PathMatch, retry_on: str) -> rc.RouteAction:
    message = rc.RouteAction(
        weighted_clusters=rc.WeightedCluster(clusters=[_destination(d, retry_on) for d in action.destinations]),
        cluster_not_found_response_code=rc.RouteAction.INTERNAL_SERVER_ERROR,
        timeout=duration(action.timeout_seconds),
        request_mirror_policies=[_mirror(mirror) for mirror in action.mirrors],
    )
    if action.timeout_seconds > STREAM_IDLE_SECONDS_MAX:
        message.idle_timeout.CopyFrom(duration(action.timeout_seconds))
    if action.host:
        message.host_rewrite_literal = action.host
    if action.path:
        _set_path(message, action.path, path)
    if retry_on and action.retries:
        message.retry_policy.CopyFrom(retry_policy(rc.RetryPolicy, retry_on))
    if action.try_timeout_seconds:
        message.retry_policy.per_try_timeout.CopyFrom(duration(action.try_timeout_seconds))
    return message


def _destination(destination: ir.Destination, retry_on: str) -> rc.WeightedCluster.ClusterWeight:
    message = rc.WeightedCluster.ClusterWeight(
        name=destination.cluster,
        request_headers_to_add=_header_options(destination.request_headers),
        request_headers_to_remove=destination.request_headers.remove,
        response_headers_to_add=_header_options(destination.response_headers),
        response_headers_to_remove=destination.response_headers.remove,
    )
    message.weight.value = destination.weight
    for use in destination.filters:
        message.typed_per_filter_config[use.filter].CopyFrom(_turned_on(use, retry_on))
    return message


def _mirror(mirror: ir.Mirror) -> rc.RouteAction.RequestMirrorPolicy:
    share = FractionalPercent(numerator=mirror.per_million, denominator=FractionalPercent.MILLION)
    return rc.RouteAction.RequestMirrorPolicy(
        cluster=mirror.cluster,
        runtime_fraction=RuntimeFractionalPercent(default_value=share),
        disable_shadow_host_suffix_append=True,
        request_headers_mutations=[HeaderMutation(append=option) for option in _header_options(mirror.request_headers)],
    )


def _redirect(action: ir.Redirect, path: ir.PathMatch) -> rc.RedirectAction:
    message = rc.RedirectAction(response_code=_REDIRECT_CODES[action.status])
    if action.scheme:
        message.scheme_redirect = action.scheme
    if action.host:
        message.host_redirect = action.host
    if action.port and not _is_implied(action):
        message.port_redirect = action.port
    if action.path and action.path.kind == "full":
        message.path_redirect = action.path.value
    elif action.path:
        _set_path(message, action.path, path)
    return message


def _is_implied(action: ir.Redirect) -> bool:
    """Tell whether Envoy writes the location rightly without a port: with a host given, it takes over none."""
    return bool(action.host) and (action.scheme or "http", action.port) in {("http", 80), ("https", 443)}


def _set_path(message: rc.RouteAction | rc.RedirectAction, change: ir.PathChange, matched: ir.PathMatch) -> None:
    """Change the path; `change.value` of a prefix has no trailing slash, and may be empty."""
    if change.kind == "full":
        message.regex_rewrite.CopyFrom(_substitution(r"^[^?]*", change.value))
    elif change.value and matched.value:
        message.prefix_rewrite = change.value
    elif matched.value:
        message.regex_rewrite.CopyFrom(_substitution(rf"^{_quoted(matched.value)}/*", "/"))
    else:
        message.prefix_rewrite = f"{change.value}/"


def _set_path_after_filters(message: rc.RouteAction, change: ir.PathChange, matched: ir.PathMatch) -> None:
    """Change the prefix of a path only where it is still there: a function may have changed the path.

    Envoy cuts off as many characters as the route matched, whatever they are by then.
    """
    if change.kind == "prefix" and change.value and matched.value:
        rewrite = _substitution(rf"^{_quoted(matched.value)}(/|\?|$)", change.value)
        rewrite.substitution += r"\1"
        message.ClearField("prefix_rewrite")
        message.regex_rewrite.CopyFrom(rewrite)


def _quoted(text: str) -> str:
    """Quote a path for RE2, as its own QuoteMeta does."""
    return "".join(c if c.isalnum() or c in "_/" or ord(c) > 127 else f"\\{c}" for c in text)


def _substitution(pattern: str, text: str) -> RegexMatchAndSubstitute:
    return RegexMatchAndSubstitute(pattern=RegexMatcher(regex=pattern), substitution=text.replace("\\", "\\\\"))


def _header_options(changes: ir.HeaderChanges) -> list[HeaderValueOption]:
    return [
        *_options(changes.set, _APPEND.OVERWRITE_IF_EXISTS_OR_ADD),
        *_options(changes.add, _APPEND.APPEND_IF_EXISTS_OR_ADD),
    ]


def _options(headers: Sequence[tuple[str, str]], action: int) -> Iterator[HeaderValueOption]:
    for name, value in headers:
        header = HeaderValue(key=name, value=value.replace("%", "%%"))
        yield HeaderValueOption(header=header, append_action=action, keep_empty_value=True)
