"""Our model of traffic in Envoy's words: listeners (LDS), clusters (CDS) and certificates (SDS).

Pure and deterministic: equal models give byte-equal messages. Owns the edge's defaults and limits, each named below;
docs/reference/gateway.md lists them. Does not own routes (`envoy_routes.py`), plugins (`envoy_plugins.py`), nor how all
of it becomes a snapshot (`envoy_snapshot.py`).
"""

from dataclasses import dataclass

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.address_pb2 import Address, CidrRange, Pipe, SocketAddress
from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.clusters.common.dns.v3.dns_pb2 import DnsLookupFamily
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.message import Message

from skerry.gateway import ir
from skerry.gateway.chain_tables import served_name
from skerry.gateway.envoy_functions import FILTER_CONNECTIONS_MAX, engine_place, filter_protocol
from skerry.gateway.envoy_plugins import network_filters, plugin_filter
from skerry.gateway.envoy_routes import STREAM_IDLE_SECONDS_MAX
from skerry.gateway.envoy_security import AUDIT_PREFIX, authentication_filter, authorization_filter
from skerry.gateway.envoy_words import ads, any_of, duration
from skerry.gateway.ir.access import Authentication, Authorization

# Downstream. The edge's defaults follow Envoy's guide "Configuring Envoy as an edge proxy".
REQUEST_HEADERS_KIB_MAX = 60
REQUEST_HEADERS_MAX = 100
REQUEST_HEADERS_SECONDS_MAX = 10.0
CONNECTION_IDLE_SECONDS_MAX = 300.0
CONNECTION_BUFFER_BYTES_MAX = 1024 * 1024
HTTP2_STREAMS_MAX = 100
HTTP2_STREAM_WINDOW_BYTES = 64 * 1024
HTTP2_CONNECTION_WINDOW_BYTES = 1024 * 1024
DRAIN_SECONDS = 5.0

# Upstream. A request over a limit is answered 503 with the flag UO.
CONNECT_SECONDS_MAX = 5.0
#: To the Unix socket of a worker on this machine: it answers at once or not at all.
ENGINE_CONNECT_SECONDS_MAX = 0.25
#: Of a connection to a worker, or to whoever calls functions. They close later (`engine.connection`, `engine.http2`,
#: `server.serve`): a POST that is sent as the other side closes is lost, and may not be sent again.
ENGINE_IDLE_SECONDS_MAX = 60.0
ENGINE_CONNECTIONS_MAX = 1024
ENGINE_PENDING_REQUESTS_MAX = 1024
ENGINE_REQUESTS_MAX = 4096
#: At once; Envoy's default of 3 would fail requests while a worker restarts under load.
ENGINE_RETRIES_MAX = 1024
#: More than a worker ever sends (`engine.http1`): a response that Envoy refuses is a reset to it, so it would send the
#: request again, and run the function each time.
ENGINE_RESPONSE_HEADERS_MAX = 128
ENGINE_RESPONSE_HEADERS_KIB_MAX = 64
BACKEND_CONNECTIONS_MAX = 1024
BACKEND_PENDING_REQUESTS_MAX = 1024
BACKEND_REQUESTS_MAX = 1024
BACKEND_RETRIES_MAX = 16

#: How often a backend's name is resolved where the answer has no time to live; Apoxy's default.
DNS_REFRESH_SECONDS = 60.0
DNS_RETRY_FIRST_SECONDS = 1.0
DNS_RETRY_MAX_SECONDS = 10.0

#: Headers with this prefix are between Skerry's own parts: those of clients are dropped.
INTERNAL_HEADER_PREFIX = "x-skerry-"

