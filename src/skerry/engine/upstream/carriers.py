"""What carries a request to an upstream and its response back, whatever the version of HTTP."""

from collections.abc import Callable
from typing import Protocol

from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.requests import OutgoingRequest
from skerry.engine.upstream.responses import ResponseHead
from skerry.engine.upstream.waits import Steps
from skerry.kit.addresses import Address


class Received(Protocol):
    """A response, as it comes.

    Attributes:
        head: its status and headers.
        is_complete: so is the body.
    """

    head: ResponseHead
    is_complete: bool

    def more(self) -> Steps[None]:
        """Receive more of the body; raises UpstreamError, TimeoutError."""
        ...

    def take_body(self) -> bytes:
        """Return what has come of the body since the last call."""
        ...

    def end(self) -> bool:
        """Say that nothing more of it is wanted; returns whether its carrier may carry another request."""
        ...


class Carrier(Protocol):
    """A connection.

    Attributes:
        address: where it leads.
        cleared_by: the policy that allowed its use last, by identity.
        is_shared: it carries several requests at once.
        idle_since: since when no request has used it, in seconds of the monotonic clock.
    """

    address: Address
    cleared_by: object
    is_shared: bool
    idle_since: float

    @property
    def is_alive(self) -> bool:
        """Whether another request may be sent."""
        ...

    def ask(
        self, request: OutgoingRequest, body: bytes, limits: FetchLimits, wake: Callable[[], None]
    ) -> Steps[Received]:
        """Send a request, and receive the head of its response.

        Args:
            request: what is asked.
            body: the whole body.
            limits: for sizes and times.
            wake: ends the wait of the thread that takes the steps.

        Raises:
            GoneError: the connection had ended before.
            UpstreamError: what comes is no response.
            TimeoutError: nothing came in time.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...
