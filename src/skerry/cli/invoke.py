"""`skerry invoke`: one request to a function, through the gateway."""

import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated

import httpx
import typer

from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.gateway_v1 import GATEWAY
from skerry.api.model import Document
from skerry.cli.connection import Access, connected
from skerry.cli.printing import out
from skerry.cli.reading import read_bytes
from skerry.cli.run_notes import seconds
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

#: The Gateway that gives functions addresses of their own.
_GATEWAY = Target(GATEWAY, "default", "default")
#: Of --data @FILE.
DATA_BYTES_MAX = 100 * 1024 * 1024
_ANYWHERE = frozenset(("0.0.0.0", "::"))  # noqa: S104 - nothing listens here: these are told apart


def invoke(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Name of an EdgeFunction.")],
    method: Annotated[str | None, typer.Option("--method", "-X", help="Default: GET; POST with --data.")] = None,
    path: Annotated[str, typer.Option(help="Path and query.")] = "/",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'")] = None,
    data: Annotated[str | None, typer.Option(metavar="TEXT|@FILE|@-", help="The request's body.")] = None,
    include: Annotated[bool, typer.Option("--include", "-i", help="Print status and headers, too.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for the answer.")] = "60s",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Send a request to a function, through the gateway, and print its answer.

    Exit code 0: it answered with a status below 400. 4: with 400 to 499. 5: with 500 or more. 1: it could not be asked.
    """
    if not path.startswith("/"):
        raise ConfigurationError(f"--path: {path!r} must begin with /")
    content = _content(data)
    method = (method or ("GET" if content is None else "POST")).upper()
    if not (method.isascii() and method.isalpha()):
        raise ConfigurationError(f"--method: {method!r} is none of HTTP's")
    try:
        request = httpx.Request(method, "http://gateway" + path, content=content)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"--path: {path!r}: {error}") from error
    for text in header or ():
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError(f"--header: {text!r} must be 'NAME: VALUE'")
        request.headers[name.strip()] = value.strip()
    print_answer = partial(_print, include=include)
    status = run(_ask(access_of(kubeconfig, data_dir), function, request, seconds(timeout), print_answer))
    raise typer.Exit(status // 100 if status >= 400 else 0)


async def _print(answer: httpx.Response, *, include: bool) -> None:
    """Print an answer as it comes, however much it is."""
    if include:
        out.print(f"{answer.http_version} {answer.status_code} {answer.reason_phrase}")
        for name, value in answer.headers.multi_items():
            out.print(f"{name}: {value}")
        out.print()
    sys.stdout.flush()
    async for piece in answer.aiter_bytes():
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


async def _ask(
    access: Access,
    function: str,
    request: httpx.Request,
    timeout_seconds: float,
    take: Callable[[httpx.Response], Awaitable[None]],
) -> int:
    """Send a request to a function, let its answer be taken, and return the answer's status."""
    async with connected(access) as http:
        transport = HttpTransport(http)
        require_live(await transport.get(Target(EDGE_FUNCTION, name=function)))
        gateway = await transport.get(_GATEWAY)
    host, port = _listener(gateway, httpx.URL(access.server).host)
    request.url = request.url.copy_with(host=host, port=port)
    request.headers["host"] = f"{function}.functions.localhost:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=timeout_seconds) as client:
            answer = await client.send(request, stream=True)
            async with aclosing(answer):
                await take(answer)
                return answer.status_code
    except httpx.TimeoutException as error:
        raise SkerryError(f"the gateway did not answer within {timeout_seconds:g}s") from error
    except httpx.HTTPError as error:
        raise SkerryError(f"the gateway at {host}:{port} can't be reached: {error}") from error


def require_live(function: Document) -> None:
    """Raise SkerryError, with the function's own reason, where the gateway has no revision to send requests to."""
    status = function.get("status", {})
    if status.get("liveRevision"):
        return
    told = {each["type"]: each["message"] for each in status.get("conditions", ())}
    name = function["metadata"]["name"]
    raise SkerryError(f"{name} has no live revision: {told.get('Ready') or 'nothing is told of it yet'}")


def _listener(gateway: Document, server: str) -> tuple[str, int]:
    """Return where the default gateway listens for HTTP, as it is reached from here."""
    addresses = gateway["spec"].get("addresses") or [{"value": server}]
    host = addresses[0]["value"]
    listeners = [each for each in gateway["spec"]["listeners"] if each["protocol"] == "HTTP"]
    if not listeners:
        raise SkerryError("the Gateway default/default has no listener for HTTP")
    return server if host in _ANYWHERE else host, listeners[0]["port"]


def _content(data: str | None) -> bytes | None:
    if data is None:
        return None
    if not data.startswith("@"):
        return data.encode()
    return read_bytes(data[1:], "--data", bytes_max=DATA_BYTES_MAX)