#: Keys of the access log: Apoxy's, the W3C trace that the request belongs to, the revision of the function that
#: answered, and the AUDIT policy that the request fits.
ACCESS_LOG_FORMAT = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "x-envoy-origin-path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "x-envoy-upstream-service-time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x-forwarded-for": "%REQ(X-FORWARDED-FOR)%",
    "user-agent": "%REQ(USER-AGENT)%",
    "x-request-id": "%REQ(X-REQUEST-ID)%",
    "traceparent": "%REQ(TRACEPARENT)%",
    ":authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
    "x-skerry-revision": "%REQ(X-SKERRY-REVISION)%",
    "audit_policy": f"%DYNAMIC_METADATA(envoy.filters.http.rbac:{AUDIT_PREFIX}shadow_effective_policy_id)%",
}


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What the messages need of the machine.

    Attributes:
        access_log: path of the access log.
        trusted_ca: path of the PEM bundle by which TLS backends are verified.
    """

    access_log: str
    trusted_ca: str = "/etc/ssl/certs/ca-certificates.crt"


def listener(binding: ir.Binding, settings: EdgeSettings) -> Listener:
    """Write a binding. Ports are not shared (`enable_reuse_port`): a port that another process has is an error."""
    message = Listener(
        name=binding.name,
        address=Address(socket_address=SocketAddress(address=binding.address, port_value=binding.port)),
        stat_prefix=binding.name,
        filter_chains=[_filter_chain(chain, settings) for chain in binding.chains],
    )
    message.enable_reuse_port.value = False
    message.per_connection_buffer_limit_bytes.value = CONNECTION_BUFFER_BYTES_MAX
    if any(chain.certificates for chain in binding.chains):
        inspector = ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=any_of(TlsInspector()))
        message.listener_filters.append(inspector)
    return message


def _filter_chain(chain: ir.Chain, settings: EdgeSettings) -> FilterChain:
    manager = any_of(_connection_manager(chain, settings))
    message = FilterChain(
        name=chain.table,
        filters=[
            *network_filters(chain.network_plugins),
            Filter(name="envoy.filters.network.http_connection_manager", typed_config=manager),
        ],
    )
    if chain.server_names:
        message.filter_chain_match.CopyFrom(FilterChainMatch(server_names=chain.server_names))
    if chain.certificates:
        context = DownstreamTlsContext()
        context.common_tls_context.alpn_protocols.extend(["h2", "http/1.1"])
        context.common_tls_context.tls_certificate_sds_secret_configs.extend(
            SdsSecretConfig(name=name, sds_config=ads()) for name in chain.certificates
        )
        message.transport_socket.CopyFrom(_tls_socket(context))
    return message


def _connection_manager(chain: ir.Chain, settings: EdgeSettings) -> hcm.HttpConnectionManager:
    """Write the HTTP part of a listener.

    Paths are normalised (RFC 3986) and repeated slashes merged before routes are matched, so that no spelling of a
    path slips past a route; encoded slashes stay, because functions use them within a segment.
    """
    manager = hcm.HttpConnectionManager(
        stat_prefix=chain.table,
        rds=hcm.Rds(config_source=ads(), route_config_name=served_name(chain)),
        http_filters=_http_filters(chain),
        server_name="skerry",
        server_header_transformation=hcm.HttpConnectionManager.APPEND_IF_ABSENT,
        merge_slashes=True,
        path_with_escaped_slashes_action=hcm.HttpConnectionManager.KEEP_UNCHANGED,
        stream_idle_timeout=duration(STREAM_IDLE_SECONDS_MAX),
        request_headers_timeout=duration(REQUEST_HEADERS_SECONDS_MAX),
        drain_timeout=duration(DRAIN_SECONDS),
        internal_address_config=_nobody_is_internal(),
        always_set_request_id_in_response=True,
        access_log=[_access_log(settings.access_log)],
    )
    manager.use_remote_address.value = True
    manager.normalize_path.value = True
    manager.max_request_headers_kb.value = REQUEST_HEADERS_KIB_MAX
    manager.scheme_header_transformation.scheme_to_overwrite = "https" if chain.certificates else "http"
    manager.upgrade_configs.add(upgrade_type="websocket")  # functions say for themselves that they take none
    manager.common_http_protocol_options.idle_timeout.CopyFrom(duration(CONNECTION_IDLE_SECONDS_MAX))
    manager.common_http_protocol_options.max_headers_count.value = REQUEST_HEADERS_MAX
    manager.http2_protocol_options.max_concurrent_streams.value = HTTP2_STREAMS_MAX
    manager.http2_protocol_options.initial_stream_window_size.value = HTTP2_STREAM_WINDOW_BYTES
    manager.http2_protocol_options.initial_connection_window_size.value = HTTP2_CONNECTION_WINDOW_BYTES
    return manager


def _http_filters(chain: ir.Chain) -> list[hcm.HttpFilter]:
    """Write the HTTP filters in order. What is internal goes first, so that no plugin is told it by a client."""
    first = hcm.HttpFilter(name="envoy.filters.http.header_mutation", typed_config=any_of(_strip_internal_headers()))
    router = hcm.HttpFilter(name="envoy.filters.http.router", typed_config=any_of(Router()))
    off_by_default = [_http_filter(each) for each in chain.route_filters]
    for message in off_by_default:
        message.disabled = True
    before, after = ([_http_filter(each) for each in filters] for filters in (chain.http_filters, chain.last_filters))
    return [first, *before, *off_by_default, *after, router]


def _http_filter(model: ir.HttpFilter | ir.RouteFilter) -> hcm.HttpFilter:
    match model:
        case ir.EnginePlace():
            return engine_place(model)
        case ir.PluginUse():
            return plugin_filter(model)
        case Authentication():
            return authentication_filter(model)
        case Authorization():
            return authorization_filter(model)


def _nobody_is_internal() -> hcm.HttpConnectionManager.InternalAddressConfig:
    """Trust no client for its private address: x-envoy-* headers, which set timeouts and retries, are dropped.

    An empty list would mean the private ranges (Envoy, `InternalAddressConfig::isInternalAddress`), so the list names
    an address that no client has.
    """
    nobody = CidrRange(address_prefix="0.0.0.0")  # noqa: S104 - nothing is bound here
    nobody.prefix_len.value = 32
    return hcm.HttpConnectionManager.InternalAddressConfig(cidr_ranges=[nobody])


def _strip_internal_headers() -> HeaderMutation:
    removal = Mutation()
    removal.remove_on_match.key_matcher.prefix = INTERNAL_HEADER_PREFIX
    removal.remove_on_match.key_matcher.ignore_case = True
    return HeaderMutation(mutations=Mutations(request_mutations=[removal]))


def _access_log(path: str) -> AccessLog:
    log = FileAccessLog(path=path)
    for key, value in ACCESS_LOG_FORMAT.items():
        log.log_format.json_format.fields[key].string_value = value
    return AccessLog(name="envoy.access_loggers.file", typed_config=any_of(log))


def cluster(model: ir.Cluster, settings: EdgeSettings) -> Cluster:
    """Write a cluster."""
    match model:
        case ir.EngineCluster():
            return _engine_cluster(model)
        case ir.NetworkCluster():
            return _network_cluster(model, settings)
        case ir.EmptyCluster():
            return _cluster(model.name, [], connect_seconds=CONNECT_SECONDS_MAX)


def _engine_cluster(model: ir.EngineCluster) -> Cluster:
    endpoints = [LbEndpoint(endpoint=Endpoint(address=Address(pipe=Pipe(path=path)))) for path in model.sockets]
    message = _cluster(model.name, endpoints, connect_seconds=ENGINE_CONNECT_SECONDS_MAX)
    message.lb_policy = Cluster.LEAST_REQUEST
    if model.use == "filters":
        connections = FILTER_CONNECTIONS_MAX * max(1, len(model.sockets))
        _limit(message, connections, ENGINE_PENDING_REQUESTS_MAX, ENGINE_REQUESTS_MAX, ENGINE_RETRIES_MAX)
        options = filter_protocol()
    else:
        _limit(message, ENGINE_CONNECTIONS_MAX, ENGINE_PENDING_REQUESTS_MAX, ENGINE_REQUESTS_MAX, ENGINE_RETRIES_MAX)
        options = _protocol_options("http1")
        options.common_http_protocol_options.max_headers_count.value = ENGINE_RESPONSE_HEADERS_MAX
        options.common_http_protocol_options.max_response_headers_kb.value = ENGINE_RESPONSE_HEADERS_KIB_MAX
    options.common_http_protocol_options.idle_timeout.CopyFrom(duration(ENGINE_IDLE_SECONDS_MAX))
    _speak(message, options)
    return message


def _network_cluster(model: ir.NetworkCluster, settings: EdgeSettings) -> Cluster:
    endpoints = []
    for host in model.hosts:
        address = Address(socket_address=SocketAddress(address=host.address, port_value=host.port))
        endpoints.append(LbEndpoint(endpoint=Endpoint(address=address, hostname=host.address)))
    message = _cluster(model.name, endpoints, connect_seconds=CONNECT_SECONDS_MAX)
    if model.dns:
        dns = any_of(_resolution())
        message.cluster_type.CopyFrom(Cluster.CustomClusterType(name="envoy.cluster.dns", typed_config=dns))
    _limit(message, BACKEND_CONNECTIONS_MAX, BACKEND_PENDING_REQUESTS_MAX, BACKEND_REQUESTS_MAX, BACKEND_RETRIES_MAX)
    _speak(message, _protocol_options(model.protocol))
    if model.protocol in {"tls", "h2"}:
        message.transport_socket.CopyFrom(_verified_tls(model.protocol, settings))
    return message


def _resolution() -> DnsCluster:
    """Prefer IPv4: with both families, a host without an IPv6 route would lose a share of its requests."""
    message = DnsCluster(
        respect_dns_ttl=True,
        dns_refresh_rate=duration(DNS_REFRESH_SECONDS),
        dns_lookup_family=DnsLookupFamily.V4_PREFERRED,
    )
    message.dns_failure_refresh_rate.base_interval.CopyFrom(duration(DNS_RETRY_FIRST_SECONDS))
    message.dns_failure_refresh_rate.max_interval.CopyFrom(duration(DNS_RETRY_MAX_SECONDS))
    return message


def _verified_tls(protocol: ir.Protocol, settings: EdgeSettings) -> TransportSocket:
    """Speak TLS under the endpoint's own name, and verify that name."""
    context = UpstreamTlsContext(auto_host_sni=True, auto_sni_san_validation=True)
    context.common_tls_context.alpn_protocols.extend(["h2"] if protocol == "h2" else ["h2", "http/1.1"])
    context.common_tls_context.validation_context.trusted_ca.filename = settings.trusted_ca
    return _tls_socket(context)


