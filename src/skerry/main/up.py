"""`skerry up`: everything on one machine, in one process with its Envoy and its engine workers.

Owns the wiring and the order of start and stop. Decides nothing: every rule lives in the room that it is about.

Invariant: `when_ready` is called once every port is bound and a request would be answered; a start that fails raises
StartError after everything that had started is stopped again.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.agent.agent import AgentSettings, run_agent
from skerry.api.catalogue import Catalogue
from skerry.api.core_v1 import Event, Secret
from skerry.api.dispatch_v1 import Function
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.function_limits import kinds_within
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.registry import KINDS
from skerry.api.secret_fields import confidential_resources
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.git.repositories import GitRepositories
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.aggregation import ClusterRoleAggregator
from skerry.controllers.artifacts import ArtifactCollector
from skerry.controllers.definitions import DefinitionController
from skerry.controllers.edge_functions import EdgeFunctionController
from skerry.controllers.egress_policies import EgressPolicyController
from skerry.controllers.envoy_code import EnvoyCodeBuilder, EnvoyCodeWays
from skerry.controllers.events import EventExpirer
from skerry.controllers.function_code import FunctionCodeBuilder
from skerry.controllers.garbage import GarbageCollector
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.namespaces import NamespaceController
from skerry.controllers.service_accounts import DefaultAccounts
from skerry.controllers.tokens import TokenCollector
from skerry.controllers.wasm_plugins import WasmPluginController
from skerry.engine.function_logs import FunctionLogs
from skerry.engine.workers import WorkerSettings
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.filter_trial import tried
from skerry.kit import logs
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.cycles import look_for_cycles_rarely
from skerry.kit.errors import StartError
from skerry.kit.ids import RandomIds
from skerry.kit.logs import get_logger
from skerry.kit.tasks import background
from skerry.main import data_dir as directories
from skerry.main.adapters import (
    KeptSources,
    LocalArtifacts,
    LocalFunctionLogs,
    NodeReadiness,
)
from skerry.main.bootstrap import ensure_default_gateway, require_default_gateway
from skerry.main.builders import Builders, code_builders
from skerry.main.building import component_of, engine_cache_of, fetch_settings, toolchain_of
from skerry.main.configuration import Address, Settings, function_limits_max, oidc_settings
from skerry.main.data_dir import DataDir
from skerry.main.event_drivers import event_drivers
from skerry.main.faas import deploying
from skerry.main.functions import Dispatching, dispatch_controllers, dispatch_door, serve_endpoints
from skerry.main.ports import free_address
from skerry.main.runtimes import local_driver
from skerry.server.access import Access
from skerry.server.app import App, Guards
from skerry.server.audit import AuditLog, AuditSettings
from skerry.server.auth import Authenticator
from skerry.server.authorization.authorization import Authorization
from skerry.server.client_certificates import ClientCertificates
from skerry.server.credentials import open_administrator, write_kubeconfig
from skerry.server.dispatch.door import Sources
from skerry.server.encryption import EncryptionDoor
from skerry.server.health import Health
from skerry.server.http import Door
from skerry.server.inflight import InflightLimits
from skerry.server.issuer_keys import IssuerKeys
from skerry.server.kube.built_in_definitions import publish_definitions
from skerry.server.kube.door import KubeDoor, KubeSettings
from skerry.server.kube.logs import LogReader
from skerry.server.kube.tokens import Tokens
from skerry.server.local import LocalTransport
from skerry.server.oidc import OidcTokens
from skerry.server.serve import ServeSettings, serve
from skerry.server.service_accounts import AccountTokens, open_signing_key
from skerry.server.tls import LOCAL_NAMES, ServerIdentity, open_authority
from skerry.server.tokens import StoredTokens
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.resealing import Resealer
from skerry.store.sealing.sealed import open_sealed
from skerry.store.sqlite import SqliteSettings, open_sqlite

log = get_logger(__name__)

#: Where the gateway reaches who calls functions, below the folder for sockets.
ENDPOINTS_SOCKET = "endpoints.sock"


@dataclass(frozen=True, slots=True)
class Running:
    """Where a ready Skerry is reached."""

    api_url: str
    http_url: str
    kubeconfig: Path


@dataclass(frozen=True, slots=True)
class Ground:
    """What the front doors stand on."""

    verbs: Verbs
    access: Access
    resealer: Resealer
    sources: Sources
    dispatching: Dispatching


async def run_up(settings: Settings, when_ready: Callable[[Running], Awaitable[None]]) -> None:
    """Run until SIGTERM or SIGINT; then drain and return.

    Args:
        settings: what is set.
        when_ready: called once, when everything is ready.

    Raises:
        StartError: a part could not start.
    """
    logs.configure(style="json" if settings.log_style == "json" else "text", level=settings.log_level)
    life = asyncio.current_task()
    assert life is not None  # noqa: S101 - a coroutine runs in a task
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        life.cancel()

    os.umask(0o077)  # what is kept here is nobody else's business: env values, logs, artifacts
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        with directories.opened(settings.data_dir) as data_dir:
            async with everything(settings, data_dir) as running:
                directories.write_run_note(data_dir, api=running.api_url, http=running.http_url)
                try:
                    await when_ready(running)
                    await asyncio.Event().wait()
                finally:
                    data_dir.run_note.unlink(missing_ok=True)
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except OSError as error:
        raise StartError(f"a file or a socket can't be used: {error}") from error


@asynccontextmanager
async def everything(settings: Settings, data_dir: DataDir) -> AsyncIterator[Running]:
    """Start all parts, lowest first; stop them in the opposite order."""
    http_address = await free_address(settings.http_address, "--http-address")
    api_address = await free_address(settings.api_address, "--api-address")
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(open_sqlite(data_dir.database, SqliteSettings(sole_writer=True)))
        keys = LocalKeys(data_dir.encryption_keys, clock)
        sealed = await open_sealed(driver, keys, confidential_resources(KINDS).__contains__)
        revision_log = await stack.enter_async_context(open_log(sealed.driver, clock=clock))
        await stack.enter_async_context(background(("resealing", sealed.resealer.run)))
        access = Authorization()
        kinds = kinds_within(KINDS, function_limits_max(settings))
        verbs = Verbs(revision_log, kinds, clock, RandomIds(), access)
        await verbs.bootstrap()
        await publish_definitions(revision_log, clock, RandomIds())
        await stack.enter_async_context(verbs.definitions.running())
        await stack.enter_async_context(access.running(verbs))
        client = Client(LocalTransport(verbs, manager="skerry"))
        await ensure_default_gateway(client, http_address)
        keep = await stack.enter_async_context(ArtifactKeep(data_dir.artifacts, clock=clock))
        node = NodeReadiness()
        ground = Ground(verbs, access, sealed.resealer, KeptSources(keep), Dispatching())
        api_url = await stack.enter_async_context(api_server(settings, data_dir, ground, api_address, node))
        builders = await stack.enter_async_context(code_builders(settings, data_dir))
        await stack.enter_async_context(controllers(settings, builders, client, keep, verbs.kinds))
        sockets = stack.enter_context(directories.run_dir(data_dir))
        local = local_driver(settings, data_dir, sockets, builders, api_port=api_address.port)
        functions = await stack.enter_async_context(deploying(settings, client, local))
        await stack.enter_async_context(dispatch_controllers(functions, client, keep, verbs, ground.dispatching))
        events = ground.dispatching.events
        await stack.enter_async_context(event_drivers(client, events, data_dir.logs, drain_seconds(settings)))
        endpoints = serve_endpoints(client, ground.dispatching, sockets / ENDPOINTS_SOCKET, drain_seconds(settings))
        await stack.enter_async_context(endpoints)
        agent = agent_settings(settings, data_dir, sockets, api_port=api_address.port)
        node.agent = await stack.enter_async_context(run_agent(agent, client, LocalArtifacts(keep), clock))
        await require_default_gateway(client)
        look_for_cycles_rarely()
        yield Running(api_url, f"http://{http_address}", data_dir.kubeconfig)


@asynccontextmanager
async def api_server(
    settings: Settings, data_dir: DataDir, ground: Ground, address: Address, node: NodeReadiness
) -> AsyncIterator[str]:
    """Serve the API; yields its URL, with the administrator's kubeconfig written."""
    clock, verbs, access = SystemClock(), ground.verbs, ground.access
    authority = open_authority(data_dir.pki, clock)
    identity = ServerIdentity(data_dir.pki, authority, [*LOCAL_NAMES, address.host], clock)
    administrator = open_administrator(data_dir.pki / "tokens.json", data_dir.kubeconfig)
    function_logs = FunctionLogs(data_dir.logs / "functions")
    reader = LocalFunctionLogs(function_logs, verbs, clock)
    audit = AuditLog(AuditSettings(data_dir.logs / "audit.log", reads=settings.audit_reads), clock)
    limits = InflightLimits(
        max_requests_inflight=settings.max_requests_inflight,
        max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
    )
    accounts = AccountTokens(verbs, open_signing_key(data_dir.service_account_key), clock, RandomIds())
    own = (ClientCertificates(clock), administrator.tokens, StoredTokens(verbs, clock), accounts)
    serving = ServeSettings(address.host, address.port, drain_seconds=drain_seconds(settings))
    try:
        async with AsyncExitStack() as stack:
            oidc = await stack.enter_async_context(oidc_authenticators(settings, clock))
            known: tuple[Authenticator, ...] = (*own, *oidc)
            doors = front_doors(ground, reader, clock, Tokens(verbs, clock, accounts, known))
            app = App(doors, Guards(known, access, limits), Health([node]), clock, audit, node)
            await stack.enter_async_context(audit.running())
            at = await stack.enter_async_context(serve(app, serving, identity))
            write_kubeconfig(data_dir.kubeconfig, url=at.url, authority_pem=authority.pem, token=administrator.token)
            yield at.url
    finally:
        function_logs.close()


