"""Serves an ASGI application on one port of this machine, with uvicorn; and what such applications share."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from skerry.kit.deadlines import within
from skerry.kit.errors import StartError
from skerry.kit.tasks import background


class ClientGone(Exception):
    """Who asked has gone; an application may raise it, since nobody waits for an answer."""


@asynccontextmanager
async def listening(app: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve for the length of the block; yields the URL. Port 0: any that is free.

    Raises:
        StartError: the port can't be had.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(ClientGone):
            await app(scope, receive, send)

    listener = _bound(host, port)
    config = uvicorn.Config(
        answer, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False
    )
    server = _Server(config)
    stopped = asyncio.Event()

    async def run() -> None:
        try:
            await server.serve(sockets=[listener])
        finally:
            stopped.set()

    async with background(("listening", run)):
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = server.force_exit = True
            await stopped.wait()


class _Server(uvicorn.Server):
    """uvicorn's server, less its signal handlers: the process' owner has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise StartError(
            f"can't listen on {host}:{port}: {error.strerror}; another port may be free (0: any)"
        ) from error
    listener.setblocking(False)
    return listener


async def read_body(receive: Any, bytes_max: int) -> bytes | None:
    """Read a request's body; None for one over the limit. Raises ClientGone where it ends early."""
    content = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        content += message.get("body", b"")
        if len(content) > bytes_max:
            return None
        if not message.get("more_body"):
            return bytes(content)


async def send_body(pieces: AsyncIterator[bytes], receive: Any, send: Any) -> None:
    """Send an answer's body as it comes. Raises ClientGone where nobody takes it any more, and what `pieces` raises."""
    limit = within(None)

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        limit.expire()

    try:
        with limit:
            async with background(("client", watch)):
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body"})
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ClientGone from error
