"""A whole API server for tests: real TLS, real HTTP, a log in memory (or the one handed in)."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry.api.kinds import Kind
from skerry.api.registry import KINDS
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.access import Access
from skerry.server.app import App, Guards
from skerry.server.audit import AuditLog
from skerry.server.auth import Authenticator, StaticTokens, TokenRecord
from skerry.server.authorization.authorization import Authorization
from skerry.server.client_certificates import ClientCertificates
from skerry.server.credentials import open_administrator, write_kubeconfig
from skerry.server.health import Health, ReadinessCheck
from skerry.server.http import Door
from skerry.server.inflight import InflightLimits
from skerry.server.kube.built_in_definitions import publish_definitions
from skerry.server.kube.door import KubeDoor, KubeSettings
from skerry.server.kube.logs import LogReader
from skerry.server.kube.tokens import Tokens
from skerry.server.serve import ServeSettings, ServingAt, serve
from skerry.server.service_accounts import AccountTokens, open_signing_key
from skerry.server.tls import ServerIdentity, open_authority
from skerry.server.tokens import StoredTokens
from skerry.server.verbs.admission import Policies, Policy
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import RevisionLog, open_log
from skerry.store.memory import open_memory


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running API server.

    Attributes:
        at: where it is reached.
        kubeconfig: opens it as the administrator.
        token: the administrator's.
        authority: the path of the certificate to trust.
        verbs: the same objects, without a wire between.
        log: what holds them.
        app: the ASGI application.
    """

    at: ServingAt
    kubeconfig: Path
    token: str
    authority: Path
    verbs: Verbs
    log: RevisionLog
    app: App


@dataclass(frozen=True, slots=True)
class ApiServerParts:
    """What a test wants to be different.

    Attributes:
        kinds: what is served.
        log: holds the objects; None for a new one in memory.
        log_reader: keeps the lines of `log` subresources.
        checks: must be ready for `/readyz`.
        serving: how it listens.
        tokens: of users besides the administrator.
        authenticators: more ways to tell who asks.
        limits: how much may be in flight.
        audit: records what is done; None for nobody.
        doors: make front doors beside Kubernetes'.
        policy: of the verbs, besides that of roles; None for no other.
    """

    kinds: Sequence[Kind[Any]] = KINDS
    log: RevisionLog | None = None
    log_reader: LogReader | None = None
    checks: Sequence[ReadinessCheck] = ()
    serving: ServeSettings = field(default_factory=lambda: ServeSettings(port=0))
    tokens: Sequence[TokenRecord] = ()
    authenticators: Sequence[Authenticator] = ()
    limits: InflightLimits = field(default_factory=InflightLimits)
    audit: AuditLog | None = None
    doors: Sequence[Callable[[Verbs, Access], Door]] = ()
    policy: Policy | None = None


@asynccontextmanager
async def open_verbs(
    kinds: Sequence[Kind[Any]] = KINDS, policy: Policy | None = None
) -> AsyncIterator[tuple[Verbs, RevisionLog]]:
    """Open the verbs over an empty log in memory, with the system namespaces in place."""
    async with open_memory() as driver, open_log(driver) as log:
        verbs = Verbs(log, kinds, SystemClock(), RandomIds(), policy)
        await verbs.bootstrap()
        async with verbs.definitions.running():
            yield verbs, log


def make_app(verbs: Verbs, guards: Guards, parts: ApiServerParts, tokens: Tokens | None = None) -> App:
    """Put the application together as the composition root does."""
    clock = SystemClock()
    kube = KubeDoor(verbs, KubeSettings(guards.access, clock, parts.log_reader, tokens))
    doors = (kube, *(make(verbs, guards.access) for make in parts.doors))
    return App(doors, guards, Health(parts.checks), clock, parts.audit)


def _policy(authorization: Authorization, other: Policy | None) -> Policy:
    return authorization if other is None else Policies((authorization, other))


@asynccontextmanager
async def run_api_server(directory: Path, parts: ApiServerParts | None = None) -> AsyncIterator[ApiServer]:
    """Run an API server with its files in `directory` for the length of the block."""
    parts = parts or ApiServerParts()
    clock, kubeconfig = SystemClock(), directory / "kubeconfig"
    async with AsyncExitStack() as stack:
        log = parts.log
        if log is None:
            driver = await stack.enter_async_context(open_memory())
            log = await stack.enter_async_context(open_log(driver))
        authorization = Authorization()
        verbs = Verbs(log, parts.kinds, clock, RandomIds(), _policy(authorization, parts.policy))
        await verbs.bootstrap()
        await publish_definitions(log, clock, RandomIds())
        await stack.enter_async_context(verbs.definitions.running())
        await stack.enter_async_context(authorization.running(verbs))
        authority = open_authority(directory / "pki", clock)
        identity = ServerIdentity(directory / "pki", authority, (), clock)
        administrator = open_administrator(directory / "pki" / "tokens.json", kubeconfig)
        accounts = AccountTokens(verbs, open_signing_key(directory / "pki" / "sa.key"), clock, RandomIds())
        known: tuple[Authenticator, ...] = (
            ClientCertificates(clock),
            administrator.tokens,
            StaticTokens(parts.tokens),
            StoredTokens(verbs, clock),
            accounts,
            *parts.authenticators,
        )
        tokens = Tokens(verbs, clock, accounts, known)
        app = make_app(verbs, Guards(known, authorization, parts.limits), parts, tokens)
        at = await stack.enter_async_context(serve(app, parts.serving, identity))
        write_kubeconfig(kubeconfig, url=at.url, authority_pem=authority.pem, token=administrator.token)
        yield ApiServer(at, kubeconfig, administrator.token, directory / "pki" / "ca.crt", verbs, log, app)
