"""`skerry up`: everything on one machine, in one process with its Envoy and its engine workers.

Owns the wiring of the control plane and the node, and the order of start and stop. Decides nothing: every rule lives in
the room that it is about.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from skerry.agent.agent import AgentSettings, run_agent
from skerry.engine.component import check_component
from skerry.engine.kv_server import serve_key_values
from skerry.engine.workers import WorkerSettings
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.kit.clock import SystemClock
from skerry.kit.cycles import look_for_cycles_rarely
from skerry.kit.ids import RandomIds
from skerry.kit.logs import get_logger
from skerry.main import data_dir as directories
from skerry.main.adapters import LocalArtifacts, LocalNode
from skerry.main.bootstrap import ensure_default_gateway, require_default_gateway
from skerry.main.building import component_of, engine_cache_of
from skerry.main.configuration import Settings, function_limits_max
from skerry.main.control_plane import api_server, drain_seconds, duties, laid_ground
from skerry.main.data_dir import DataDir
from skerry.main.entries import DatabaseEntries
from skerry.main.functions import serve_endpoints
from skerry.main.leading import one_of_all
from skerry.main.ports import held_address
from skerry.main.process import Running
from skerry.main.storage import is_shared
from skerry.store.postgres.entries import open_entries

log = get_logger(__name__)

#: Where the gateway reaches who calls functions, below the folder for sockets.
ENDPOINTS_SOCKET = "endpoints.sock"
#: Where the engine workers ask for keys and values that nodes share, likewise.
KV_SOCKET = "kv.sock"


@asynccontextmanager
async def everything(settings: Settings, data_dir: DataDir) -> AsyncIterator[Running]:
    """Start all parts, lowest first; stop them in the opposite order."""
    check_component(component_of(settings))
    clock, ids = SystemClock(), RandomIds()
    async with AsyncExitStack() as stack:
        http_address = await stack.enter_async_context(held_address(settings.http_address, "--http-address"))
        api_address = await stack.enter_async_context(held_address(settings.api_address, "--api-address"))
        ground = await stack.enter_async_context(laid_ground(settings, data_dir))
        client, node = ground.client, LocalNode()
        await ensure_default_gateway(client, http_address)
        api_url = await stack.enter_async_context(api_server(settings, data_dir, ground, api_address, node))
        sockets = stack.enter_context(directories.run_dir(data_dir))
        lead = partial(duties, settings, data_dir, ground, sockets, api_port=api_address.port)
        await stack.enter_async_context(one_of_all(lead, client, clock, ids, alone=not ground.is_shared))
        endpoints = serve_endpoints(client, ground.dispatching, sockets / ENDPOINTS_SOCKET, drain_seconds(settings))
        await stack.enter_async_context(endpoints)
        kv_socket = await stack.enter_async_context(shared_key_values(settings, sockets))
        agent = agent_settings(settings, data_dir, sockets, kv_socket, api_port=api_address.port)
        node.agent = await stack.enter_async_context(run_agent(agent, client, LocalArtifacts(ground.keep), clock, ids))
        await require_default_gateway(client)
        look_for_cycles_rarely()
        yield Running(api_url, f"http://{http_address}", data_dir.kubeconfig)


@asynccontextmanager
async def shared_key_values(settings: Settings, sockets: Path) -> AsyncIterator[Path | None]:
    """Keep functions' keys and values in the database where nodes share it; yields who the workers ask, then."""
    if not is_shared(settings):
        yield None
        return
    socket = sockets / KV_SOCKET
    async with (
        open_entries(settings.database) as entries,
        serve_key_values(DatabaseEntries(entries), socket, SystemClock()),
    ):
        yield socket


def agent_settings(
    settings: Settings, data_dir: DataDir, sockets: Path, kv_socket: Path | None, *, api_port: int
) -> AgentSettings:
    """Return how the node of this machine runs."""
    workers = WorkerSettings(
        run_dir=sockets,
        functions_dir=data_dir.functions,
        logs_dir=data_dir.logs / "functions",
        kv_file=data_dir.key_values,
        kv_socket=kv_socket,
        engine_cache=engine_cache_of(settings, data_dir),
        component=component_of(settings),
        count=settings.workers,
        egress_allow=settings.egress_allow,
        egress_file=data_dir.egress_policies,
        control_plane_ports=(api_port,),
        egress_ca_file=settings.egress_ca_file,
        memory_bytes_max=settings.worker_memory_bytes_max,
        drain_seconds=settings.drain_seconds,
    )
    envoy = EnvoySettings(
        node_id="local",
        run_directory=sockets,
        log_directory=data_dir.logs,
        xds_socket=str(sockets / "xds.sock"),
        drain_seconds=settings.drain_seconds,
        heap_bytes_max=settings.envoy_heap_bytes_max,
    )
    return AgentSettings(
        functions_dir=data_dir.functions,
        plugins_dir=data_dir.plugins,
        filters_dir=data_dir.filters,
        native_plugins=settings.native_plugins,
        egress_file=data_dir.egress_policies,
        workers=workers,
        envoy=envoy,
        labels=dict(settings.node_labels.pairs),
        root_namespace=settings.root_namespace,
        default_address=settings.http_address.host,
        function_limits_max=function_limits_max(settings),
        start_seconds_max=settings.start_seconds_max,
        endpoints_socket=str(sockets / ENDPOINTS_SOCKET),
    )
