"""A request that a component answers, and its answer: the server's half of `wasi:http/types`."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from skerry.engine.components.fields import Fields
from skerry.engine.components.guest import Guest, GuestEndedError, Pollable, always_ready
from skerry.engine.components.imports import HostFunction
from skerry.engine.components.streams import Input, StreamClosedError, StreamFailedError
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError
from skerry.engine.exchange import Exchange, PeerGoneError
from skerry.engine.http1 import RequestError

#: What a body may have before its message is given to the host, which takes it from there.
UNSENT_BYTES_MAX = 1024 * 1024

_METHODS = frozenset(["get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"])
_SCHEMES = {"http": ("HTTP", None), "https": ("HTTPS", None)}


def method_variant(method: str) -> tuple[str, str | None]:
    """Return a method as the interface has it."""
    lower = method.lower()
    return (lower, None) if lower in _METHODS and method.isupper() else ("other", method)


class ExchangeInput:
    """The body of the request; `streams.Input`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def take(self, bytes_max: int) -> bytes:
        """Return what is there; see `Input`."""
        try:
            data = self._exchange.take(bytes_max)
        except PeerGoneError as error:
            raise StreamFailedError(str(error), ("connection-terminated", None)) from error
        except RequestError as error:
            raise StreamFailedError(error.message, ("HTTP-request-body-size", None)) from error
        if not data and self._exchange.has_ended:
            raise StreamClosedError
        return data

    def pollable(self) -> Pollable:
        """Return what is ready when `take` has something to say."""
        return Pollable(self._exchange.has_news, descriptor=self._exchange.fileno)


class IncomingBody:
    """A body that a component reads: one stream, once.

    Args:
        stream: what it reads.
        drop: called when the component has no use for the rest.
    """

    def __init__(self, stream: Input, drop: Callable[[], None] | None = None) -> None:
        self._stream: Input | None = stream
        self.drop = drop

    def stream(self) -> Ok | Err:
        """Return the stream, once."""
        stream, self._stream = self._stream, None
        return Ok(stream) if stream is not None else Err()


class IncomingRequest:
    """The request, as it came.

    Args:
        head: as `FunctionInstance.handle` takes it.
        exchange: has the body.
    """

    def __init__(self, head: bytes, exchange: Exchange) -> None:
        method, url, *pairs = head.decode().split("\n")
        address = urlsplit(url)
        self.method = method_variant(method)
        self.scheme = _SCHEMES.get(address.scheme, ("HTTP", None))
        self.authority = address.netloc
        self.path = f"{address.path}?{address.query}" if address.query else address.path
        values = [value.encode("latin-1", "replace") for value in pairs[1::2]]
        self.headers = Fields(zip(pairs[::2], values, strict=True), is_fixed=True)
        self._body: IncomingBody | None = IncomingBody(ExchangeInput(exchange))

    def consume(self) -> Ok | Err:
        """Return the body, once."""
        body, self._body = self._body, None
        return Ok(body) if body is not None else Err()


class FutureTrailers:
    """Trailers: there are none, ever."""

    def __init__(self) -> None:
        self._taken = False

    def get(self) -> Ok | Err:
        """Say so, once."""
        if self._taken:
            return Err()
        self._taken = True
        return Ok(Ok(None))


