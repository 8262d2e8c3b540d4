"""The link to the control plane: HTTP with certificates on both sides.

Activation, reports and what they lead to, certificates that are renewed; beside it, reports go over a WebSocket where
there is one (`socket_link`). Addresses are tried in order, from the one that answered last. Nothing is retried here:
whoever calls does it again.
"""

import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from skerry.agent.member.errors import LinkError, RefusedError
from skerry.agent.member.settings import Identity, MemberSettings
from skerry.api.model import Document
from skerry.client.answers import read_refusal
from skerry.fleet.frames import REPORT_SECONDS
from skerry.kit.deadlines import within
from skerry.kit.files import write_private

REQUEST_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
#: An answer with some hundred applications and their configurations.
ANSWER_BYTES_MAX = 64 * 1024 * 1024

#: What of a refusal is told, in characters.
_TOLD_MAX = 1000

SYNC_PATH, ACTIVE_PATH = "/v1/sync", "/v1/active"
REPORT_PATH, DESIRE_PATH, CERTIFICATE_PATH = f"{SYNC_PATH}/report", f"{SYNC_PATH}/desire", f"{SYNC_PATH}/certificate"


@dataclass(frozen=True, slots=True)
class Told:
    """What a control plane tells a node.

    Attributes:
        changes: what of its desire is to be another.
        report_seconds: how often it is to report; "" where the control plane does not say.
    """

    changes: Document
    report_seconds: str = ""


