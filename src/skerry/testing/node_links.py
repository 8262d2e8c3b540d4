"""Nodes with a WebSocket link to a server that listens, frame by frame."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from skerry.agent.member.settings import Certificate, Identity, MemberSettings
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import NodeReport
from skerry.api.errors import NotFound
from skerry.api.model import ObjectMeta
from skerry.kit.deadlines import within
from skerry.server.serve import ServeSettings, ServingAt, serve
from skerry.testing.fleet import FleetDoors, open_fleet_doors
from skerry.testing.member_node import NO_ENGINE

#: How long a frame may take to come on a busy machine.
SECONDS_MAX = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class NodeLink:
    """An open link, as its node sees it."""

    connection: ClientConnection

    async def send(self, kind: str, content: Any = None, **meta: str) -> None:
        """Send a frame."""
        await self.connection.send(orjson.dumps({"kind": kind, "meta": meta, "content": content}).decode())

    async def receive(self) -> Any:
        """Return the next frame."""
        with within(SECONDS_MAX):
            return orjson.loads(await self.connection.recv())

    async def ask(self, kind: str, content: Any = None, **meta: str) -> Any:
        """Send a frame, and return the next that comes."""
        await self.send(kind, content, **meta)
        return await self.receive()

    async def closed(self) -> tuple[int, str]:
        """Wait until the server ends the link; return its code and reason."""
        with within(SECONDS_MAX):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


def node_trust(authority_pem: str, certificate: Any) -> ssl.SSLContext:
    """Return the TLS of a node that trusts an authority and shows a certificate; None for one without."""
    context = ssl.create_default_context(cadata=authority_pem)
    if certificate is not None:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cert", "key"):
                Path(folder, name).write_text(certificate[name])
            context.load_cert_chain(Path(folder, "cert"), Path(folder, "key"))
    return context


@asynccontextmanager
async def linked(at: ServingAt, trust: ssl.SSLContext, path: str = "/v1/sync") -> AsyncIterator[NodeLink]:
    """Open a link for the length of the block; raises websockets' InvalidStatus where it is refused."""
    uri = f"wss://{at.host}:{at.port}{path}"
    async with connect(uri, ssl=trust, proxy=None, open_timeout=SECONDS_MAX, max_size=None) as connection:
        yield NodeLink(connection)


@dataclass(frozen=True)
class ServedFleet:
    """Front doors of a fleet that listen, and a node that joined: sn001, with the label site=lyon.

    Attributes:
        certificate: the node's, with its key.
        trust: of the node.
    """

    doors: FleetDoors
    at: ServingAt
    certificate: Any
    trust: ssl.SSLContext

    @property
    def trust_of_people(self) -> ssl.SSLContext:
        """The TLS of somebody who trusts the authority, and shows a token."""
        return node_trust(self.doors.authority.pem.decode(), None)

    def link(self) -> AbstractAsyncContextManager[NodeLink]:
        """Open a link of the node."""
        return linked(self.at, self.trust)

    def node_settings(self, home: Path) -> MemberSettings:
        """Return how an agent that is the node runs on a folder, which is made."""
        home.mkdir()
        return MemberSettings(
            addresses=[self.at.url],
            ca=self.doors.authority.pem.decode(),
            data_dir=home,
            container_host=NO_ENGINE,
            functions_address="127.0.0.1:0",
            program_users=None,
            node=Identity(namespace="default", name="sn001", certificate=Certificate.model_validate(self.certificate)),
        )

    async def sleeper(self) -> Application:
        """Make an application that says hello on the node, and sleeps."""
        services = [{"name": "main", "command": ["sh", "-c", "echo hello; exec sleep 1000"]}]
        given = {"selector": "site=lyon", "mode": "native", "services": services}
        spec = ApplicationSpec.model_validate(given, by_alias=True)
        meta = ObjectMeta(name="sleeper", namespace="default")
        return await self.doors.client.create(Application(metadata=meta, spec=spec))

    async def reported(self, holds: Callable[[Any], bool]) -> Any:
        """Wait until the node has reported so, and return the report."""
        with within(SECONDS_MAX):
            while True:
                try:
                    report = (await self.doors.client.get(NodeReport, "sn001", namespace="default")).report
                    if holds(report):
                        return report
                except NotFound:
                    pass  # it has not reported yet
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def served_fleet(directory: Path) -> AsyncIterator[ServedFleet]:
    """Serve the front doors of a fleet over TLS for the length of the block."""
    async with open_fleet_doors(directory) as doors, serve(doors.app, ServeSettings(port=0), doors.identity) as at:
        await doors.product(enableWhitelist=0, labels={"site": "lyon"})
        await doors.system_application()
        certificate = await doors.certificate()
        yield ServedFleet(doors, at, certificate, node_trust(doors.authority.pem.decode(), certificate))
