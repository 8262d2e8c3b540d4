"""The request that an instance answers now, as far as what it says and sends has to tell of it.

Read only by those who need it: a function that neither logs nor fetches pays nothing for its request's identity.
"""

import os
import re
import select
import time
from collections.abc import Sequence

from skerry.engine.errors import CallError, FailureKind

#: version, trace id, id of the parent span, flags (https://www.w3.org/TR/trace-context/). Zeros are no ids.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_VERSION, _NO_VERSION = b"00", b"ff"
_REQUEST_ID_BYTES_MAX = 128


class Invocation:
    """The present request of one instance.

    Attributes:
        subrequests: how many it has caused.
        caller: a descriptor that can be read once nobody waits for the answer any more; None where that is not known.
    """

    __slots__ = ("_headers", "caller", "subrequests")

    def __init__(self) -> None:
        self._headers: Sequence[bytes] = ()
        self.caller: int | None = None
        self.subrequests = 0

    def begin(self, headers: Sequence[bytes]) -> None:
        """Take a request's headers: names in lower case and values by turns."""
        self._headers = headers
        self.subrequests = 0

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

    def _header(self, name: bytes) -> bytes:
        headers = self._headers
        return next((headers[at + 1] for at in range(0, len(headers), 2) if headers[at] == name), b"")

    @property
    def request_id(self) -> str:
        """What Envoy calls the request (`x-request-id`); "" where there is none, and while a bundle loads."""
        return self._header(b"x-request-id")[:_REQUEST_ID_BYTES_MAX].decode("latin-1")

    def trace_fields(self) -> bytes:
        """Return header lines that make a subrequest a child of the request's span; none where it is not traced."""
        found = _TRACEPARENT.fullmatch(self._header(b"traceparent"))
        if not found or found[1] == _NO_VERSION or (found[1] == _VERSION and found[4]):
            return b""
        lines = b"\ntraceparent\n%s-%s-%s-%s" % (_VERSION, found[2], os.urandom(8).hex().encode(), found[3])
        state = self._header(b"tracestate")
        return lines + b"\ntracestate\n" + state if state and state.isascii() else lines


def abandoned() -> CallError:
    """Return what a call ends with that nobody waits for any more."""
    return CallError(FailureKind.ABANDONED, "nobody waits for the function's answer any more")


def _can_be_read(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