class CloudLink:
    """Sends this node's requests, as `cloud_link` yields it."""

    def __init__(self, addresses: Sequence[str], trust: ssl.SSLContext) -> None:
        self._addresses = tuple(addresses)
        self._trust = trust
        self._clients = self._make()

    def _make(self) -> list[httpx.AsyncClient]:
        timeout = httpx.Timeout(REQUEST_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        return [
            httpx.AsyncClient(base_url=address, verify=self._trust, timeout=timeout, trust_env=False)
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()

    async def report(self, report: Document) -> Told:
        """Tell what this node has and does; return what it is told. Raises LinkError."""
        answer, headers = await self._post(REPORT_PATH, report, kind="report")
        return Told(answer, headers.get(REPORT_SECONDS, ""))

    async def desire(self, wanted: Sequence[tuple[str, str, str]]) -> list[Document]:
        """Return resources, asked for by kind, name and version; raises LinkError, also where one is missing."""
        infos = [{"kind": kind, "name": name, "version": version} for kind, name, version in wanted]
        answer, _ = await self._post(DESIRE_PATH, {"infos": infos}, kind="desire")
        values = answer.get("values")
        if not isinstance(values, list) or len(values) != len(infos):
            raise LinkError("the control plane did not answer with the resources that it was asked for")
        return [value.get("value") or {} for value in values]

    async def activate(self, proof: Document) -> Document:
        """Say which device this is, and return who it is from now on. Raises LinkError."""
        return (await self._post(ACTIVE_PATH, proof, kind=""))[0]

    async def renewed_certificate(self) -> Document:
        """Return another certificate for this node, as activation gives one. Raises LinkError."""
        return (await self._post(CERTIFICATE_PATH, {}, kind=""))[0]

    async def renew(self) -> None:
        """Show what this node shows from now on: with connections that are new."""
        before, self._clients = self._clients, self._make()
        for client in before:
            await client.aclose()

    @asynccontextmanager
    async def opened(
        self, method: str, path: str, content: Document | None = None, *, silence_seconds_max: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an answer that goes on, at the first address that answers; yields its bytes, a few at a time.

        Raises:
            RefusedError: the control plane answered, and not with what was asked for.
            LinkError: it can't be reached, or goes silent; also while it is read.
        """
        failures: list[str] = []
        timeout = httpx.Timeout(REQUEST_SECONDS_MAX, connect=CONNECT_SECONDS_MAX, read=silence_seconds_max)
        body = None if content is None else orjson.dumps(content)
        for client in tuple(self._clients):
            request = client.build_request(method, path, content=body, timeout=timeout)
            try:
                response = await client.send(request, stream=True)
            except (httpx.HTTPError, OSError) as error:
                failures.append(f"{client.base_url}: {error or type(error).__name__}")
                continue
            self._prefer(client)
            async with aclosing(_read_on(response)) as pieces:
                yield pieces
            return
        raise LinkError("the control plane can't be reached", detail="; ".join(failures))

    async def _post(self, path: str, content: Document, *, kind: str) -> tuple[Document, httpx.Headers]:
        """Send JSON to the first address that takes it; return the answer, and its headers."""
        headers = {"Content-Type": "application/json"} | ({"kind": kind} if kind else {})
        body = orjson.dumps(content)
        failures: list[str] = []
        for client in tuple(self._clients):
            try:
                response, answer = await _answer(client, path, body, headers)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                failures.append(f"{client.base_url}: {error or type(error).__name__}")
                continue
            self._prefer(client)
            return _read(response.status_code, answer), response.headers
        raise LinkError("the control plane can't be reached", detail="; ".join(failures))

    def _prefer(self, client: httpx.AsyncClient) -> None:
        if client in self._clients:  # else they are other ones by now
            self._clients.remove(client)
            self._clients.insert(0, client)


async def _answer(
    client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str]
) -> tuple[httpx.Response, bytes]:
    with within(REQUEST_SECONDS_MAX):
        async with client.stream("POST", path, content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                return response, await read_refusal(response)
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise LinkError(f"the control plane's answer has more than {ANSWER_BYTES_MAX} bytes")
            return response, bytes(content)


async def _read_on(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        if response.status_code != httpx.codes.OK:
            told = (await read_refusal(response)).decode(errors="replace")
            raise RefusedError(f"the control plane answered {response.status_code}: {told[:_TOLD_MAX]}")
        async for piece in response.aiter_bytes():
            yield piece
    except (httpx.HTTPError, OSError) as error:
        raise LinkError(f"the answer broke off: {error or type(error).__name__}") from error
    finally:
        await response.aclose()


def _read(status: int, content: bytes) -> Document:
    try:
        answer: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    if status != httpx.codes.OK:
        told = answer.get("message") if isinstance(answer, dict) else None
        raise LinkError(f"the control plane answered {status}: {str(told or 'no message')[:_TOLD_MAX]}")
    if answer is None:  # Baetyl answers so a node that decides by itself
        return {}
    if not isinstance(answer, dict):
        raise LinkError("the control plane's answer is no JSON object")
    return answer


@asynccontextmanager
async def cloud_link(addresses: Sequence[str], trust: ssl.SSLContext) -> AsyncIterator[CloudLink]:
    """Reach a control plane for the length of the block: as somebody, or to be activated."""
    link = CloudLink(addresses, trust)
    try:
        yield link
    finally:
        await link.close()


def ssl_context(settings: MemberSettings, identity: Identity | None) -> ssl.SSLContext:
    """Return whom this node trusts, and how it proves who it is. Raises LinkError for a certificate that can't be."""
    try:
        context = ssl.create_default_context(cadata=settings.ca)
    except ssl.SSLError as error:
        raise LinkError(f"the authority of the control plane can't be used: {error.reason or error}") from error
    if identity is not None:
        show(context, identity)
    return context


def show(context: ssl.SSLContext, identity: Identity) -> None:
    """Have a context prove who this node is, in every connection from now on; raises LinkError."""
    try:
        with tempfile.TemporaryDirectory() as directory:  # Python reads a certificate from files alone
            certificate, key = Path(directory, "client.pem"), Path(directory, "client.key")
            write_private(certificate, identity.certificate.cert.encode())
            write_private(key, identity.certificate.key.encode())
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise LinkError(f"a certificate of this node can't be used: {error.reason or error}") from error
