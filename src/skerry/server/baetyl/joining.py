"""The doors of devices and nodes: activation and installing, which need no credential, and the sync protocol.

    POST /v1/active              a device becomes a node
    GET  /v1/active/{resource}   what it is installed from; also /v1/init/{resource}
    POST /v1/sync/report         a node reports, and is told what to change
    POST /v1/sync/desire         it fetches what it is to run
    POST /v1/sync/certificate    it is given another certificate (ours)
    GET  /v1/sync                a link for all of that (WebSocket)

Owns these routes and their bounds. Does not own what they mean (`activation`, `install`, `sync`, `delivery`). Who a
node is, its certificate says (`node_certificates`); Baetyl's header `common-name` counts for nothing here.
"""

from collections.abc import Callable, Iterable
from functools import partial

import orjson
from pydantic import ValidationError

from skerry.api.errors import ApiError, BadRequest, RequestEntityTooLarge
from skerry.api.model import Document
from skerry.api.shapes import read_json
from skerry.fleet.frames import REPORT_SECONDS
from skerry.fleet.reports import REPORT_BYTES_MAX, ReportRefused, escaped, read_object
from skerry.server.access import Access, path_act, require
from skerry.server.auth import CREDENTIAL_ID
from skerry.server.baetyl import errors
from skerry.server.baetyl.activation import Activation, ActivationRequest
from skerry.server.baetyl.delivery import Delivery, Place, read_infos
from skerry.server.baetyl.door import identified, refusal, unknown_method
from skerry.server.baetyl.install import Install
from skerry.server.baetyl.links import Links
from skerry.server.baetyl.stored_objects import RESOURCE, StoredObjects
from skerry.server.baetyl.sync import Sync
from skerry.server.conversations import Conversation
from skerry.server.http import Answer, Request, Response, Route
from skerry.server.node_certificates import node_of
from skerry.server.operations import json

#: What a device sends to join.
ACTIVATION_BYTES_MAX = 64 * 1024
_ACTIVE, _INIT, _SYNC = "/v1/active", "/v1/init", "/v1/sync"
_REPORT, _DESIRE, _CERTIFICATE = f"{_SYNC}/report", f"{_SYNC}/desire", f"{_SYNC}/certificate"


class JoiningDoor:
    """Answers devices; a `Door`."""

    prefixes = (_ACTIVE, _INIT)

    def __init__(self, access: Access, activation: Activation, install: Install, objects: StoredObjects) -> None:
        self._access = access
        self._objects = objects
        self._activation = activation
        self._install = install

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        yield Route("POST", _ACTIVE)
        for prefix in (_ACTIVE, _INIT):
            yield Route("GET", f"{prefix}/{{name}}")

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        request.decision = require(self._access, request.user, path_act(request.method, request.path))
        prefix, _, resource = request.path.rpartition("/")
        if request.method == "POST" and request.path == _ACTIVE:
            request.verb, request.resource = "activate", "records.cloud.baetyl.io"
            answer: Answer = json(await self._activate(request))
        elif request.method == "GET" and resource == RESOURCE and prefix == _INIT:
            request.verb, request.resource = "fetch", "configurations.cloud.baetyl.io"
            answer = self._objects.opened(request)
        elif request.method == "GET" and prefix in self.prefixes:
            request.verb, request.resource = "install", "nodes.cloud.baetyl.io"
            answer = await self._install.resource(request, resource)
        else:
            raise unknown_method(request)
        return identified(answer, request) if isinstance(answer, Response) else answer

    async def _activate(self, request: Request) -> Document:
        raw = await request.body(ACTIVATION_BYTES_MAX)
        try:
            asked = ActivationRequest.model_validate(read_json(raw), by_alias=True, by_name=False)
        except orjson.JSONDecodeError as error:
            raise errors.invalid(f"the body is no JSON: {error}") from error
        except ValidationError as error:
            raise errors.of_model(error) from error
        return await self._activation.activate(asked, request.client_host)

    def refusal(self, request: Request, error: ApiError) -> Response:
        """Write an error in Baetyl's form; see `Door`."""
        return refusal(request, error)


#: Answers what a node asks for, which reached this server under an address.
Deliver = Callable[[Place, str], Delivery]


class SyncDoor:
    """Answers nodes; a `Door`."""

    prefixes = (_SYNC,)

    def __init__(self, access: Access, activation: Activation, sync: Sync, links: Links, deliver: Deliver) -> None:
        self._access = access
        self._activation = activation
        self._sync = sync
        self._links = links
        self._deliver = deliver

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        posted = (Route("POST", path) for path in (_REPORT, _DESIRE, _CERTIFICATE))
        return (*posted, Route("GET", _SYNC, converses=True))

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        request.decision = require(self._access, request.user, path_act(request.method, request.path))
        if (request.method, request.path) not in {(route.method, route.path) for route in self.routes()}:
            raise unknown_method(request)
        place = node_of(request.user)
        if place is None:
            raise errors.invalid("only a node with its certificate may report")
        request.verb, request.resource = request.path.rpartition("/")[2], "nodes.cloud.baetyl.io"
        request.is_routine = request.path != _CERTIFICATE
        deliver = partial(self._deliver, place, f"https://{request.header(b'host')}")
        if request.path == _SYNC:
            return self._conversation(request, place, deliver)
        if request.path == _CERTIFICATE:
            return identified(json(await self._activation.renewed(place)), request)
        document = await _read(request)
        if request.path == _REPORT:
            told = await self._sync.report(
                place, document, source=request.header(b"source"), credential=_credential(request)
            )
            seconds = (REPORT_SECONDS.encode(), str(told.report_seconds).encode())
            response = Response(escaped(orjson.dumps(told.changes)), headers=(seconds,))
        else:
            values = await deliver().values(read_infos(document))
            response = Response(escaped(orjson.dumps({"values": values})))
        return identified(response, request)

    def _conversation(self, request: Request, place: Place, deliver: Callable[[], Delivery]) -> Conversation:
        if not request.is_handshake:
            raise errors.invalid(f"{_SYNC} is a link of frames: ask for it with the handshake of a WebSocket")
        return Conversation(partial(self._links.hold, place, _credential(request), deliver))

    def refusal(self, request: Request, error: ApiError) -> Response:
        """Write an error in Baetyl's form; see `Door`."""
        return refusal(request, error)


def _credential(request: Request) -> str:
    return next(iter(request.user.extra.get(CREDENTIAL_ID, ())), "")


async def _read(request: Request) -> Document:
    """Read the JSON object that a node sent; raises BaetylError."""
    try:
        return read_object(await request.body(REPORT_BYTES_MAX))
    except RequestEntityTooLarge as error:
        raise errors.BaetylError("ErrDataTooLarge", f"the body is larger than {REPORT_BYTES_MAX} bytes", 413) from error
    except (ReportRefused, BadRequest) as error:
        raise errors.invalid(error.public) from error
