"""Bounded requests over HTTP: size, time, redirects, retries.

Owns what every download has in common. Does not own what an answer means: any status below 500 is the caller's.

Invariant: no answer is cut silently. A body over its limit, or shorter than its Content-Length, is an error.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urljoin, urlsplit

import httpx

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.egress import GuardedTransport, tls_failure
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.kit.backoff import Backoff
from skerry.kit.tasks import run_blocking
from skerry.kit.tls import no_trust, system_trust

USER_AGENT = "skerry"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Statuses of 500 and above that another attempt does not change (as Istio has it).
_LASTING = frozenset({501, 505, 511})
_TOO_MANY_REQUESTS = 429
#: What a server sends in pieces is taken together to this size: the smallest pieces cost more than their bytes.
_CHUNK_BYTES = 256 * 1024
_GREETING_BYTES_MAX = 64 * 1024
#: Threads that write bodies to files.
WRITERS_MAX = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        url: where to; credentials are never in it.
        bytes_max: limit of the body of the answer.
        headers: of the request. Authorization goes to no other origin.
        form: sent as a POST where given, and to no other origin: it may hold credentials.
        content: likewise, as it is.
        into: an empty file that takes the body; without one the answer holds it, in memory.
        insecure: whether to accept any certificate, and redirects from https to http.
    """

    url: str
    bytes_max: int
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    content: bytes | None = None
    into: BinaryIO | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; its status is below 500.

    Attributes:
        status: of HTTP.
        headers: of HTTP.
        body: as it was sent; empty where a file took it.
        sha256: of the body, 64 hexadecimal digits: taken as it came, because at once it would hold up the event loop.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    sha256: str


class HttpClient:
    """Makes requests; use it as an async context manager.

    Raises:
        FetchError: no usable answer came, after every attempt that the settings allow.
    """

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._executor = ThreadPoolExecutor(max_workers=WRITERS_MAX, thread_name_prefix="download-files")
        self._secure = self._client(system_trust(settings.ca_file))
        self._insecure = self._client(_no_check())

    async def __aenter__(self) -> Self:
        for client in (self._secure, self._insecure):
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._executor.shutdown(wait=True)

    async def send(self, request: Request) -> Answer:
        """Make a request, again where a failure may pass, and return its answer."""
        backoff = Backoff(first_seconds=self._settings.retry_first_seconds)
        for attempt in range(1, self._settings.attempts_max + 1):
            last = attempt == self._settings.attempts_max
            try:
                answer = await self._follow(request)
            except httpx.TransportError as error:
                if last or tls_failure(error):
                    raise _failed(request.url, error) from error
            else:
                if not _may_pass(answer.status):
                    return answer
                if last:
                    raise FetchError("DownloadFailed", f"{_place(request.url)} answered {answer.status}")
            await asyncio.sleep(backoff.next_seconds())
        raise AssertionError("the last attempt returns or raises")

    async def speaks_tls(self, url: str, *, insecure: bool) -> bool:
        """Tell whether there is a TLS server at a URL of https; raises FetchError where its certificate is wrong."""
        try:
            await self._once(Request(url, _GREETING_BYTES_MAX, insecure=insecure), url, {})
        except httpx.ConnectError as error:
            if isinstance(tls_failure(error), ssl.SSLCertVerificationError):
                raise _failed(url, error) from error
            return False
        except httpx.TransportError:
            return True  # it took the connection; what is wrong with it, the request will tell
        return True

    async def _follow(self, request: Request) -> Answer:
        url, headers = request.url, dict(request.headers)
        for _ in range(self._settings.redirects_max + 1):
            answer = await self._once(request, url, headers)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            url, before = urljoin(url, answer.headers["location"]), url
            _require_sound_redirect(before, url, insecure=request.insecure)
            if _origin(url) != _origin(before):
                _require_no_secret(request, before)
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise FetchError(
            "DownloadFailed", f"{_place(request.url)} redirects more than {self._settings.redirects_max} times"
        )

    async def _once(self, request: Request, url: str, headers: Mapping[str, str]) -> Answer:
        client = self._insecure if request.insecure else self._secure
        method = "GET" if request.form is None and request.content is None else "POST"
        try:
            async with client.stream(
                method, url, headers=headers, data=request.form, content=request.content
            ) as response:
                return await self._read(response, request, url)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise FetchError("DownloadFailed", f"{_place(url)} is no URL that can be fetched: {error}") from error

    async def _read(self, response: httpx.Response, request: Request, url: str) -> Answer:
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > request.bytes_max:
            raise _too_large(url, request.bytes_max)
        chunks, body_bytes, sha256 = list[bytes](), 0, hashlib.sha256()
        file = request.into
        if file is not None:  # what an attempt before this one has left there is not of this answer
            await run_blocking(self._executor, partial(_clear, file))
        async for chunk in response.aiter_raw(_CHUNK_BYTES):  # as sent: a Content-Encoding is a box like any other
            body_bytes += len(chunk)
            sha256.update(chunk)
            if body_bytes > request.bytes_max:
                raise _too_large(url, request.bytes_max)
            if file is None:
                chunks.append(chunk)
            else:
                await run_blocking(self._executor, partial(file.write, chunk))
        return Answer(response.status_code, response.headers, b"".join(chunks), sha256.hexdigest())

    def _client(self, trust: ssl.SSLContext) -> httpx.AsyncClient:
        settings = self._settings
        return httpx.AsyncClient(
            transport=GuardedTransport(settings, trust),
            timeout=httpx.Timeout(
                settings.idle_seconds_max, connect=settings.connect_seconds_max, pool=settings.fetch_seconds_max
            ),
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )


def _clear(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _no_check() -> ssl.SSLContext:
    """Accept any certificate: for hosts that an operator listed as insecure."""
    context = no_trust()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _may_pass(status: int) -> bool:
    return (status >= 500 and status not in _LASTING) or status == _TOO_MANY_REQUESTS


def _require_sound_redirect(before: str, after: str, *, insecure: bool) -> None:
    scheme = urlsplit(after).scheme
    if scheme not in {"http", "https"}:
        raise FetchError("DownloadFailed", f"{_place(before)} redirects to the scheme {scheme}, which is not followed")
    if urlsplit(before).scheme == "https" and scheme == "http" and not insecure:
        raise FetchError("DownloadFailed", f"{_place(before)} redirects from https to http, which is not followed")


def _require_no_secret(request: Request, before: str) -> None:
    """Refuse to send a form elsewhere: forms are what tokens are asked for with."""
    if request.form is not None:
        raise FetchError("DownloadFailed", f"{_place(before)} redirects a form to another server: it is not sent there")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _place(url: str) -> str:
    """Name a URL in a message: without its query, where signed links carry their credentials."""
    parts = urlsplit(url)
    return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


def _too_large(url: str, bytes_max: int) -> FetchError:
    return FetchError("TooLarge", f"{_place(url)} is larger than the limit of {bytes_max} bytes")


def _failed(url: str, error: httpx.TransportError) -> FetchError:
    what = "took too long" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return FetchError(
        "TimedOut" if isinstance(error, httpx.TimeoutException) else "DownloadFailed",
        f"{_place(url)} can't be fetched: {what}",
    )
