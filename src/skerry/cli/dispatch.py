"""Dispatch's front door, as the commands of functions and of what belongs to them reach it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import httpx
import typer

from skerry.api.dispatch_v1 import FUNCTION
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.printing import err
from skerry.cli.session import access_of, list_all, run
from skerry.client.answers import LIST_BYTES_MAX, parsed, read_answer, refusal
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError, SkerryError

T = TypeVar("T")

#: How long `exec --wait` and `create` wait: what the server takes for one request.
WAIT_SECONDS_MAX = 50
#: How long a command waits for what it asked for; an image may take 900 s to be made, and wait for others.
SETTLED_SECONDS_MAX = 1800.0
_LOOK_SECONDS = 0.2

NamespaceFlag = Annotated[str, typer.Option("--namespace", "-n", help="The namespace; Dispatch's organization.")]


#: What the commands that create replace with --update, by the path of its collection.
_UPDATED = frozenset({"baseimage", "function", "image", "secret"})
_UPDATE_HINT = "; --update replaces it"


def path_of(*parts: str) -> str:
    """Return a path below /v1/; raises ConfigurationError where a part, such as a name, is empty."""
    if not all(parts):
        raise ConfigurationError("a name is empty")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Door:
    """Dispatch's front door, for one organization."""

    def __init__(self, http: httpx.AsyncClient, namespace: str) -> None:
        self._http = http
        self._organization = {"X-Dispatch-Org": namespace}

    async def call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None, **headers: str
    ) -> Any:
        """Send a request; return the answer's document. Raises SkerryError with the server's sentence."""
        request = self._http.build_request(
            method,
            path_of(*path.split("/")),
            params=query,
            json=body,
            headers=self._organization | headers,
            timeout=httpx.Timeout(WAIT_SECONDS_MAX + 15.0),
        )
        try:
            answer = await self._http.send(request, stream=True)
            async with aclosing(answer):
                content = await read_answer(answer, LIST_BYTES_MAX)
        except httpx.HTTPError as error:
            raise SkerryError(f"the server can't be reached: {error}") from error
        if answer.is_success:
            return parsed(content) if content else {}
        document = refusal(answer.status_code, content)
        if "name" in document:  # a run that failed
            return document
        code, message = document.get("code", answer.status_code), document.get("message", "")
        hint = _UPDATE_HINT if answer.status_code == HTTPStatus.CONFLICT and path in _UPDATED else ""
        raise SkerryError(f"[Code: {code}] {message}{hint}")


async def until_settled(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """Look again and again until there is something to see; raises SkerryError where there is nothing for too long."""
    try:
        with within(SETTLED_SECONDS_MAX):
            while True:
                if (found := await look()) is not None:
                    return found
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        waited = f"within {SETTLED_SECONDS_MAX:g} s"
        raise SkerryError(f"{what} is neither READY nor in ERROR {waited}; it may be yet: see its `get`") from error


def ask(
    kubeconfig: Path | None, data_dir: str | None, namespace: str, request: tuple[str, str], **more: Any
) -> Document:
    """Send one request, method and path; return the answer's document."""

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            answer: Document = await Door(http, namespace).call(*request, **more)
            return answer

    return run(send())


def note_missing(kubeconfig: Path | None, data_dir: str | None, namespace: str, function: str) -> None:
    """Tell where there is no function that something has been created for: it may come later.

    Who may not list functions, or whose server has gone meanwhile, is told nothing: what was asked for is done.
    """
    try:
        functions = listed(kubeconfig, data_dir, Target(FUNCTION, namespace))
    except SkerryError:
        return
    if not any(each["metadata"]["name"] == function for each in functions):
        err.print(f"note: there is no function {function} in namespace {namespace} yet")


def listed(kubeconfig: Path | None, data_dir: str | None, target: Target) -> list[Document]:
    """Return all objects of a kind, through the Kubernetes API."""

    async def fetch() -> list[Document]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            return await list_all(HttpTransport(http), target)

    return run(fetch())
