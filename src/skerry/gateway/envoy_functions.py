"""Functions that see requests on their way, in Envoy's words: a filter that shows requests to the engine (ext_proc).

The filter is off; a route turns it on and says which functions are meant, so that functions come, change and go with
routes alone. Requests and answers are shown without their bodies; a function that takes one has it asked for.

Envoy's traps that this module knows, each from its source or seen in a real one:

- A message has one time limit for all routes: so it is the longest that a function may have, which is also the most
  that Envoy takes, and the worker keeps each function's. A worker that neither answers nor dies is given up after
  `STREAM_IDLE_SECONDS_MAX`.
- What a filter may not change, such as the method, is dropped in silence unless `mutation_rules` allow it.
- The name `:authority` is `host` in `mutation_rules`.
"""

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutationRules
from envoy.config.core.v3.base_pb2 import HeaderValue, RetryPolicy
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2 import (
    ExternalProcessor,
    ExtProcOverrides,
    ExtProcPerRoute,
)
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from skerry.api.function_template import TIMEOUT_SECONDS_MAX
from skerry.gateway import ir
from skerry.gateway.backends import ENGINE_FILTERS
from skerry.gateway.envoy_retries import RETRY_RESET, RETRY_UNSENT, retry_policy
from skerry.gateway.envoy_words import any_of, duration

#: Names a rule's functions to the worker (`engine.filtering.FILTERS_METADATA`): each revision, and `;open` behind one
#: whose failure lets requests pass.
FILTERS_METADATA = "x-skerry-filters"
#: To one worker at once; a worker takes 512 connections, of which answers of backends may hold these for long.
FILTER_CONNECTIONS_MAX = 256
#: The worker is gone: the rule's requests are answered with this, unless all of its functions fail open.
FAILURE_STATUS = 502
#: What one message of a worker may hold, and Envoy takes in without asking: over `http2_frames.STREAM_WINDOW_BYTES`.
WINDOW_BYTES = 16 * 1024 * 1024


def engine_place(place: ir.EnginePlace) -> HttpFilter:
    """Write the place among HTTP filters where requests are shown to functions."""
    message = ExternalProcessor(
        grpc_service=_service(RETRY_UNSENT),
        processing_mode=ProcessingMode(
            request_header_mode=ProcessingMode.SEND,
            response_header_mode=ProcessingMode.SEND,
            request_trailer_mode=ProcessingMode.SKIP,
            response_trailer_mode=ProcessingMode.SKIP,
        ),
        allow_mode_override=True,
        message_timeout=duration(TIMEOUT_SECONDS_MAX),
        mutation_rules=_mutation_rules(),
        route_cache_action=ExternalProcessor.RETAIN,
        stat_prefix=place.name,
    )
    message.status_on_error.code = FAILURE_STATUS
    return HttpFilter(name=place.name, typed_config=any_of(message))


def _mutation_rules() -> HeaderMutationRules:
    rules = HeaderMutationRules()
    rules.allow_all_routing.value = True
    return rules


def _service(retry_on: str) -> GrpcService:
    """Write where requests are shown, and what is shown to another worker where one is gone."""
    return GrpcService(
        envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=ENGINE_FILTERS, skip_envoy_headers=True),
        retry_policy=retry_policy(RetryPolicy, retry_on),
    )


def engine_route(route: ir.EngineRoute, retry_on: str) -> ExtProcPerRoute:
    """Write which functions see the requests of a route, and what is shown to another worker; "" as of any route."""
    functions = route.filters
    named = ",".join(f"{each.revision};open" if each.fails_open else each.revision for each in functions)
    overrides = ExtProcOverrides(grpc_initial_metadata=[HeaderValue(key=FILTERS_METADATA, value=named)])
    if retry_on == RETRY_RESET:
        overrides.grpc_service.CopyFrom(_service(retry_on))
    overrides.failure_mode_allow.value = all(each.fails_open for each in functions)
    return ExtProcPerRoute(overrides=overrides)


def filter_protocol() -> HttpProtocolOptions:
    """Write how workers are shown requests: HTTP/2, a connection a request at a time (`engine.http2`)."""
    options = HttpProtocolOptions()
    http2 = options.explicit_http_config.http2_protocol_options
    http2.max_concurrent_streams.value = 1
    http2.hpack_table_size.value = 0
    http2.initial_stream_window_size.value = WINDOW_BYTES
    http2.initial_connection_window_size.value = WINDOW_BYTES
    return options


__all__ = ["engine_place", "engine_route", "filter_protocol"]
