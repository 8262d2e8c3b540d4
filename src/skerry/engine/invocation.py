"""The request that an instance answers now, as far as what it says and sends has to tell of it.

Read only by those who need it: a function that neither logs nor fetches pays nothing for its request's identity.
"""

import select
import time
from collections.abc import Sequence

from skerry.engine.errors import CallError, FailureKind
from skerry.kit.trace_context import is_traceparent, new_span

_REQUEST_ID_BYTES_MAX = 128

#: A request that others are answered between: its headers, and how many subrequests it has caused.
HeldInvocation = tuple[Sequence[bytes], int]


class Invocation:
    """The present request of one instance.

    Attributes:
        headers: names in lower case and values by turns.
        subrequests: how many it has caused.
        caller: a descriptor that can be read once nobody waits for the answer any more; None where that is not known.
    """

    __slots__ = ("caller", "headers", "subrequests")

    def __init__(self) -> None:
        self.headers: Sequence[bytes] = ()
        self.caller: int | None = None
        self.subrequests = 0

    def begin(self, headers: Sequence[bytes]) -> None:
        """Take a request's headers: names in lower case and values by turns."""
        self.headers = headers
        self.subrequests = 0

    @property
    def held(self) -> "HeldInvocation":
        """The present request, so that it can be gone on with after another one."""
        return self.headers, self.subrequests

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.caller is not None and _can_be_read(self.caller, 0.0)

    def sleep(self, seconds: float) -> None:
        """Wait for a time, or until the request is abandoned."""
        if self.caller is None:
            time.sleep(seconds)
        else:
            _can_be_read(self.caller, seconds)

    @property
    def request_id(self) -> str:
        """What Envoy calls the request (`x-request-id`); "" where there is none, and while a bundle loads."""
        return request_id_of(self.headers)

    def trace_fields(self) -> bytes:
        """Return header lines that make a subrequest a child of the request's span; none where it is not traced."""
        if b"traceparent" not in self.headers:
            return b""
        parent = _header(self.headers, b"traceparent").decode("latin-1")
        if not is_traceparent(parent):
            return b""
        lines = b"\ntraceparent\n" + new_span(parent).encode()
        state = _header(self.headers, b"tracestate")
        return lines + b"\ntracestate\n" + state if state and state.isascii() else lines


def request_id_of(headers: Sequence[bytes]) -> str:
    """Return what Envoy calls a request with these headers; see `Invocation.request_id`."""
    return _header(headers, b"x-request-id")[:_REQUEST_ID_BYTES_MAX].decode("latin-1")


def _header(headers: Sequence[bytes], name: bytes) -> bytes:
    return next((headers[at + 1] for at in range(0, len(headers), 2) if headers[at] == name), b"")


def abandoned() -> CallError:
    """Return what a call ends with that nobody waits for any more."""
    return CallError(FailureKind.ABANDONED, "nobody waits for the function's answer any more")


def _can_be_read(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