@asynccontextmanager
async def oidc_authenticators(settings: Settings, clock: Clock) -> AsyncIterator[tuple[Authenticator, ...]]:
    """Take the tokens of the OpenID issuer that is set, if one is."""
    oidc = oidc_settings(settings)
    if oidc is None:
        yield ()
        return
    async with IssuerKeys(oidc.oidc_issuer_url, oidc.oidc_ca_file, clock).running() as keys:
        yield (OidcTokens(oidc, keys, clock),)


def front_doors(ground: Ground, reader: LogReader | None, clock: Clock, tokens: Tokens) -> tuple[Door, ...]:
    """Return every front door that there is."""
    return (
        KubeDoor(ground.verbs, KubeSettings(ground.access, clock, reader, tokens)),
        EncryptionDoor(ground.resealer, ground.access),
        dispatch_door(ground.verbs, ground.access, ground.sources, ground.dispatching),
    )


@asynccontextmanager
async def controllers(
    settings: Settings, builders: Builders, client: Client, keep: ArtifactKeep, kinds: Catalogue
) -> AsyncIterator[None]:
    """Run every controller."""
    clock, informers = SystemClock(), Informers(client)
    functions, revisions = informers.of(EdgeFunction), informers.of(EdgeFunctionRevision)
    caches = KindCaches(informers, kinds)
    garbage = GarbageCollector(client.transport, caches)
    namespaces = NamespaceController(client, caches, clock)
    definitions = DefinitionController(client, caches, kinds, clock)
    aggregation = ClusterRoleAggregator(client, informers)
    accounts = DefaultAccounts(client, informers)
    egress = EgressPolicyController(client, informers, clock)
    tokens = TokenCollector(client, informers, clock)
    plugins, secrets = informers.of(WasmPlugin), informers.of(Secret)
    collector = ArtifactCollector(keep, revisions, plugins, informers.of(Function))
    expirer = EventExpirer(client, informers.of(Event), clock)
    fetching = fetch_settings(settings)
    async with CodeFetcher(keep, fetching) as fetcher:
        repositories = GitRepositories(builders.http, fetching)
        in_engine = FunctionCodeBuilder(builders.functions, repositories, fetcher, builders.check, keep, secrets)
        ways = EnvoyCodeWays(fetcher, keep, secrets, tried, natives=settings.native_plugins)
        builder = EnvoyCodeBuilder(ways, in_engine)
        controller = EdgeFunctionController(
            client, functions, revisions, builder, clock, toolchain=toolchain_of(settings)
        )
        plugin_controller = WasmPluginController(client, plugins, secrets, fetcher, clock)
        reconciling = (
            controller.running(),
            plugin_controller.running(),
            garbage.running(),
            namespaces.running(),
            aggregation.running(),
            definitions.running(),
            accounts.running(),
            egress.running(),
            tokens.running(),
        )
        async with AsyncExitStack() as stack:
            for part in (
                *reconciling,
                informers.running(),
                background(("artifacts", collector.run), ("events", expirer.run)),
            ):
                await stack.enter_async_context(part)
            yield


def drain_seconds(settings: Settings) -> int:
    """Return how long servers let running requests take when they stop."""
    return max(1, round(settings.drain_seconds))


def agent_settings(settings: Settings, data_dir: DataDir, sockets: Path, *, api_port: int) -> AgentSettings:
    """Return how the node of this machine runs."""
    workers = WorkerSettings(
        run_dir=sockets,
        functions_dir=data_dir.functions,
        logs_dir=data_dir.logs / "functions",
        kv_file=data_dir.key_values,
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
