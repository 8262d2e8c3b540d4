"""The front doors of fleets in process: real verbs on a log in memory, and nodes that show their certificates."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import NODE_NAME_LABEL, SYSTEM_LABEL
from skerry.api.model import ObjectMeta
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.runtime_package import Runtime
from skerry.client.client import Client
from skerry.controllers.baetyl_system_apps import CORE
from skerry.kit.clock import SystemClock
from skerry.main.joining import Joining, JoiningSettings, Kept, Trusted, fleet_doors, joining
from skerry.main.served_artifacts import ServedArtifacts
from skerry.server.app import App, Guards
from skerry.server.auth import ADMINISTRATORS, CLIENT_CERTIFICATE, StaticTokens, TokenRecord, User, digest_of
from skerry.server.authorization.authorization import Authorization
from skerry.server.baetyl.fleet import Fleet
from skerry.server.client_certificates import ClientCertificates, read_client_certificate
from skerry.server.health import Health
from skerry.server.local import LocalTransport
from skerry.server.node_certificates import NodeCertificates
from skerry.server.tls import Authority, ServerIdentity, open_authority
from skerry.server.verbs.admission import Policies
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.described import Described

ADDRESS = "https://fleet.example:6443"


@dataclass(frozen=True)
class FleetDoors:
    """The front doors.

    Attributes:
        http: asks as the administrator.
        device: asks as somebody without a credential.
        client: the same objects as kubectl sees them.
        authority: signs certificates.
        identity: what a server of these doors shows.
    """

    http: httpx.AsyncClient
    device: httpx.AsyncClient
    client: Client
    verbs: Verbs
    fleet: Fleet
    parts: Joining
    authority: Authority
    app: App
    identity: ServerIdentity

    def give_as_program(self, file: Path) -> None:
        """Have a file be the program of nodes: to pack the real one takes seconds."""
        packing = asyncio.get_running_loop().create_future()
        packing.set_result(Runtime(file, "0" * 64, "3.11", "x86_64"))
        self.parts.install._runtime._packing = packing  # noqa: SLF001 - nothing public replaces it

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Ask as the administrator, insist on the status, and return the answer's document."""
        return _document(await self.http.request(method, path, json=body), status)

    async def refused(self, method: str, path: str, body: Any = None, status: int = 400) -> str:
        """Do the same, and return the code and the message of the refusal."""
        document = await self.ask(method, path, body, status)
        return f"{document['code']}: {document['message']}"

    async def product(self, name: str = "factory", **more: Any) -> Any:
        """Make a product."""
        return await self.ask("POST", "/v1/register", {"name": name, "securityKey": "key", **more})

    def activation(self, fingerprint: str = "SN001", **more: Any) -> dict[str, Any]:
        """Return what a device shows to join."""
        shown = {"batchName": "factory", "namespace": "default", "securityType": "Token", "securityValue": "key"}
        return {**shown, "fingerprintValue": fingerprint, **more}

    async def joined(self, fingerprint: str = "SN001", **more: Any) -> "NodeClient":
        """Let a device join."""
        return self.node((await self.certificate(fingerprint, **more))["cert"])

    async def certificate(self, fingerprint: str = "SN001", **more: Any) -> Any:
        """Let a device join, and return its certificate and key."""
        answer = await self.device.post("/v1/active", json=self.activation(fingerprint, **more))
        return _document(answer, 200)["certificate"]

    def node(self, pem: str) -> "NodeClient":
        """Return a client that shows a certificate, as TLS hands it in."""
        shown = read_client_certificate(x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER))

        async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
            await self.app({**scope, "extensions": {CLIENT_CERTIFICATE: shown}}, receive, send)

        transport = httpx.ASGITransport(app=app)
        return NodeClient(httpx.AsyncClient(transport=transport, base_url=ADDRESS))

    async def system_application(self) -> Application:
        """Make the part of Baetyl that every node runs, as its controller does."""
        meta = ObjectMeta(name=CORE, namespace="default", labels={SYSTEM_LABEL: "true"})
        spec = ApplicationSpec(selector=NODE_NAME_LABEL, system=True)
        return await self.client.create(Application(metadata=meta, spec=spec))


@dataclass(frozen=True)
class NodeClient:
    """A node, as the control plane sees one."""

    http: httpx.AsyncClient

    async def report(self, body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Any:
        """Report, insist on the status, and return what is to change."""
        return _document(await self.http.post("/v1/sync/report", json=body, headers=headers), status)

    async def desire(self, *infos: dict[str, str], status: int = 200) -> Any:
        """Fetch resources, insist on the status, and return the answer."""
        return _document(await self.http.post("/v1/sync/desire", json={"infos": list(infos)}), status)


def _document(answer: httpx.Response, status: int) -> Any:
    if answer.status_code != status:
        raise AssertionError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text}")
    return answer.json()


def kept_in(directory: Path, keep: FolderKeep) -> Kept:
    """Return where what devices fetch is kept; there is no engine."""
    return Kept(directory / "install", ServedArtifacts(keep), directory / "engine.wasm")


@asynccontextmanager
async def open_fleet_doors(directory: Path) -> AsyncIterator[FleetDoors]:
    """Open the front doors of an empty fleet for the length of the block."""
    clock, fleet, access = SystemClock(), Fleet(), Authorization()
    authority = open_authority(directory / "pki", clock)
    trusted = Trusted(authority, ServerIdentity(directory / "pki", authority, (), clock))
    async with (
        open_verbs(policy=Policies((access, fleet))) as (verbs, _),
        fleet.running(verbs),
        access.running(verbs),
        FolderKeep(directory / "artifacts") as keep,
        joining(verbs, fleet, trusted, kept_in(directory, keep), JoiningSettings()) as parts,
    ):
        users = (User("root", groups=(ADMINISTRATORS,)), User("nobody"), User("system:serviceaccount:other:robot"))
        known = StaticTokens([TokenRecord(digest_of(user.name), user) for user in users])
        guards = Guards((NodeCertificates(verbs, clock), ClientCertificates(clock), known), access)
        app = App(fleet_doors(verbs, access, fleet, parts), guards, Health([]), clock)
        transport: Any = httpx.ASGITransport(app=app)
        headers = {"authorization": "Bearer root"}
        async with (
            httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as http,
            httpx.AsyncClient(transport=transport, base_url=ADDRESS) as device,
        ):
            described = Described((await http.get("/v1/fleet/openapi.json")).json())
            for client in (http, device):
                client.event_hooks["response"].append(described.checked)
            client_of_log = Client(LocalTransport(verbs, manager="test"))
            yield FleetDoors(http, device, client_of_log, verbs, fleet, parts, authority, app, trusted.identity)
