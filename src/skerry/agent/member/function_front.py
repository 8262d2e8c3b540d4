"""Where functions of a node are called, as Baetyl's function proxy is.

    GET, POST, PUT or DELETE /SERVICE/FUNCTION      the function's event is the body
    ... /SERVICE                                    the service's first function

200 is answered with what the function returned; anything else with `{"errCode", "message"}`. Who may reach the address
may call: it is one of loopback unless agent.json says otherwise. Does not own what runs functions (`functions`).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from skerry.agent.listening import listening, read_body
from skerry.agent.member.errors import ApplicationError
from skerry.functions import InvocationError
from skerry.functions.local.pool import TooManyRuns
from skerry.kit.deadlines import within
from skerry.kit.errors import StartError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background

log = get_logger(__name__)

#: An event, or what a function returns: as Baetyl's proxy has it.
BODY_BYTES_MAX = 4 * 1024 * 1024
#: How long a call may take, its turn included.
CALL_SECONDS_MAX = 300.0
#: How often an address that was taken is tried again, and how long an application waits for it.
RETRY_SECONDS = 5.0
OPEN_SECONDS_MAX = 10.0
METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})


class CalledService(Protocol):
    """A service whose functions can be called."""

    @property
    def functions(self) -> tuple[str, ...]:
        """Their names, the first being called where none is named."""
        ...

    async def call(self, context: Mapping[str, str], event: bytes) -> bytes:
        """Call a function, named by the context, with an event; raises InvocationError."""
        ...


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    status: int
    code: str
    message: str


class FunctionFront:
    """An ASGI application, and the services that it leads to; `running()` is its life.

    Args:
        host: where it listens.
        port: likewise; 0 for any.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._services: dict[str, tuple[str, CalledService]] = {}
        self._wanted = Wakeup()
        self._opened = asyncio.Event()
        self._failure = ""
        #: Where it can be reached; "" while it can't.
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen, from the first application on that has functions, for the length of the block."""
        async with background(("agent.functions", self._listen)):
            yield

    async def _listen(self) -> None:
        await self._wanted.wait()
        while True:
            try:
                async with listening(self, self._host, self._port) as self.url:
                    log.info("functions can be called", url=self.url)
                    self._opened.set()
                    await asyncio.Event().wait()
            except StartError as error:
                self._failure = error.public
                log.warning("functions can't be called", reason=error.public)
                await self._wanted.wait(RETRY_SECONDS)

    async def open(self) -> None:
        """Wait until it listens; raises ApplicationError where it can't."""
        self._wanted.set()
        try:
            with within(OPEN_SECONDS_MAX):
                await self._opened.wait()
        except TimeoutError as error:
            raise ApplicationError(f"its functions can't be called: {self._failure}") from error

    def require_free(self, application: str, services: list[str]) -> None:
        """Raise ApplicationError where another application has a service of one of these names."""
        for service in services:
            other = self._services.get(service, (application, None))[0]
            if other != application:
                raise ApplicationError(
                    f"service {service}: functions of the application {other} are called by that name"
                )

    @asynccontextmanager
    async def serving(self, application: str, services: Mapping[str, CalledService]) -> AsyncIterator[None]:
        """Lead to services, by their names, for the length of the block. Raises ApplicationError: a name is taken."""
        self.require_free(application, list(services))
        self._services |= {name: (application, service) for name, service in services.items()}
        try:
            yield
        finally:
            for name in services:
                del self._services[name]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        try:
            status, body = 200, await self._answer(scope, receive)
        except _Refused as refused:
            status, body = refused.status, json.dumps({"errCode": refused.code, "message": refused.message}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        if _is_json(body):
            headers.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Any, receive: Any) -> bytes:
        parts = scope["path"].strip("/").split("/")
        if scope["method"] not in METHODS or len(parts) > 2:
            raise _Refused(
                404, "ERR_ADDRESS_RESOLVE", "functions are at /SERVICE/FUNCTION, by GET, POST, PUT and DELETE"
            )
        name, function = parts[0], "".join(parts[1:])
        _, service = self._services.get(name, ("", None))
        if service is None:
            raise _Refused(404, "ERR_ADDRESS_RESOLVE", f"no service {name} has functions here")
        function = function or service.functions[0]
        if function not in service.functions:
            raise _Refused(404, "ERR_FUNCTION_CALL", f"service {name} has no function {function}")
        event = await read_body(receive, BODY_BYTES_MAX)
        if event is None:
            raise _Refused(413, "ERR_FUNCTION_CALL", f"an event has at most {BODY_BYTES_MAX} bytes")
        invoked = dict(scope["headers"]).get(b"invokeid", b"").decode("latin-1") or str(uuid4())
        return await _called(service, {"serviceName": name, "functionName": function, "invokeId": invoked}, event)


async def _called(service: CalledService, context: Mapping[str, str], event: bytes) -> bytes:
    try:
        with within(CALL_SECONDS_MAX):
            return await service.call(context, event)
    except TooManyRuns as error:
        raise _Refused(429, "ERR_FUNCTION_CALL", error.message) from error
    except InvocationError as error:
        raise _Refused(500, "ERR_FUNCTION_CALL", error.message) from error
    except TimeoutError as error:
        raise _Refused(504, "ERR_FUNCTION_CALL", f"it took longer than {CALL_SECONDS_MAX:.0f} s") from error


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
