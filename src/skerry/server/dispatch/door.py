"""Dispatch's front door: functions, runs and secrets of an organization.

Owns the routes, what each needs of access, and their answers. Does not own what a run goes through, nor its queue.
Choices where Dispatch's documents and its code differ: docs/reference/dispatch-api.md.
"""

from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from skerry.api.dispatch_v1 import Function, Run
from skerry.api.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from skerry.api.shapes import read_json
from skerry.server import operations
from skerry.server.access import Access
from skerry.server.dispatch import errors
from skerry.server.http import Answer, Request, Response, Route
from skerry.server.objects import Objects
from skerry.server.operations import OperationTable, Page
from skerry.server.verbs.verbs import Verbs

#: The default organization, for who is asked for access before it is known whether one was given.
_DEFAULT_ORGANIZATION = "default"
#: Who writes what comes through this door, for managedFields.
_MANAGER = "dispatch"
_ORGANIZATION_HEADER = b"x-dispatch-org"
#: A function's source is 64 MiB unpacked at most; its archive, in base64, has to fit here.
BODY_BYTES_MAX = 24 << 20

M = TypeVar("M", bound=BaseModel)


class Sources(Protocol):
    """Keeps uploaded archives."""

    async def keep(self, content: bytes) -> str:
        """Store an archive on disk and return its digest, sha256:<hex>."""
        ...


class Runs(Protocol):
    """Executes runs."""

    def run_now(self, function: Function, run: Run) -> Coroutine[Any, Any, Run]:
        """Execute a run whose caller waits, and return it as it is stored at its end; raises TooManyRequests."""
        ...

    async def submit(self, run: Run) -> Run:
        """Store a run, to be executed in its turn; raises TooManyRequests, and AlreadyExists."""
        ...


@dataclass(frozen=True, slots=True)
class Asked(operations.Asked):
    """One request, as a handler reads it."""

    async def body(self, model: type[M], empty: str = "body in body is required") -> M:
        """Read the body as a model.

        Raises:
            BadRequest: it is no JSON, too deep, or empty.
            RequestEntityTooLarge: it is over `BODY_BYTES_MAX`, or has too many objects and lists.
            RequestRefused: it does not fit.
        """
        raw = await self.request.body(BODY_BYTES_MAX)
        if not raw:
            raise BadRequest(empty)
        try:
            return model.model_validate(read_json(raw), by_name=False)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"parsing body: {error}") from error
        except ValidationError as error:
            raise errors.of_model(error) from error


@dataclass(frozen=True, slots=True)
class Operation(operations.Operation[Asked]):
    """One thing that may be asked; how it is described follows from its verb and its kind."""


class DispatchDoor:
    """Answers Dispatch's clients; a `Door`.

    Args:
        verbs: what is done with objects.
        access: who may.
        given: everything that may be asked.
        pages: what is the same for everybody, by path; see `OperationTable`.
    """

    prefixes = ("/v1", "/docs")

    def __init__(self, verbs: Verbs, access: Access, given: Iterable[Operation], pages: Mapping[str, Page]) -> None:
        self._table = OperationTable(verbs, access, given, pages, manager=_MANAGER, asked=_asked)

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return self._table.routes(_DEFAULT_ORGANIZATION)

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        answer = await self._table.answer(request, request.header(_ORGANIZATION_HEADER) or _DEFAULT_ORGANIZATION)
        if answer is None:
            raise self._unknown(request)
        return answer

    def refusal(self, request: Request, error: ApiError) -> Response:  # noqa: ARG002 - as every door
        """Write an error in Dispatch's form; see `Door`."""
        return errors.refusal(error)

    def _unknown(self, request: Request) -> ApiError:
        if allowed := self._table.methods(request.path):
            return MethodNotAllowed(f"method {request.method} is not allowed, but [{','.join(allowed)}] are")
        return NotFound(f"path {request.path} was not found")


def _asked(request: Request, objects: Objects, names: Mapping[str, str]) -> Asked:
    if not request.header(_ORGANIZATION_HEADER):
        raise errors.RequestRefused(errors.REQUIRED, "X-Dispatch-Org in header is required")
    return Asked(request, objects, names)
