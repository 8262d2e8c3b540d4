"""The door of the nodes that run Gateways: their slice of the log, the code that it names, and what becomes of it.

    POST /v1/slice                          what the node has; answered with what it lacks, and with every change
    GET  /v1/slice/artifacts/sha256:<hex>   code that an object of its slice names
    POST /v1/slice/statuses                 the statuses of the objects of its slice, as they are on the node

Owns these routes and their bounds. Does not own what a slice is (`slices`). Who a node is, its certificate says.
"""

from collections.abc import Iterable, Mapping

import orjson

from skerry.api.errors import ApiError, BadRequest, NotFound
from skerry.api.model import Document
from skerry.api.shapes import read_json
from skerry.server.access import Access, path_act, require
from skerry.server.artifacts import CONTENT_TYPE, SEND_SECONDS_MAX, Artifacts
from skerry.server.baetyl import errors
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.door import identified, refusal, unknown_method
from skerry.server.baetyl.slices import SLICE_OBJECTS_MAX, Slices
from skerry.server.baetyl.traffic_reports import TrafficReports
from skerry.server.http import Answer, Request, Response, Route, Streaming
from skerry.server.node_certificates import node_of
from skerry.server.operations import json

SLICE, ARTIFACTS, STATUSES = "/v1/slice", "/v1/slice/artifacts", "/v1/slice/statuses"
#: JSON, a document each line.
LINES = "application/x-ndjson"
#: After so long a node asks again, and so its certificate is looked at again.
STREAM_SECONDS_MAX = 120.0
#: Keys and versions of `SLICE_OBJECTS_MAX` objects, or their statuses.
BODY_BYTES_MAX = 1024 * 1024


class SliceDoor:
    """Answers nodes; a `Door`."""

    prefixes = (SLICE,)

    def __init__(self, access: Access, slices: Slices, artifacts: Artifacts, reports: TrafficReports) -> None:
        self._access = access
        self._slices = slices
        self._artifacts = artifacts
        self._reports = reports

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return (Route("POST", SLICE), Route("GET", ARTIFACTS + "/{name}"), Route("POST", STATUSES))

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        request.decision = require(self._access, request.user, path_act(request.method, request.path))
        place = node_of(request.user)
        if place is None:
            raise errors.invalid("only a node with its certificate has a slice")
        request.is_routine = True
        prefix, _, name = request.path.rpartition("/")
        match request.method, request.path:
            case "POST", path if path == SLICE:
                request.verb, request.resource = "watch", "slices"
                known = _texts(await _member(request, "objects"))
                return Streaming(self._slices.opened(place, known), STREAM_SECONDS_MAX, LINES)
            case "POST", path if path == STATUSES:
                request.verb, request.resource = "report", "slices"
                await self._report(place, await _member(request, "statuses"))
                return identified(json({}), request)
            case "GET", _ if prefix == ARTIFACTS:
                request.verb, request.resource = "fetch", "slices"
                return await self._artifact(place, name)
        raise unknown_method(request)

    def refusal(self, request: Request, error: ApiError) -> Response:
        """Write an error in Baetyl's form; see `Door`."""
        return refusal(request, error)

    async def _artifact(self, place: Place, digest: str) -> Streaming:
        if not await self._slices.holds_code(place, digest):
            raise NotFound(f"no object of this node's slice names the code {digest}")
        return Streaming(self._artifacts.opened(digest), SEND_SECONDS_MAX, CONTENT_TYPE)

    async def _report(self, place: Place, statuses: Mapping[str, object]) -> None:
        """Keep what a node says of its own slice; what it says of anything else counts for nothing."""
        known = await self._slices.holds(place, statuses)
        kept = {key: status for key in known if isinstance(status := statuses[key], dict)}
        await self._reports.keep(place, kept)


async def _member(request: Request, name: str) -> Document:
    """Return a member of the body, which must be an object; raises BadRequest."""
    try:
        body = read_json(await request.body(BODY_BYTES_MAX))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    found = body.get(name) if isinstance(body, dict) else None
    if not isinstance(found, dict) or len(found) > SLICE_OBJECTS_MAX:
        raise BadRequest(f"{name}: must be an object of at most {SLICE_OBJECTS_MAX} members")
    return found


def _texts(found: Document) -> dict[str, str]:
    if wrong := next((key for key, value in found.items() if not isinstance(value, str)), None):
        raise BadRequest(f"objects[{wrong}]: must be the version of the object, a string")
    return found
