"""Requests that a component sends: the client's half of `wasi:http`, through the same checks as `fetch`.

A request is sent when its body is whole, and so has a length; a response is streamed.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from skerry.engine.components.fields import Fields
from skerry.engine.components.guest import Guest, Pollable
from skerry.engine.components.imports import HostFunction
from skerry.engine.components.incoming import IncomingBody, OutgoingBody
from skerry.engine.components.streams import StreamClosedError, StreamFailedError
from skerry.engine.components.values import Err, Ok
from skerry.engine.fetching import Event, EventKind

#: A request's body is held until it is whole.
OUTGOING_BODY_BYTES_MAX = 10 * 1024 * 1024

_DENIED: tuple[str, Any] = ("HTTP-request-denied", None)
_FOR_EVER_NS = 2**62
_STANDARD_SCHEMES = {"HTTP": "http", "HTTPS": "https"}


class RequestOptions:
    """How long parts of an exchange may take, in nanoseconds; the connection's own limit is the host's."""

    def __init__(self) -> None:
        self.durations: dict[str, int | None] = {}


class OutgoingRequest:
    """A request that is being made."""

    def __init__(self, headers: Fields) -> None:
        headers.is_fixed = True
        self.headers = headers
        self.method: tuple[str, str | None] = ("get", None)
        self.path: str | None = None
        self.scheme: tuple[str, str | None] | None = None
        self.authority: str | None = None
        self.body_given: OutgoingBody | None = None

    def body(self) -> Ok | Err:
        """Return the body, once."""
        if self.body_given is not None:
            return Err()
        self.body_given = OutgoingBody()
        return Ok(self.body_given)

    def set(self, attribute: str, value: object) -> Ok | Err:
        """Set a part of it; what would be another request on the wire is refused."""
        text = value[1] if isinstance(value, tuple) else value
        if isinstance(text, str) and not (text.isascii() and text.isprintable() and " " not in text):
            return Err()
        setattr(self, attribute, value)
        return Ok()

    def head(self) -> bytes:
        """Return the request as `fetching.Subrequests.start` takes it."""
        name, other = self.method
        case, spelled = self.scheme or ("HTTPS", None)
        scheme = _STANDARD_SCHEMES.get(case) or spelled or ""
        lines = [other or name.upper(), f"{scheme}://{self.authority or ''}{self.path or '/'}"]
        for field, value in self.headers.pairs:
            lines += (field, value.decode("latin-1"))
        return "\n".join(lines).encode()


class Subrequest:
    """One request under way, and what has come of its response.

    Args:
        guest: that waits for it.
        options: how long it does.
    """

    def __init__(self, guest: Guest, options: RequestOptions | None) -> None:
        durations = options.durations if options else {}
        self._guest = guest
        self._number: int | None = None
        self._first_byte_ns = durations.get("first-byte-timeout") or _FOR_EVER_NS
        self._between_bytes_ns = durations.get("between-bytes-timeout") or _FOR_EVER_NS
        self._until_ns = _FOR_EVER_NS
        self._answer: Ok | Err | None = None
        self._pieces: deque[bytes] = deque()
        self._ended: StreamClosedError | StreamFailedError | None = None
        self._is_asked = False

    def send(self, head: bytes, body: bytes) -> None:
        """Send the request."""
        self._number = self._guest.start_subrequest(head, body, self._take)
        self._until_ns = time.monotonic_ns() + self._first_byte_ns

    def fail(self, code: tuple[str, Any]) -> None:
        """Have it come to nothing."""
        self._answer = Err(code)

    def _take(self, event: Event) -> None:
        self._is_asked = False
        if event.kind in (EventKind.HEAD, EventKind.WHOLE):
            self._answer = Ok(IncomingResponse(event.text, self))
        if event.data:
            self._pieces.append(event.data)
        if event.kind in (EventKind.WHOLE, EventKind.END):
            self._ended = StreamClosedError()
        elif event.kind is EventKind.FAILED:
            code = _error_code(event)
            self._answer = self._answer or Err(code)
            self._ended = StreamFailedError(event.text.decode(errors="replace"), code)

    def answer(self) -> Ok | Err | None:
        """Return the response, or what it failed for; None where nothing has come yet."""
        self._guest.take_events()
        if self._answer is None and self._is_late():
            self._answer = Err(("HTTP-response-timeout", None))
            self.cancel()
        return self._answer

    def piece(self, bytes_max: int) -> bytes:
        """Return what has come of the body; see `streams.Input.take`."""
        self.has_news()
        if self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > bytes_max:
                self._pieces.appendleft(piece[bytes_max:])
            return piece[:bytes_max]
        if self._ended is None and self._is_late():
            self._ended = StreamFailedError("nothing came in time", ("connection-read-timeout", None))
            self.cancel()
        if self._ended is not None:
            raise self._ended
        return b""

    def has_news(self) -> bool:
        """Tell whether `piece` has something to say; where it has not, ask for more."""
        if not self._pieces and self._ended is None:
            if not self._is_asked and self._number is not None:
                self._is_asked = True
                self._until_ns = time.monotonic_ns() + self._between_bytes_ns
                self._guest.subrequests.read(self._number)
            self._guest.take_events()
        return bool(self._pieces) or self._ended is not None or self._is_late()

    def pollable(self, is_ready: Callable[[], bool]) -> Pollable:
        """Return what is ready when the condition holds, or it is late."""
        moment_ns = self._until_ns if self._until_ns < _FOR_EVER_NS else None
        return Pollable(is_ready, moment_ns)

    def _is_late(self) -> bool:
        return time.monotonic_ns() >= self._until_ns

    def cancel(self) -> None:
        """Have nothing more come of it."""
        if self._number is not None and not isinstance(self._ended, StreamClosedError):
            self._guest.subrequests.cancel(self._number)


class FutureResponse:
    """A response that may have come."""

    def __init__(self, subrequest: Subrequest) -> None:
        self._subrequest = subrequest
        self._is_taken = False

    def get(self) -> Ok | Err | None:
        """Return the response, once; None where it has not come."""
        answer = self._subrequest.answer()
        if answer is None:
            return None
        if self._is_taken:
            return Err()
        self._is_taken = True
        return Ok(answer)

    def pollable(self) -> Pollable:
        """Return what is ready when `get` returns something."""
        return self._subrequest.pollable(lambda: self._subrequest.answer() is not None)

    def drop(self) -> None:
        """Cancel a request whose response nobody has taken."""
        if not self._is_taken:
            self._subrequest.cancel()


class ResponseInput:
    """The body of a response; `streams.Input`."""

    def __init__(self, subrequest: Subrequest) -> None:
        self._subrequest = subrequest

    def take(self, bytes_max: int) -> bytes:
        """Return what has come; see `Input`."""
        return self._subrequest.piece(bytes_max)

    def pollable(self) -> Pollable:
        """Return what is ready when `take` has something to say."""
        self._subrequest.has_news()
        return self._subrequest.pollable(self._subrequest.has_news)


class IncomingResponse:
    """A response that has begun to come."""

    def __init__(self, head: bytes, subrequest: Subrequest) -> None:
        status, _reason, *pairs = head.decode().split("\n")
        self.status = int(status)
        values = [value.encode("latin-1", "replace") for value in pairs[1::2]]
        self.headers = Fields(zip(pairs[::2], values, strict=True), is_fixed=True)
        self._body: IncomingBody | None = IncomingBody(ResponseInput(subrequest), subrequest.cancel)
        self._subrequest = subrequest

    def consume(self) -> Ok | Err:
        """Return the body, once."""
        body, self._body = self._body, None
        return Ok(body) if body is not None else Err()

    def drop(self) -> None:
        """Cancel a body that nobody has asked for."""
        if self._body is not None:
            self._subrequest.cancel()


def _error_code(event: Event) -> tuple[str, Any]:
    return _DENIED if event.is_refused else ("internal-error", event.text.decode(errors="replace"))


def _handle(guest: Guest, request: OutgoingRequest, options: RequestOptions | None) -> Ok | Err:
    subrequest = Subrequest(guest, options)
    head = request.head()
    if guest.surroundings.fetcher is None:  # told as the response: the libraries of some languages trap otherwise
        subrequest.fail(_DENIED)
    elif request.body_given is None:
        subrequest.send(head, b"")
    else:
        collected = _Collected(subrequest)
        request.body_given.send_to(collected.put, lambda: subrequest.send(head, bytes(collected.data)))
    return Ok(FutureResponse(subrequest))


class _Collected:
    def __init__(self, subrequest: Subrequest) -> None:
        self.data = bytearray()
        self._subrequest = subrequest

    def put(self, data: bytes) -> None:
        if len(self.data) + len(data) > OUTGOING_BODY_BYTES_MAX:
            code = ("HTTP-request-body-size", OUTGOING_BODY_BYTES_MAX)
            self._subrequest.fail(code)
            raise StreamFailedError(f"a request's body is at most {OUTGOING_BODY_BYTES_MAX} bytes", code)
        self.data += data


def _set_duration(name: str, _guest: Guest, options: RequestOptions, duration_ns: int | None) -> Ok:
    options.durations[name] = duration_ns
    return Ok()


def _attribute(name: str) -> HostFunction:
    return lambda _guest, request: getattr(request, name)


def _setter(name: str) -> HostFunction:
    return lambda _guest, request, value: request.set(name, value)


_DURATIONS = ("connect-timeout", "first-byte-timeout", "between-bytes-timeout")

FUNCTIONS: Mapping[str, HostFunction] = {
    "[constructor]outgoing-request": lambda _guest, headers: OutgoingRequest(headers),
    "[method]outgoing-request.body": lambda _guest, request: request.body(),
    "[method]outgoing-request.headers": lambda _guest, request: request.headers,
    "[method]outgoing-request.method": _attribute("method"),
    "[method]outgoing-request.set-method": _setter("method"),
    "[method]outgoing-request.path-with-query": _attribute("path"),
    "[method]outgoing-request.set-path-with-query": _setter("path"),
    "[method]outgoing-request.scheme": _attribute("scheme"),
    "[method]outgoing-request.set-scheme": _setter("scheme"),
    "[method]outgoing-request.authority": _attribute("authority"),
    "[method]outgoing-request.set-authority": _setter("authority"),
    "[constructor]request-options": lambda _guest: RequestOptions(),
    **{
        f"[method]request-options.{name}": lambda _guest, options, name=name: options.durations.get(name)
        for name in _DURATIONS
    },
    **{f"[method]request-options.set-{name}": partial(_set_duration, name) for name in _DURATIONS},
    "[method]incoming-response.status": _attribute("status"),
    "[method]incoming-response.headers": _attribute("headers"),
    "[method]incoming-response.consume": lambda _guest, response: response.consume(),
    "[method]future-incoming-response.subscribe": lambda _guest, future: future.pollable(),
    "[method]future-incoming-response.get": lambda _guest, future: future.get(),
}
HANDLER: Mapping[str, HostFunction] = {"handle": _handle}
