"""The link to the control plane: HTTP with certificates on both sides. Activation, reports, and what reports lead to.

Addresses are tried in order, from the one that answered last. Nothing is retried here: whoever calls does it again.
"""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from skerry.agent.member.errors import LinkError
from skerry.agent.member.settings import Identity, MemberSettings
from skerry.api.model import Document
from skerry.kit.files import write_private

REQUEST_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
#: An answer with some hundred applications and their configurations.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

REPORT_PATH, DESIRE_PATH, ACTIVE_PATH = "/v1/sync/report", "/v1/sync/desire", "/v1/active"


class CloudLink:
    """Sends this node's requests, as `cloud_link` yields it."""

    def __init__(self, clients: Sequence[httpx.AsyncClient]) -> None:
        self._clients = list(clients)

    async def report(self, report: Document) -> Document:
        """Tell what this node has and does; return what it has to change. Raises LinkError."""
        return await self._post(REPORT_PATH, report, kind="report")

    async def desire(self, wanted: Sequence[tuple[str, str, str]]) -> list[Document]:
        """Return resources, asked for by kind, name and version; raises LinkError, also where one is missing."""
        infos = [{"kind": kind, "name": name, "version": version} for kind, name, version in wanted]
        answer = await self._post(DESIRE_PATH, {"infos": infos}, kind="desire")
        values = answer.get("values")
        if not isinstance(values, list) or len(values) != len(infos):
            raise LinkError("the control plane did not answer with the resources that it was asked for")
        return [value.get("value") or {} for value in values]

    async def activate(self, proof: Document) -> Document:
        """Say which device this is, and return who it is from now on. Raises LinkError."""
        return await self._post(ACTIVE_PATH, proof, kind="")

    async def _post(self, path: str, content: Document, *, kind: str) -> Document:
        headers = {"Content-Type": "application/json"} | ({"kind": kind} if kind else {})
        body = orjson.dumps(content)
        failures: list[str] = []
        for client in tuple(self._clients):
            try:
                status, answer = await _answer(client, path, body, headers)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                failures.append(f"{client.base_url}: {error or type(error).__name__}")
                continue
            self._prefer(client)
            return _read(status, answer)
        raise LinkError("the control plane can't be reached", detail="; ".join(failures))

    def _prefer(self, client: httpx.AsyncClient) -> None:
        self._clients.remove(client)
        self._clients.insert(0, client)


async def _answer(client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    async with (
        asyncio.timeout(REQUEST_SECONDS_MAX),
        client.stream("POST", path, content=body, headers=headers) as response,
    ):
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise LinkError(f"the control plane's answer has more than {ANSWER_BYTES_MAX} bytes")
        return response.status_code, bytes(content)


def _read(status: int, content: bytes) -> Document:
    try:
        answer: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    if status != httpx.codes.OK:
        told = answer.get("message") if isinstance(answer, dict) else None
        raise LinkError(f"the control plane answered {status}: {told or 'no message'}")
    if answer is None:  # Baetyl answers so a node that decides by itself
        return {}
    if not isinstance(answer, dict):
        raise LinkError("the control plane's answer is no JSON object")
    return answer


@asynccontextmanager
async def cloud_link(settings: MemberSettings, identity: Identity | None) -> AsyncIterator[CloudLink]:
    """Reach a control plane for the length of the block: as somebody, or to be activated."""
    trust = ssl_context(settings, identity)
    timeout = httpx.Timeout(REQUEST_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
    clients = [
        httpx.AsyncClient(base_url=address, verify=trust, timeout=timeout, trust_env=False)
        for address in settings.addresses
    ]
    try:
        yield CloudLink(clients)
    finally:
        for client in clients:
            await client.aclose()


def ssl_context(settings: MemberSettings, identity: Identity | None) -> ssl.SSLContext:
    """Return whom this node trusts, and how it proves who it is. Raises LinkError for a certificate that can't be."""
    try:
        context = ssl.create_default_context(cadata=settings.ca)
        if identity is not None:
            with tempfile.TemporaryDirectory() as directory:  # Python reads a certificate from files alone
                certificate, key = Path(directory, "client.pem"), Path(directory, "client.key")
                write_private(certificate, identity.certificate.cert.encode())
                write_private(key, identity.certificate.key.encode())
                context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise LinkError(f"a certificate of this node can't be used: {error.reason or error}") from error
    return context
