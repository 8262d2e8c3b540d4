"""Takes the events of drivers: an ASGI application on loopback, with an address of its own for each driver.

The address holds a secret that is made at start and handed to the driver's program alone, so that a program needs
nothing but an HTTP client. Answers are those of Dispatch's event sidecar: 201 once the events' runs are on disk, 400
for what is no event, 405 for another method; a GET tells that it is there.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from skerry.api.errors import ApiError, MethodNotAllowed, NotFound
from skerry.kit.logs import get_logger
from skerry.server.auth import ANONYMOUS
from skerry.server.dispatch import errors
from skerry.server.dispatch.cloud_events import read_events
from skerry.server.dispatch.events import EVENT_BYTES_MAX, Events
from skerry.server.http import Receive, Request, Response, Send

log = get_logger(__name__)


class SinkApp:
    """The application, to be run by `serve_loopback`.

    Args:
        events: delivers them.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._key = secrets.token_bytes(32)

    def path_of(self, driver: tuple[str, str]) -> str:
        """Return the path that the program of a driver (namespace, name) posts to."""
        return f"/{driver[0]}/{driver[1]}/{self._proof(driver)}"

    def _proof(self, driver: tuple[str, str]) -> str:
        return hmac.new(self._key, "/".join(driver).encode(), hashlib.sha256).hexdigest()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope, receive, ANONYMOUS)
        try:
            answer = await self._answer(request)
        except ApiError as error:
            answer = errors.refusal(error)
        except Exception:
            log.exception("an event of a driver failed")
            answer = Response(b"", 500)
        headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, *answer.headers]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request) -> Response:
        namespace, _, rest = request.path.removeprefix("/").partition("/")
        name, _, proof = rest.partition("/")
        if not hmac.compare_digest(proof.encode(), self._proof((namespace, name)).encode()):
            raise NotFound("no driver has this address")
        if request.method == "GET":
            return Response(b"{}")
        if request.method != "POST":
            raise MethodNotAllowed(f"method {request.method} is not allowed, but [GET,POST] are")
        body = await request.body(EVENT_BYTES_MAX)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in request.raw_headers}
        for event in read_events(headers, body):
            await self._events.deliver(namespace, event)
        return Response(b"{}", 201)