class OutgoingBody:
    """A body that a component writes.

    Attributes:
        is_finished: the component has said that it is whole.
    """

    def __init__(self) -> None:
        self.is_finished = False
        self._held = bytearray()
        self._sink: Callable[[bytes], None] | None = None
        self._finish: Callable[[], None] | None = None
        self._has_stream = False

    def write(self) -> Ok | Err:
        """Return the stream, once; it is this object."""
        if self._has_stream:
            return Err()
        self._has_stream = True
        return Ok(self)

    def put(self, data: bytes) -> None:
        """Take a piece; see `streams.Output`."""
        if self.is_finished:
            raise StreamClosedError
        if self._sink is not None:
            self._sink(data)
        elif len(self._held) + len(data) > UNSENT_BYTES_MAX:
            raise StreamFailedError(
                f"a body of over {UNSENT_BYTES_MAX} bytes is written after its message is handed over"
            )
        else:
            self._held += data

    def send_to(self, sink: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        """Pass on what was written, and what will be."""
        self._sink, self._finish = sink, finish
        if self._held:
            sink(bytes(self._held))
            self._held.clear()
        if self.is_finished:
            finish()

    def finish(self) -> Ok:
        """Take it as whole."""
        self.is_finished = True
        if self._finish is not None:
            self._finish()
        return Ok()


class OutgoingResponse:
    """An answer that is being made."""

    def __init__(self, headers: Fields) -> None:
        headers.is_fixed = True
        self.headers = headers
        self.status = 200
        self.body_given: OutgoingBody | None = None

    def set_status(self, status: int) -> Ok | Err:
        """Set the status."""
        if not 100 <= status <= 999:
            return Err()
        self.status = status
        return Ok()

    def body(self) -> Ok | Err:
        """Return the body, once."""
        if self.body_given is not None:
            return Err()
        self.body_given = OutgoingBody()
        return Ok(self.body_given)


class ResponseOutparam:
    """Where a component's answer goes.

    Attributes:
        refused: the error code that it gave instead.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.is_set = False
        self.refused: tuple[str, Any] | None = None
        self._exchange = exchange

    def set(self, answer: Ok | Err) -> None:
        """Take the answer; raises GuestEndedError for one that is no HTTP."""
        self.is_set = True
        if isinstance(answer, Err):
            self.refused = answer.value
            return
        response: OutgoingResponse = answer.value
        try:
            self._exchange.begin(response.status, response.headers.lines())
        except CallError as error:
            raise GuestEndedError(error) from error
        if response.body_given is None:
            self._exchange.finish()
        else:
            response.body_given.send_to(self._write, self._exchange.finish)

    def _write(self, data: bytes) -> None:
        try:
            self._exchange.write(data)
        except PeerGoneError as error:
            raise StreamClosedError from error
        except CallError as error:
            raise GuestEndedError(error) from error


def _finish_outgoing(_guest: Guest, body: OutgoingBody, _trailers: Fields | None) -> Ok | Err:
    try:
        return body.finish()
    except (PeerGoneError, StreamClosedError):
        return Err(("connection-terminated", None))


def _finish_incoming(_guest: Guest, body: IncomingBody) -> FutureTrailers:
    if body.drop is not None:
        body.drop()
    return FutureTrailers()


def _set_answer(_guest: Guest, outparam: ResponseOutparam, answer: Ok | Err) -> None:
    outparam.set(answer)


FUNCTIONS: Mapping[str, HostFunction] = {
    "[method]incoming-request.method": lambda _guest, request: request.method,
    "[method]incoming-request.path-with-query": lambda _guest, request: request.path,
    "[method]incoming-request.scheme": lambda _guest, request: request.scheme,
    "[method]incoming-request.authority": lambda _guest, request: request.authority,
    "[method]incoming-request.headers": lambda _guest, request: request.headers,
    "[method]incoming-request.consume": lambda _guest, request: request.consume(),
    "[method]incoming-body.stream": lambda _guest, body: body.stream(),
    "[static]incoming-body.finish": _finish_incoming,
    "[method]future-trailers.subscribe": lambda _guest, _trailers: always_ready(),
    "[method]future-trailers.get": lambda _guest, trailers: trailers.get(),
    "[constructor]outgoing-response": lambda _guest, headers: OutgoingResponse(headers),
    "[method]outgoing-response.status-code": lambda _guest, response: response.status,
    "[method]outgoing-response.set-status-code": lambda _guest, response, status: response.set_status(status),
    "[method]outgoing-response.headers": lambda _guest, response: response.headers,
    "[method]outgoing-response.body": lambda _guest, response: response.body(),
    "[method]outgoing-body.write": lambda _guest, body: body.write(),
    "[static]outgoing-body.finish": _finish_outgoing,
    "[static]response-outparam.set": _set_answer,
    "[method]response-outparam.send-informational": lambda _guest, _outparam, _status, _headers: Ok(),
    "http-error-code": lambda _guest, error: error.code,
}
