"""An HTTP server that does what a test tells it to: answer, hang, cut off, lie about its length, never end.

async with scripted_server({"/a.wasm": [reply(500), reply(200, module)]}) as server:
    ...
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from skerry.kit.ending import ended

#: The first byte of a TLS connection.
_TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str = ""


Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer, in whatever way; the connection is closed behind it."""


@dataclass
class ScriptedServer:
    """A running server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        scripts: by path without query: what to do for the first request, the second, ...; the last again for more.
        seen: the requests so far.
        asked: is set at the first request.
    """

    port: int = 0
    scripts: dict[str, Sequence[Script]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [request.path for request in self.seen]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and run its script."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        try:
            request = await _read(reader)
            self.seen.append(request)
            self.asked.set()
            path = request.path.partition("?")[0]
            scripts = self.scripts.get(path, [reply(404)])
            turn = self.served.get(path, 0)
            self.served[path] = turn + 1
            await scripts[min(turn, len(scripts) - 1)](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            return  # the client gave up, or speaks TLS
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is: until the client has read it all, or the server ends."""
    writer.close()
    try:
        with suppress(OSError):
            await writer.wait_closed()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


@asynccontextmanager
async def scripted_server(
    scripts: Mapping[str, Sequence[Script]] | None = None, *, tls: SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve scripts for the length of the block."""
    scripted = ScriptedServer(scripts=dict(scripts or {}))
    server = await asyncio.start_server(scripted.handle, "127.0.0.1", 0, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        await ended(list(scripted.serving))


def reply(status: int, body: bytes = b"", **headers: str) -> Script:
    """Answer; underscores in names of headers stand for dashes."""
    return reply_in_full(status, body, content_length=str(len(body)), **headers)


def reply_in_full(status: int, body: bytes, **headers: str) -> Script:
    """Answer with these headers alone, be they true or not."""

    async def write(writer: asyncio.StreamWriter) -> None:
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        writer.write(f"HTTP/1.1 {status} x\r\nconnection: close\r\n{''.join(lines)}\r\n".encode() + body)

    return write


def hang() -> Script:
    """Say nothing until the client goes."""

    async def write(_: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return write


def reset() -> Script:
    """Cut the connection off."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    return write


def endless(status: int = 200) -> Script:
    """Send a body that never ends."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} x\r\nconnection: close\r\n\r\n".encode())
        while True:
            writer.write(b"\0" * 65536)
            await writer.drain()

    return write


async def _read(reader: asyncio.StreamReader) -> Seen:
    start = await reader.readexactly(1)
    if start == _TLS_HANDSHAKE:
        raise ValueError("the client speaks TLS")
    head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body.decode())
