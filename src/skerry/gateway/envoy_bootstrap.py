"""Envoy's bootstrap: who it is, where it hears its configuration, where its admin listens, and its process limits."""

from dataclasses import dataclass
from pathlib import Path

from envoy.config.bootstrap.v3.bootstrap_pb2 import Admin, Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, Pipe
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.overload.v3.overload_pb2 import OverloadAction, OverloadManager, ResourceMonitor, Trigger
from envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from skerry.gateway.checked_values import REGEX_INSTRUCTIONS_MAX

_XDS = "xds"

#: At this share of the heap limit Envoy gives memory back; at the next it refuses new requests with 503.
_HEAP_SHRINK_SHARE = 0.90
_HEAP_REFUSE_SHARE = 0.95


#: Envoy's statistics of a plugin have its name in theirs, `<namespace>.<name>`: it becomes a tag of this name.
PLUGIN_TAG = "wasm_plugin"
_PLUGIN_STATISTIC = (
    r"^(?:wasm|extension_config_discovery\.(?:http|network)_filter)\.(([^.]+\..+?)\.)"
    r"(?:vm_reload\w*|config_\w+|update_\w+|version\w*|init_fetch_timeout)$"
)


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """How the Envoy of one data directory runs.

    Attributes:
        node_id: names this node to the xDS server.
        run_directory: for the bootstrap file and the admin socket; belongs to this process alone.
        log_directory: for `envoy.log`, `envoy.out` and `access.log`.
        xds_socket: path of the xDS server's Unix socket.
        concurrency: Envoy's worker threads.
        connections_max: downstream connections at once; further ones are closed at once.
        heap_bytes_max: memory; close to it, new requests are answered 503.
        drain_seconds: how long requests may still take when the process is asked to stop.
        log_flush_seconds: how late a line may be in a log.
        log_bytes_max: size of a log at which it is moved to `<name>.1` and begun anew.
        plugin_log_level: the least level, of Envoy's, at which plugins and their VMs write to the log.
    """

    node_id: str
    run_directory: Path
    log_directory: Path
    xds_socket: str
    concurrency: int = 2
    connections_max: int = 50_000
    heap_bytes_max: int = 1024 * 1024 * 1024
    drain_seconds: float = 5.0
    log_flush_seconds: float = 1.0
    log_bytes_max: int = 64 * 1024 * 1024
    plugin_log_level: str = "warning"

    @property
    def admin_socket(self) -> str:
        """Path of the admin interface's Unix socket."""
        return str(self.run_directory / "envoy-admin.sock")

    @property
    def bootstrap_file(self) -> Path:
        """Path of the bootstrap."""
        return self.run_directory / "envoy-bootstrap.json"

    @property
    def log_file(self) -> Path:
        """Path of Envoy's own log."""
        return self.log_directory / "envoy.log"

    @property
    def output_file(self) -> Path:
        """Path of what Envoy's process prints."""
        return self.log_directory / "envoy.out"

    @property
    def access_log(self) -> Path:
        """Path of the access log; the same must stand in the listeners (`EdgeSettings.access_log`)."""
        return self.log_directory / "access.log"


def bootstrap(settings: EnvoySettings) -> Bootstrap:
    """Write the bootstrap."""
    message = Bootstrap(
        node=Node(id=settings.node_id, cluster="skerry"),
        admin=Admin(address=Address(pipe=Pipe(path=settings.admin_socket, mode=0o600))),
        overload_manager=_overload_manager(settings),
    )
    # Without it Envoy takes 100 instructions: a count of 50 digits in an expression, or a host of 90 letters.
    runtime = message.layered_runtime.layers.add(name="limits").static_layer
    runtime.update({"re2.max_program_size.error_level": 2 * REGEX_INSTRUCTIONS_MAX})  # its RE2 is not quite ours
    message.stats_config.stats_tags.add(tag_name=PLUGIN_TAG, regex=_PLUGIN_STATISTIC)
    message.static_resources.clusters.append(_xds_cluster(settings.xds_socket))
    ads = message.dynamic_resources.ads_config
    ads.api_type = ApiConfigSource.DELTA_GRPC
    ads.transport_api_version = ApiVersion.V3
    ads.set_node_on_first_message_only = True
    ads.grpc_services.append(GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=_XDS)))
    for source in (message.dynamic_resources.lds_config, message.dynamic_resources.cds_config):
        source.CopyFrom(ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3))
    return message


def _xds_cluster(path: str) -> Cluster:
    endpoint = LbEndpoint(endpoint=Endpoint(address=Address(pipe=Pipe(path=path))))
    message = Cluster(
        name=_XDS,
        type=Cluster.STATIC,
        load_assignment=ClusterLoadAssignment(
            cluster_name=_XDS, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
    )
    message.connect_timeout.FromSeconds(1)
    options = HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    message.typed_extension_protocol_options[key].Pack(options, deterministic=True)
    return message


def _overload_manager(settings: EnvoySettings) -> OverloadManager:
    connections = ResourceMonitor(name="envoy.resource_monitors.global_downstream_max_connections")
    limit = DownstreamConnectionsConfig(max_active_downstream_connections=settings.connections_max)
    connections.typed_config.Pack(limit)
    heap = ResourceMonitor(name="envoy.resource_monitors.fixed_heap")
    heap.typed_config.Pack(FixedHeapConfig(max_heap_size_bytes=settings.heap_bytes_max))
    message = OverloadManager(
        resource_monitors=[connections, heap],
        actions=[
            _heap_action("envoy.overload_actions.shrink_heap", _HEAP_SHRINK_SHARE),
            _heap_action("envoy.overload_actions.stop_accepting_requests", _HEAP_REFUSE_SHARE),
        ],
    )
    message.refresh_interval.FromMilliseconds(250)
    return message


def _heap_action(name: str, share: float) -> OverloadAction:
    trigger = Trigger(name="envoy.resource_monitors.fixed_heap")
    trigger.threshold.value = share
    return OverloadAction(name=name, triggers=[trigger])
