"""Dispatch's front door: functions, runs and secrets of an organization.

Owns the routes, what each needs of access, and their answers. Does not own what a run goes through, nor its queue.
Choices where Dispatch's documents and its code differ: docs/reference/dispatch-api.md.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from skerry.api.core_v1 import SECRET
from skerry.api.dispatch_drivers import EVENT_DRIVER, EVENT_DRIVER_TYPE
from skerry.api.dispatch_endpoints import ENDPOINT
from skerry.api.dispatch_events import SUBSCRIPTION
from skerry.api.dispatch_images import BASE_IMAGE, IMAGE
from skerry.api.dispatch_services import SERVICE_CLASS, SERVICE_INSTANCE
from skerry.api.dispatch_v1 import FUNCTION, RUN, Function, Run
from skerry.api.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from skerry.api.kinds import Kind
from skerry.server.access import Access, Act, path_act, require
from skerry.server.dispatch import errors
from skerry.server.http import Answer, Request, Response, Route
from skerry.server.objects import Models, Objects
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

    async def run_now(self, function: Function, run: Run) -> Run:
        """Execute a run whose caller waits, and return it as it is stored at its end; raises TooManyRequests."""
        ...

    async def submit(self, run: Run) -> Run:
        """Store a run, to be executed in its turn; raises TooManyRequests, and AlreadyExists."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as a handler reads it."""

    request: Request
    objects: Objects
    names: Mapping[str, str]

    def query(self, name: str) -> str:
        """Return a field of the query, "" where it is not given."""
        return self.request.query.get(name, "")

    def query_list(self, name: str) -> list[str]:
        """Return all values of a field of the query."""
        return list(self.request.query_lists.get(name, ()))

    async def body(self, model: type[M], empty: str = "body in body is required") -> M:
        """Read the body as a model.

        Raises:
            BadRequest: it is no JSON, or empty.
            RequestRefused: it does not fit.
        """
        raw = await self.request.body(BODY_BYTES_MAX)
        if not raw:
            raise BadRequest(empty)
        try:
            return model.model_validate(orjson.loads(raw), by_name=False)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"parsing body: {error}") from error
        except ValidationError as error:
            raise errors.of_model(error) from error


Handler = Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that may be asked: its path, what it needs of access, and who answers."""

    method: str
    path: str
    verb: str
    kind: Kind[Any]
    handler: Handler

    def act(self, namespace: str, name: str = "") -> Act:
        """Return what the caller must be allowed."""
        return Act(self.verb, self.kind.group, self.kind.plural, namespace=namespace, name=name)


class DispatchDoor:
    """Answers Dispatch's clients; a `Door`.

    Args:
        verbs: what is done with objects.
        access: who may.
        operations: everything that may be asked.
        pages: what is the same for everybody, by path.
    """

    prefixes = ("/v1", "/docs")

    def __init__(
        self, verbs: Verbs, access: Access, operations: Iterable[Operation], pages: Mapping[str, Response]
    ) -> None:
        self._verbs = verbs
        self._access = access
        self._models = Models()
        self._operations = [(_pattern(operation.path), operation) for operation in operations]
        #: Those whose path has no names, which need no search.
        self._fixed = {(each.method, each.path): each for _, each in self._operations if "{" not in each.path}
        self._pages = pages

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        for _, operation in self._operations:
            name = "x" if "{name}" in operation.path else ""
            yield Route(operation.method, operation.path, act=operation.act(_DEFAULT_ORGANIZATION, name))
        for path in self._pages:
            yield Route("GET", path)

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        organization = request.header(_ORGANIZATION_HEADER)
        operation, names = self._find(request)
        namespace = organization or _DEFAULT_ORGANIZATION
        act = operation.act(namespace, names.get("name", "")) if operation else path_act(request.method, request.path)
        request.decision = require(self._access, request.user, act)
        if operation is None:
            if request.method == "GET" and (page := self._pages.get(request.path)):
                return page
            raise self._unknown(request)
        if not organization:
            raise errors.RequestRefused(errors.REQUIRED, "X-Dispatch-Org in header is required")
        request.verb, request.resource = operation.verb, operation.kind.resource
        objects = Objects(self._verbs, self._access, namespace, request.user, self._models, _MANAGER)
        return await operation.handler(Asked(request, objects, names))

    def refusal(self, request: Request, error: ApiError) -> Response:  # noqa: ARG002 - as every door
        """Write an error in Dispatch's form; see `Door`."""
        return errors.refusal(_named(error) if isinstance(error, NotFound) else error)

    def _find(self, request: Request) -> tuple[Operation | None, Mapping[str, str]]:
        if fixed := self._fixed.get((request.method, request.path)):
            return fixed, {}
        for pattern, operation in self._operations:
            if operation.method == request.method and (found := pattern.fullmatch(request.path)):
                return operation, found.groupdict()
        return None, {}

    def _unknown(self, request: Request) -> ApiError:
        allowed = sorted({o.method for pattern, o in self._operations if pattern.fullmatch(request.path)})
        if request.path in self._pages:
            allowed = ["GET"]
        if allowed:
            return MethodNotAllowed(f"method {request.method} is not allowed, but [{','.join(allowed)}] are")
        return NotFound(f"path {request.path} was not found")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


_WORDS = {
    FUNCTION.resource: "function",
    RUN.resource: "function run",
    SECRET.resource: "secret",
    SUBSCRIPTION.resource: "subscription",
    EVENT_DRIVER.resource: "driver",
    EVENT_DRIVER_TYPE.resource: "driver type",
    ENDPOINT.resource: "API",
    IMAGE.resource: "image",
    BASE_IMAGE.resource: "base image",
    SERVICE_CLASS.resource: "service class",
    SERVICE_INSTANCE.resource: "service instance",
}


def _named(error: NotFound) -> NotFound:
    """Tell what was not found in Dispatch's words."""
    details = error.details
    group = f".{details['group']}" if details.get("group") else ""
    word = _WORDS.get(f"{details.get('kind', '')}{group}")
    return NotFound(f"{word} {details['name']} not found", details=details) if word and "name" in details else error


def json(document: Any, status: int = 200) -> Response:
    """Answer with a document."""
    return Response(orjson.dumps(document), status)
