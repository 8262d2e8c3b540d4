"""`wasi:io`: errors, pollables and streams.

A stream is any object with the methods of `Input` or `Output`; what it reads and writes is its own business. Nothing is
buffered here: a write is passed on at once, and waits in the host where it must.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from skerry.engine.components.guest import Guest, GuestEndedError, Pollable, always_ready, present_guest
from skerry.engine.components.imports import HostFunction
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.log_lines import LogLines

#: One read, and what a stream says it takes at once. A byte of a list takes 64 while it crosses.
PIECE_BYTES_MAX = 64 * 1024
#: One wait.
POLLABLES_MAX = 1_000


class StreamClosedError(Exception):
    """A stream is at its end."""


class StreamFailedError(Exception):
    """A stream can't go on: the sentence says why.

    Attributes:
        code: of `wasi:http/types`, `error-code`, as a variant; None where it has nothing to do with HTTP.
    """

    def __init__(self, message: str, code: tuple[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Input(Protocol):
    """What can be read."""

    def take(self, bytes_max: int) -> bytes:
        """Return what is there, at most so much; nothing where there is nothing yet.

        Raises:
            StreamClosedError: there is nothing more.
            StreamFailedError: the rest is lost.
        """
        ...

    def pollable(self) -> Pollable:
        """Return what is ready when `take` returns something or raises."""
        ...


class Output(Protocol):
    """What can be written to."""

    def put(self, data: bytes) -> None:
        """Take all of it; raises as `Input.take` does."""
        ...


class NoInput:
    """Standard input of a function: it has none."""

    def take(self, _bytes_max: int) -> bytes:
        """Say that nothing comes."""
        raise StreamClosedError

    def pollable(self) -> Pollable:
        """Return what is ready."""
        return always_ready()


class LogOutput:
    """Standard output or error of a function: its log. A guest may keep it for all of its calls.

    Args:
        lines_of: returns the lines of a guest's present call.
    """

    def __init__(self, lines_of: Callable[[Guest], LogLines]) -> None:
        self._lines_of = lines_of

    def put(self, data: bytes) -> None:
        """Log it, line by line."""
        self._lines_of(present_guest()).write(data)


def _failed(error: StreamClosedError | StreamFailedError) -> Err:
    if isinstance(error, StreamFailedError):
        return Err(("last-operation-failed", error))
    return Err(("closed", None))


def _read(_guest: Guest, stream: Input, length: int) -> Ok | Err:
    try:
        return Ok(stream.take(min(length, PIECE_BYTES_MAX)))
    except (StreamClosedError, StreamFailedError) as error:
        return _failed(error)


def _blocking_read(guest: Guest, stream: Input, length: int) -> Ok | Err:
    while True:
        answer = _read(guest, stream, length)
        if isinstance(answer, Err) or answer.value or not length:
            return answer
        guest.wait([stream.pollable()])


def _skip(guest: Guest, stream: Input, length: int) -> Ok | Err:
    answer = _read(guest, stream, length)
    return Ok(len(answer.value)) if isinstance(answer, Ok) else answer


def _blocking_skip(guest: Guest, stream: Input, length: int) -> Ok | Err:
    answer = _blocking_read(guest, stream, length)
    return Ok(len(answer.value)) if isinstance(answer, Ok) else answer


def _write(_guest: Guest, stream: Output, data: bytes) -> Ok | Err:
    try:
        stream.put(data)
    except (StreamClosedError, StreamFailedError) as error:
        return _failed(error)
    return Ok()


def _write_zeroes(guest: Guest, stream: Output, length: int) -> Ok | Err:
    if length > PIECE_BYTES_MAX:
        return Err(("last-operation-failed", StreamFailedError(f"one write takes {PIECE_BYTES_MAX} bytes at most")))
    return _write(guest, stream, bytes(length))


def _splice(guest: Guest, stream: Output, source: Input, length: int) -> Ok | Err:
    return _moved(guest, stream, _read(guest, source, length))


def _blocking_splice(guest: Guest, stream: Output, source: Input, length: int) -> Ok | Err:
    return _moved(guest, stream, _blocking_read(guest, source, length))


def _moved(guest: Guest, stream: Output, answer: Ok | Err) -> Ok | Err:
    if isinstance(answer, Ok):
        written = _write(guest, stream, answer.value)
        return Ok(len(answer.value)) if isinstance(written, Ok) else written
    return answer


def _done(_guest: Guest, _stream: Output) -> Ok:
    return Ok()


def _poll(guest: Guest, pollables: list[Pollable]) -> list[int]:
    if not 1 <= len(pollables) <= POLLABLES_MAX:
        message = f"a wait is for 1 to {POLLABLES_MAX} pollables, not {len(pollables)}"
        raise GuestEndedError(CallError(FailureKind.TRAP, message))
    return guest.wait(pollables)


def _block(guest: Guest, pollable: Pollable) -> None:
    guest.wait([pollable])


FUNCTIONS: Mapping[str, Mapping[str, HostFunction]] = {
    "wasi:io/error": {"[method]error.to-debug-string": lambda _guest, error: error.message},
    "wasi:io/poll": {
        "[method]pollable.ready": lambda _guest, pollable: pollable.is_ready(),
        "[method]pollable.block": _block,
        "poll": _poll,
    },
    "wasi:io/streams": {
        "[method]input-stream.read": _read,
        "[method]input-stream.blocking-read": _blocking_read,
        "[method]input-stream.skip": _skip,
        "[method]input-stream.blocking-skip": _blocking_skip,
        "[method]input-stream.subscribe": lambda _guest, stream: stream.pollable(),
        "[method]output-stream.check-write": lambda _guest, _stream: Ok(PIECE_BYTES_MAX),
        "[method]output-stream.write": _write,
        "[method]output-stream.blocking-write-and-flush": _write,
        "[method]output-stream.flush": _done,
        "[method]output-stream.blocking-flush": _done,
        "[method]output-stream.subscribe": lambda _guest, _stream: always_ready(),
        "[method]output-stream.write-zeroes": _write_zeroes,
        "[method]output-stream.blocking-write-zeroes-and-flush": _write_zeroes,
        "[method]output-stream.splice": _splice,
        "[method]output-stream.blocking-splice": _blocking_splice,
    },
}
