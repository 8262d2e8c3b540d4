"""The control plane: the log, the verbs on it, the front doors, and the controllers. `serve` is this; `up` adds a node.

Owns the wiring and the order of start and stop. Decides nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.api.baetyl_configurations import Configuration
from skerry.api.core_v1 import EVENT, Secret
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
from skerry.controllers.baetyl_nodes import NodeReadinessController
from skerry.controllers.baetyl_products import ProductCounter
from skerry.controllers.baetyl_rollouts import RolloutController
from skerry.controllers.baetyl_starts import ApplicationStarts
from skerry.controllers.baetyl_system_apps import SystemApplications
from skerry.controllers.baetyl_traffic import FleetTraffic
from skerry.controllers.definitions import DefinitionController
from skerry.controllers.edge_functions import EdgeFunctionController
from skerry.controllers.egress_policies import EgressPolicyController
from skerry.controllers.envoy_code import EnvoyCodeBuilder, EnvoyCodeWays
from skerry.controllers.events import EventExpirer, dated_event
from skerry.controllers.function_code import FunctionCodeBuilder
from skerry.controllers.garbage import GarbageCollector
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.namespaces import NamespaceController
from skerry.controllers.service_accounts import DefaultAccounts
from skerry.controllers.tokens import TokenCollector
from skerry.controllers.wasm_plugins import WasmPluginController
from skerry.engine.function_logs import FunctionLogs
from skerry.gateway.filter_trial import tried
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.main.adapters import (
    DatabaseReadiness,
    LocalFunctionLogs,
    LocalNode,
)
from skerry.main.artifacts import open_keep
from skerry.main.builders import Builders, code_builders
from skerry.main.building import component_of, fetch_settings, toolchain_of
from skerry.main.configuration import Settings, function_limits_max, oidc_settings
from skerry.main.data_dir import DataDir
from skerry.main.event_drivers import event_drivers
from skerry.main.faas import deploying
from skerry.main.functions import Dispatching, dispatch_controllers, dispatch_door, dispatching
from skerry.main.joining import Joining, JoiningSettings, Kept, Trusted, fleet_doors, joining
from skerry.main.runtimes import local_driver
from skerry.main.served_artifacts import ServedArtifacts
from skerry.main.setting_values import Address
from skerry.main.storage import open_storage
from skerry.server.access import Access
from skerry.server.app import App, Guards
from skerry.server.artifacts import ArtifactDoor
from skerry.server.audit import AuditLog, AuditSettings
from skerry.server.auth import Authenticator
from skerry.server.authorization.authorization import Authorization
from skerry.server.baetyl.fleet import Fleet
from skerry.server.client_certificates import ClientCertificates
from skerry.server.credentials import open_administrator, write_kubeconfig
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
from skerry.server.node_certificates import NodeCertificates
from skerry.server.oidc import OidcTokens
from skerry.server.serve import ServeSettings, serve
from skerry.server.service_accounts import AccountTokens, open_signing_key
from skerry.server.tls import LOCAL_NAMES, ServerIdentity, open_authority
from skerry.server.tokens import StoredTokens
from skerry.server.verbs.admission import Policies
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import RevisionLog, open_log
from skerry.store.sealing.resealing import Resealer
from skerry.store.sealing.sealed import open_sealed


@dataclass(frozen=True, slots=True)
class Ground:
    """What front doors and controllers stand on.

    Attributes:
        client: of this process' own parts.
        is_shared: whether other processes may use the same log.
        fleet: which node is to run what.
        dispatching: what stands behind the front door of functions.
    """

    revision_log: RevisionLog
    verbs: Verbs
    access: Access
    resealer: Resealer
    keep: ArtifactKeep
    client: Client
    is_shared: bool
    fleet: Fleet
    dispatching: Dispatching


@asynccontextmanager
async def laid_ground(settings: Settings, data_dir: DataDir) -> AsyncIterator[Ground]:
    """Open the log, and have the verbs on it ready, for the length of the block."""
    clock, ids = SystemClock(), RandomIds()
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings, data_dir, clock))
        sealed = await open_sealed(storage.driver, storage.keys, confidential_resources(KINDS).__contains__)
        revision_log = await stack.enter_async_context(open_log(sealed.driver, clock=clock))
        await stack.enter_async_context(background(("resealing", sealed.resealer.run)))
        access, fleet = Authorization(), Fleet()
        kinds = kinds_within(KINDS, function_limits_max(settings))
        verbs = Verbs(revision_log, kinds, clock, ids, Policies((access, fleet)))
        await verbs.bootstrap()
        await publish_definitions(revision_log, clock, ids)
        await stack.enter_async_context(verbs.definitions.running())
        await stack.enter_async_context(access.running(verbs))
        await stack.enter_async_context(fleet.running(verbs))
        client = Client(LocalTransport(verbs, manager="skerry"))
        keep = await stack.enter_async_context(open_keep(settings, data_dir, clock, ids))
        behind = await stack.enter_async_context(dispatching(client, verbs))
        yield Ground(revision_log, verbs, access, sealed.resealer, keep, client, storage.is_shared, fleet, behind)


@asynccontextmanager
async def api_server(
    settings: Settings, data_dir: DataDir, ground: Ground, address: Address, node: LocalNode | None = None
) -> AsyncIterator[str]:
    """Serve the API; yields its URL, with the administrator's kubeconfig written.

    Args:
        settings: of this process.
        data_dir: its data directory.
        ground: what all parts have in common.
        address: where to listen.
        node: that of this machine, where there is one.
    """
    clock, verbs, access = SystemClock(), ground.verbs, ground.access
    authority = open_authority(data_dir.pki, clock)
    identity = ServerIdentity(data_dir.pki, authority, [*LOCAL_NAMES, address.host, *settings.api_names], clock)
    administrator = open_administrator(data_dir.pki / "tokens.json", data_dir.kubeconfig)
    function_logs = FunctionLogs(data_dir.logs / "functions")
    reader = LocalFunctionLogs(function_logs, verbs, clock)
    audit = AuditLog(AuditSettings(data_dir.logs / "audit.log", reads=settings.audit_reads), clock)
    limits = InflightLimits(
        max_requests_inflight=settings.max_requests_inflight,
        max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
    )
    accounts = AccountTokens(verbs, open_signing_key(data_dir.service_account_key), clock, RandomIds())
    own = (
        NodeCertificates(verbs, clock),
        ClientCertificates(clock),
        administrator.tokens,
        StoredTokens(verbs, clock),
        accounts,
    )
    serving = ServeSettings(address.host, address.port, drain_seconds=drain_seconds(settings))
    try:
        async with AsyncExitStack() as stack:
            oidc = await stack.enter_async_context(oidc_authenticators(settings, clock))
            known: tuple[Authenticator, ...] = (*own, *oidc)
            trusted, artifacts = Trusted(authority, identity), ServedArtifacts(ground.keep)
            kept = Kept(data_dir.root / "install", artifacts, component_of(settings))
            about = JoiningSettings(
                fetch_settings(settings), settings.fleet_addresses, settings.root_namespace, ground.is_shared
            )
            devices = joining(verbs, ground.fleet, trusted, kept, about)
            joined = await stack.enter_async_context(devices)
            doors = front_doors(ground, reader, clock, Tokens(verbs, clock, accounts, known), joined)
            health = Health((DatabaseReadiness(ground.revision_log), *(node.checks if node else ())))
            app = App(doors, Guards(known, access, limits), health, clock, audit, node)
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


def front_doors(
    ground: Ground, reader: LogReader | None, clock: Clock, tokens: Tokens, joined: Joining
) -> tuple[Door, ...]:
    """Return every front door that there is."""
    artifacts = ServedArtifacts(ground.keep)
    return (
        KubeDoor(ground.verbs, KubeSettings(ground.access, clock, reader, tokens)),
        EncryptionDoor(ground.resealer, ground.access),
        ArtifactDoor(artifacts, ground.access),
        *fleet_doors(ground.verbs, ground.access, ground.fleet, joined),
        dispatch_door(ground.verbs, ground.access, artifacts, ground.dispatching),
    )


@asynccontextmanager
async def controllers(settings: Settings, builders: Builders, ground: Ground) -> AsyncIterator[KindCaches]:
    """Run every controller; yields the caches of every kind's metadata."""
    client, keep, kinds = ground.client, ground.keep, ground.verbs.kinds
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
    nodes = NodeReadinessController(client, informers, clock)
    rollouts = RolloutController(client, informers, ground.fleet.index, clock)
    plugins, secrets = informers.of(WasmPlugin), informers.of(Secret)
    collector = ArtifactCollector(keep, revisions, plugins, informers.of(Function), informers.of(Configuration))
    expirer = EventExpirer(client, informers.read_of(EVENT, dated_event), clock)
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
            nodes.running(),
            SystemApplications(client, informers).running(),
            ApplicationStarts(client, informers, clock).running(),
            ProductCounter(client, informers, clock).running(),
            FleetTraffic(client, informers, ground.fleet.index, clock).running(),
            rollouts.running(),
        )
        async with AsyncExitStack() as stack:
            for part in (
                *reconciling,
                informers.running(),
                background(("artifacts", collector.run), ("events", expirer.run)),
            ):
                await stack.enter_async_context(part)
            yield caches


@asynccontextmanager
async def duties(
    settings: Settings, data_dir: DataDir, ground: Ground, sockets: Path, *, api_port: int
) -> AsyncIterator[None]:
    """Do what one process does for all that share a log: run controllers, build code, run typed functions."""
    client = ground.client
    async with AsyncExitStack() as stack:
        builders = await stack.enter_async_context(code_builders(settings, data_dir))
        caches = await stack.enter_async_context(controllers(settings, builders, ground))
        local = local_driver(settings, data_dir, sockets, builders, api_port=api_port)
        driver = await stack.enter_async_context(deploying(settings, client, local))
        alone = not ground.is_shared
        dispatching_runs = dispatch_controllers(
            driver, client, ground.keep, caches, verbs=ground.verbs, behind=ground.dispatching, alone=alone
        )
        await stack.enter_async_context(dispatching_runs)
        events = event_drivers(client, ground.dispatching.events, data_dir.logs, drain_seconds(settings))
        await stack.enter_async_context(events)
        yield


def drain_seconds(settings: Settings) -> int:
    """Return how long servers let running requests take when they stop."""
    return max(1, round(settings.drain_seconds))
