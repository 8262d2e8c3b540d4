"""What front doors that are tables share: operations, each a method, a path, what it needs of access, and who answers.

Owns finding the operation of a request, asking whether it may be, and the objects that its handler works on. Does not
own what bodies and errors look like, nor in which namespace a request is: those are each door's own.

Invariant: who may not is refused before anything is looked at, the request's own mistakes included.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import orjson

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.access import Access, Act, path_act, require
from skerry.server.http import Answer, Request, Response, Route
from skerry.server.objects import MODELS_REMEMBERED, Objects
from skerry.server.readings import Readings
from skerry.server.verbs.verbs import Verbs

#: Makes a document that is the same for everybody.
Page = Callable[[], Response]

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as a handler reads it; each door adds how it reads bodies."""

    request: Request
    objects: Objects
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        """The object that the path names."""
        return self.names["name"]

    @property
    def namespace(self) -> str:
        """The namespace that is asked about."""
        return self.objects.namespace

    def query(self, name: str) -> str:
        """Return a field of the query, "" where it is not given."""
        return self.request.query.get(name, "")

    def query_list(self, name: str) -> list[str]:
        """Return all values of a field of the query."""
        return list(self.request.query_lists.get(name, ()))


A = TypeVar("A", bound=Asked)


@dataclass(frozen=True, slots=True)
class Operation(Generic[A]):
    """One thing that may be asked: its path, with names in braces, what it needs of access, and who answers."""

    method: str
    path: str
    verb: str
    kind: Kind[Any]
    handler: Callable[[A], Awaitable[Answer]]

    def act(self, namespace: str, name: str = "") -> Act:
        """Return what the caller must be allowed."""
        return Act(self.verb, self.kind.group, self.kind.plural, namespace=namespace, name=name)

    @property
    def names(self) -> list[str]:
        """The names in the path."""
        return _NAME.findall(self.path)

    @property
    def operation_id(self) -> str:
        """What it is called in an OpenAPI document."""
        return f"{self.method.lower()}{re.sub(r'[^a-zA-Z]+', '_', self.path)}".rstrip("_")

    @property
    def summary(self) -> str:
        """What its handler says of itself, in its first sentence."""
        return (self.handler.__doc__ or "").partition("\n")[0].rstrip(".")


class OperationTable(Generic[A]):
    """Everything that may be asked at a door.

    Args:
        verbs: what is done with objects.
        access: who may.
        operations: what handlers answer.
        pages: what is the same for everybody, by path; each is made when it is first asked for, and kept.
        manager: who writes what comes through this door, for managedFields.
        asked: makes what handlers read; raises ApiError for a request that no handler of the door takes.
    """

    def __init__(
        self,
        verbs: Verbs,
        access: Access,
        operations: Iterable[Operation[A]],
        pages: Mapping[str, Page],
        *,
        manager: str,
        asked: Callable[[Request, Objects, Mapping[str, str]], A],
    ) -> None:
        self._verbs = verbs
        self._access = access
        self._models = Readings[Any](MODELS_REMEMBERED)
        self._operations = [(_pattern(operation.path), operation) for operation in operations]
        #: Those whose path has no names, which need no search.
        self._fixed = {(each.method, each.path): each for _, each in self._operations if not each.names}
        self._pages = {path: cache(page) for path, page in pages.items()}
        self._manager = manager
        self._asked = asked

    @property
    def paths(self) -> list[str]:
        """The paths of all pages and operations."""
        return [*self._pages, *(operation.path for _, operation in self._operations)]

    def routes(self, namespace: str) -> Iterable[Route]:
        """Return everything that may be asked, in a namespace; see `Door`."""
        for _, operation in self._operations:
            name = "x" if "name" in operation.names else ""
            yield Route(operation.method, operation.path, act=operation.act(namespace, name))
        for path in self._pages:
            yield Route("GET", path)

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path; none for one that there is not."""
        if path in self._pages:
            return ["GET"]
        return sorted({operation.method for pattern, operation in self._operations if pattern.fullmatch(path)})

    async def answer(self, request: Request, namespace: str) -> Answer | None:
        """Answer a request about a namespace; None where there is no such operation or page.

        Raises:
            Denied: the caller may not; whether there is such an operation is not told then.
            ApiError: whatever its handler raises.
        """
        operation, names = self._find(request)
        act = operation.act(namespace, names.get("name", "")) if operation else path_act(request.method, request.path)
        request.decision = require(self._access, request.user, act)
        if operation is None:
            page = self._pages.get(request.path) if request.method == "GET" else None
            return page and page()
        request.verb, request.resource = operation.verb, operation.kind.resource
        objects = Objects(self._verbs, self._access, namespace, request.user, self._models, self._manager)
        return await operation.handler(self._asked(request, objects, names))

    def _find(self, request: Request) -> tuple[Operation[A] | None, Mapping[str, str]]:
        if fixed := self._fixed.get((request.method, request.path)):
            return fixed, {}
        for pattern, operation in self._operations:
            if operation.method == request.method and (found := pattern.fullmatch(request.path)):
                return operation, found.groupdict()
        return None, {}


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_NAME.sub(r"(?P<\1>[^/]+)", path))


def json(document: Any, status: int = 200) -> Response:
    """Answer with a document."""
    return Response(orjson.dumps(document), status)


def path_parameters(operation: Operation[Any]) -> list[Document]:
    """Describe the names in the path of an operation, for an OpenAPI document."""
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in operation.names]


def query_parameters(known: Mapping[str, str], names: Iterable[str]) -> list[Document]:
    """Describe fields of a query, by what is known of them, for an OpenAPI document."""
    return [{"name": name, "in": "query", "description": known[name], "schema": {"type": "string"}} for name in names]
