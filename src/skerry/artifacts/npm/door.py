"""The one door through which npm reaches the network while it resolves: to the configured registry, by our client.

npm is told that this door is its registry, and its proxy for everything else. So it gets no token, its requests keep to
our rules of addresses, sizes and times, and what a package.json (or one of a package) asks of another host is refused.

Owns a listening socket on loopback, whose path nobody can guess. Speaks as much HTTP/1.1 as npm needs: one GET a
connection.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from skerry.artifacts.errors import FetchError
from skerry.artifacts.npm.registry import RegistryClient
from skerry.kit.deadlines import within

_HEAD_BYTES_MAX = 16 * 1024
#: How long npm may take to say what it wants, in seconds.
_HEAD_SECONDS_MAX = 10.0
#: Kept of what is missing and refused; what is told of them is shorter.
_KEPT_MAX = 1_000


class RegistryDoor:
    """What npm asks, answered.

    Attributes:
        missing: packages that the registry does not have, as they were asked for.
        refused: hosts that were asked for besides it.
        failure: why the registry could not be asked, the last time that it could not.
    """

    def __init__(self, registry: RegistryClient) -> None:
        self._registry = registry
        self._key = secrets.token_urlsafe(24)
        self._port = 0
        self.missing: list[str] = []
        self.refused: list[str] = []
        self.failure: FetchError | None = None

    @property
    def url(self) -> str:
        """What npm is to take for its registry."""
        return f"{self.proxy_url}/{self._key}/"

    @property
    def proxy_url(self) -> str:
        """What npm is to take for its proxy."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["RegistryDoor"]:
        """Answer for the length of the block."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with within(_HEAD_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.decode("latin-1").split(" ", 2)
            status, body = await self._asked(method, target)
            writer.write(
                f"HTTP/1.1 {status} npm\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()
        except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError):
            pass  # npm has gone, or this is not npm: it gets no answer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _asked(self, method: str, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        inside = f"/{self._key}/"
        if method != "GET" or not parts.path.startswith(inside) or parts.netloc not in {"", f"127.0.0.1:{self._port}"}:
            host = parts.netloc or target
            if len(self.refused) < _KEPT_MAX:
                self.refused.append(host[:200])
            return 403, b"{}"
        path = parts.path.removeprefix(inside)
        try:
            answer = await self._registry.metadata(path)
        except FetchError as error:
            self.failure = error
            return 503, b"{}"
        if answer.status in {404, 410}:
            if len(self.missing) < _KEPT_MAX:
                self.missing.append(path.replace("%2f", "/").replace("%2F", "/")[:300])
        elif answer.status != 200:
            self.failure = FetchError("Unauthorized", f"the npm registry answered {answer.status}")
        return answer.status, answer.body
