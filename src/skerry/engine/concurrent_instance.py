"""What answers many requests at once; see `instances`, whose words it is told in."""

from typing import TYPE_CHECKING

from skerry.engine.invocation import HeldInvocation, Invocation

if TYPE_CHECKING:
    from skerry.engine.errors import CallError
    from skerry.engine.instances import Filter, Reply
    from skerry.engine.open_calls import OpenCall


class ConcurrentInstance:
    """What answers many requests at once; a `FunctionInstance` to be derived from.

    No `ABC`, though it is one: each request is asked whether it is for such an instance, which takes those longer.

    Attributes:
        is_dead: it has failed in one of its calls, and so all have.
    """

    counted_bytes: int
    cpu_ns: int
    invocation: Invocation
    is_dead: bool

    @property
    def filter(self) -> "Filter | None":
        """As `PooledInstance` has it."""
        raise NotImplementedError

    @property
    def memory_bytes(self) -> int:
        """As `PooledInstance` has it."""
        raise NotImplementedError

    def stop(self, error: "CallError") -> None:
        """As `PooledInstance` has it."""
        raise NotImplementedError

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> "Reply":
        """As `FunctionInstance` has it; nobody else may have the instance."""
        raise NotImplementedError

    def settle(self, timeout_seconds: float) -> None:
        """As `FunctionInstance` has it, after `handle`."""
        raise NotImplementedError

    @property
    def may_be_joined(self) -> bool:
        """Whether it takes another request now, beside those that it has."""
        raise NotImplementedError

    def begin(self, request: HeldInvocation, message: tuple[bytes, bytes], timeout_seconds: float) -> "OpenCall":
        """Have a request answered, at once or later; otherwise as `handle`, with head and body of the message."""
        raise NotImplementedError
