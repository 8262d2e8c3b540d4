"""Serves an ASGI application on one port of this machine, with uvicorn."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from skerry.kit.errors import StartError
from skerry.kit.tasks import background


@asynccontextmanager
async def listening(app: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve for the length of the block; yields the URL. Port 0: any that is free.

    Raises:
        StartError: the port can't be had.
    """
    listener = _bound(host, port)
    config = uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False
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
    """Read a request's body; None for one over the limit."""
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if len(content) > bytes_max:
            return None
        if not message.get("more_body"):
            return bytes(content)