def _cluster(name: str, endpoints: list[LbEndpoint], *, connect_seconds: float) -> Cluster:
    assignment = ClusterLoadAssignment(cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)])
    return Cluster(
        name=name, type=Cluster.STATIC, connect_timeout=duration(connect_seconds), load_assignment=assignment
    )


def _limit(message: Cluster, connections: int, pending: int, requests: int, retries: int) -> None:
    thresholds = CircuitBreakers.Thresholds(track_remaining=True)
    thresholds.max_connections.value = connections
    thresholds.max_pending_requests.value = pending
    thresholds.max_requests.value = requests
    thresholds.max_retries.value = retries
    message.circuit_breakers.thresholds.append(thresholds)


def _protocol_options(protocol: ir.Protocol) -> HttpProtocolOptions:
    options = HttpProtocolOptions()
    match protocol:
        case "http1":
            options.explicit_http_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
        case "h2c" | "h2":
            options.explicit_http_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
        case "tls":
            options.auto_config.http_protocol_options.CopyFrom(Http1ProtocolOptions())
            options.auto_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    return options


def _speak(message: Cluster, options: HttpProtocolOptions) -> None:
    key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    message.typed_extension_protocol_options[key].Pack(options, deterministic=True)


def secret(certificate: ir.Certificate) -> Secret:
    """Write a certificate."""
    chain, key = DataSource(inline_bytes=certificate.chain), DataSource(inline_bytes=certificate.key)
    return Secret(name=certificate.name, tls_certificate=TlsCertificate(certificate_chain=chain, private_key=key))


def _tls_socket(context: Message) -> TransportSocket:
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=any_of(context))


__all__ = ["EdgeSettings", "cluster", "listener", "secret"]
