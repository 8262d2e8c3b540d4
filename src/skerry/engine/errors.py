"""What can go wrong when code runs.

    SkerryError
    └── EngineError
        ├── LoadError           a bundle throws while it loads, has no handler, or its binary does not link
        ├── CallError           a call failed: `kind` says how; its instance is discarded
        ├── OverloadedError     the worker has no room for another instance
        ├── ConcurrencyError    the function has as many requests as it may, and so has the queue of those that wait
        ├── UnknownRevisionError  no manifest names this revision
        └── UnreadableBodyError   a filter can't read the body of the message that it sees

Each kind is one value of the `x-skerry-error` header of the answer that `worker` gives (docs/reference).
"""

import enum

from skerry.kit.errors import SkerryError


class FailureKind(enum.StrEnum):
    """How a request failed inside the engine, as the `x-skerry-error` header spells it."""

    TRAP = "trap"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU_TIME = "cpu-time"
    LOAD = "load"
    CONCURRENCY = "concurrency"
    OVERLOADED = "overloaded"
    UNKNOWN_REVISION = "unknown-revision"
    BODY_TOO_LARGE = "body-too-large"
    BAD_REQUEST = "bad-request"
    BAD_RESPONSE = "bad-response"
    RESPONSE_TOO_LARGE = "response-too-large"
    TIMERS = "timers"
    NOT_IMPLEMENTED = "not-implemented"
    ABANDONED = "abandoned"
    LOST = "lost"


class EngineError(SkerryError):
    """A failure of the engine room."""


class LoadError(EngineError):
    """A function's code cannot be loaded.

    Attributes:
        message: what the engine said, such as "ReferenceError: x is not defined".
        line: 1-based line in the bundle, or None where the engine gave none.
        column: 1-based column in the bundle, or None.
        stack: frames as the engine writes them; may be empty.
    """

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None, stack: str = "") -> None:
        super().__init__(message, detail=stack)
        self.message = message
        self.line = line
        self.column = column
        self.stack = stack


class CallError(EngineError):
    """A call ended without a response.

    Attributes:
        kind: how it failed.
        message: one sentence for the caller.
        stack: JavaScript frames for the function's log; may be empty.
        lets_pass: whether the function had asked for `ctx.passThroughOnException`.
    """

    def __init__(self, kind: FailureKind, message: str, *, stack: str = "", lets_pass: bool = False) -> None:
        super().__init__(message, detail=stack)
        self.kind = kind
        self.message = message
        self.stack = stack
        self.lets_pass = lets_pass


class OverloadedError(EngineError):
    """The worker has no room for another instance."""


class ConcurrencyError(EngineError):
    """A function has as many requests at once as it may."""


class UnknownRevisionError(EngineError):
    """No manifest of this name is in the functions directory."""


class UnreadableBodyError(EngineError):
    """The body of a message that a filter sees can't be read; the message is for the function's author."""
