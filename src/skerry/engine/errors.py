"""What can go wrong when code runs.

    SkerryError
    └── EngineError
        ├── LoadError           a bundle throws while it loads, has no handler, or its binary does not link
        ├── CallError           a call failed: `kind` says how; its instance is discarded
        ├── OverloadedError     every instance that the limits allow is busy, and so is the queue for one
        └── UnknownRevisionError  no manifest names this revision

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
    LOAD = "load"
    OVERLOADED = "overloaded"
    UNKNOWN_REVISION = "unknown-revision"
    BODY_TOO_LARGE = "body-too-large"
    BAD_REQUEST = "bad-request"
    BAD_RESPONSE = "bad-response"


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
    """

    def __init__(self, kind: FailureKind, message: str, *, stack: str = "") -> None:
        super().__init__(message, detail=stack)
        self.kind = kind
        self.message = message
        self.stack = stack


class OverloadedError(EngineError):
    """No instance became free in time."""


class UnknownRevisionError(EngineError):
    """No manifest of this name is in the functions directory."""
