"""Baetyl's front door: nodes, applications, configurations, secrets, registries and certificates of a fleet.

Owns the routes, what each needs of access, and the form of answers: 200 for every success, a request id with each. Does
not own what is valid (`api`), nor what nodes are told. Paths begin as Dispatch's do, with /v1, and go on otherwise: no
segment after that is both systems' (Dispatch says /v1/secret, Baetyl /v1/secrets).
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from skerry.api.errors import ApiError, MethodNotAllowed
from skerry.api.model import Document
from skerry.api.shapes import read_json
from skerry.server import operations
from skerry.server.access import Access
from skerry.server.auth import User
from skerry.server.baetyl import errors
from skerry.server.http import JSON, Answer, Request, Response, Route
from skerry.server.operations import OperationTable, Page, json
from skerry.server.verbs.limits import OBJECT_BYTES_MAX
from skerry.server.verbs.verbs import Verbs

#: The namespace of who has none of their own, and asks for no other.
DEFAULT_NAMESPACE = "default"
#: Asks for another namespace; ours. Upstream has one namespace for each way to sign in.
_NAMESPACE_HEADER = b"x-baetyl-namespace"
_ACCOUNT_PREFIX = "system:serviceaccount:"
_MANAGER = "baetyl"
#: A body holds one object, written with more words than it is stored with.
BODY_BYTES_MAX = OBJECT_BYTES_MAX + (1 << 20)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked(operations.Asked):
    """One request, as a handler reads it."""

    async def body(self, model: type[M]) -> M:
        """Read the body as a model; what the model does not know is ignored.

        Raises:
            BaetylError: it is no JSON, or does not fit.
            RequestEntityTooLarge: it is over `BODY_BYTES_MAX`, or has too many objects and lists.
            BadRequest: it is too deep.
        """
        raw = await self.request.body(BODY_BYTES_MAX)
        try:
            return model.model_validate(read_json(raw), by_alias=True, by_name=False)
        except orjson.JSONDecodeError as error:
            raise errors.invalid(f"the body is no JSON: {error}") from error
        except ValidationError as error:
            raise errors.of_model(error) from error


Handler = Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Described:
    """What an operation takes and answers, for the OpenAPI document.

    Attributes:
        answers: name of a schema.
        takes: the model of the body; None for no body.
        query: names of what may be in the query.
        form: the media type of the answer.
    """

    answers: str
    takes: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    form: str = JSON


@dataclass(frozen=True, slots=True)
class Operation(operations.Operation[Asked]):
    """One thing that may be asked, and how it is described."""

    described: Described = field(default_factory=lambda: Described("Success"))


class Handlers(Protocol):
    """Those who answer."""

    def operations(self) -> list[Operation]:
        """Return what may be asked of them."""
        ...


class BaetylDoor:
    """Answers Baetyl's clients; a `Door`.

    Args:
        verbs: what is done with objects.
        access: who may.
        given: everything that may be asked.
        pages: what is the same for everybody, by path; see `OperationTable`.
    """

    def __init__(self, verbs: Verbs, access: Access, given: Iterable[Operation], pages: Mapping[str, Page]) -> None:
        self._table = OperationTable(verbs, access, given, pages, manager=_MANAGER, asked=Asked)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the paths begin that are answered here; see `Door`."""
        return tuple(dict.fromkeys("/".join(path.split("/")[:3]) for path in self._table.paths))

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return self._table.routes(DEFAULT_NAMESPACE)

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        answer = await self._table.answer(request, namespace_of(request))
        if answer is None:
            raise unknown_method(request)
        return identified(answer, request) if isinstance(answer, Response) else answer

    def refusal(self, request: Request, error: ApiError) -> Response:
        """Write an error in Baetyl's form; see `Door`."""
        return refusal(request, error)


def namespace_of(request: Request) -> str:
    """Return the namespace that is asked about: that of the header, of a service account, or the default."""
    if given := request.header(_NAMESPACE_HEADER):
        return given
    return account_namespace(request.user) or DEFAULT_NAMESPACE


def account_namespace(user: User) -> str:
    """Return the namespace of a service account; "" for other users."""
    return user.name.removeprefix(_ACCOUNT_PREFIX).partition(":")[0] if user.name.startswith(_ACCOUNT_PREFIX) else ""


def host_of(request: Request) -> str:
    """Return under which name the client reaches this server; raises BaetylError where it does not say."""
    host = request.header(b"host")
    if not _HOST.fullmatch(host):
        raise errors.invalid("the header Host must say under which name this server is reached")
    return host


def request_id(request: Request) -> str:
    """Return the id that the client gave to a request, or a new one."""
    given = request.header(errors.REQUEST_ID_HEADER)
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def identified(response: Response, request: Request) -> Response:
    """Answer with the id that the client gave to its request, or a new one."""
    return _with_id(response, request_id(request))


def refusal(request: Request, error: ApiError) -> Response:
    """Write an error in Baetyl's form."""
    given = request_id(request)
    return _with_id(errors.refusal(error, given), given)


def _with_id(response: Response, given: str) -> Response:
    return response._replace(headers=(*response.headers, (errors.REQUEST_ID_HEADER, given.encode())))


def unknown_method(request: Request) -> MethodNotAllowed:
    """Return the refusal of a route that there is not."""
    return MethodNotAllowed(f"The request method {request.method} of {request.path} is not found.")


def success() -> Response:
    """Answer that it is done."""
    return json(_SUCCESS)


_SUCCESS: Document = {"success": True}
