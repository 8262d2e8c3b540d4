"""What a client is told of a request that came to nothing: status, kind and sentence.

The sentence is for whoever asked; what is for the function's author stands in the function's log (`serving`).
"""

from skerry.engine.errors import (
    CallError,
    ConcurrencyError,
    EngineError,
    FailureKind,
    OverloadedError,
    UnknownRevisionError,
)
from skerry.engine.http1 import Request, RequestError, error_bytes

_STATUS = {
    FailureKind.TRAP: 500,
    FailureKind.EXCEPTION: 500,
    FailureKind.MEMORY: 500,
    FailureKind.CPU_TIME: 500,
    FailureKind.TIMERS: 500,
    FailureKind.RESPONSE_TOO_LARGE: 500,
    FailureKind.LOAD: 500,
    FailureKind.BAD_RESPONSE: 500,
    FailureKind.TIMEOUT: 504,
    FailureKind.CONCURRENCY: 429,
    FailureKind.OVERLOADED: 503,
    FailureKind.BODY_TOO_LARGE: 413,
    FailureKind.UNKNOWN_REVISION: 404,
    FailureKind.ABANDONED: 499,
    FailureKind.LOST: 503,
}


def refused(request: Request | None, error: EngineError | RequestError) -> bytes:
    """Return the whole answer to a request that failed; to one that could not be read without a request."""
    return error_bytes(request, status_of(error), kind_of(error), sentence_of(error))


def kind_of(error: EngineError | RequestError) -> FailureKind:
    """Return what sort of failure an error is."""
    match error:
        case CallError() | RequestError():
            return error.kind
        case ConcurrencyError():
            return FailureKind.CONCURRENCY
        case OverloadedError():
            return FailureKind.OVERLOADED
        case UnknownRevisionError():
            return FailureKind.UNKNOWN_REVISION
        case _:
            return FailureKind.LOAD


def status_of(error: EngineError | RequestError) -> int:
    """Return the status of the answer to a request that failed."""
    return error.status if isinstance(error, RequestError) else _STATUS[kind_of(error)]


def sentence_of(error: EngineError | RequestError) -> str:
    """Return what the client is told of an error."""
    return error.message if isinstance(error, RequestError) else error.public
