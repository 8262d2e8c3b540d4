"""The front door of artifacts: code by its digest, from any replica, whichever of them built or fetched it.

    GET  /artifacts/sha256:<64 hexadecimal digits>    its bytes

Owns the path and its answer. Does not own artifacts. The answer goes on while it is sent, so one that breaks off says
so by its length alone: who fetches checks the bytes against the name. Access is that of paths that are no resources: of
the default roles, cluster-admin alone has it.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from skerry.api.errors import MethodNotAllowed, NotFound
from skerry.server.access import Access, path_act, require
from skerry.server.http import Answer, Request, Route, StatusRefusals, Streaming

PREFIX = "/artifacts"
CONTENT_TYPE = "application/octet-stream"
#: How long one answer may take: enough for the largest artifact over a slow line.
SEND_SECONDS_MAX = 600.0


class Artifacts(Protocol):
    """Where artifacts are."""

    def opened(self, digest: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open an artifact, verified; entering raises ApiError: NotFound where there is no such."""
        ...


class ArtifactDoor(StatusRefusals):
    """Gives artifacts out; a `Door`."""

    prefixes = (PREFIX,)

    def __init__(self, artifacts: Artifacts, access: Access) -> None:
        self._artifacts = artifacts
        self._access = access

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return [Route("GET", PREFIX + "/{name}")]

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        request.decision = require(self._access, request.user, path_act(request.method, request.path))
        prefix, slash, digest = request.path.rpartition("/")
        if not slash or prefix != PREFIX:
            raise NotFound("the server could not find the requested resource")
        request.verb = "get"
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return Streaming(self._artifacts.opened(digest), SEND_SECONDS_MAX, CONTENT_TYPE)
