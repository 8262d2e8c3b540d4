"""What travels to a function and back: a payload, and the context around it.

Source: Dispatch's Context, Message, Runnable and Middleware.
"""

import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, TypeAlias

import orjson

from skerry.functions.errors import SystemError  # noqa: A004 - see errors
from skerry.kit.clock import from_rfc3339, rfc3339_milli
from skerry.kit.deadlines import Limit

#: What a function is told beside its payload, by the keys below. JSON, but for what middleware adds for middleware.
Context: TypeAlias = dict[str, Any]

LOGS_KEY = "logs"
START_KEY = "start"
EVENT_KEY = "event"
HTTP_CONTEXT_KEY = "httpContext"
#: Name to value, of all secrets of the function and the run; later secrets win.
SECRETS_KEY = "secrets"
#: Name of a service instance to its binding's name to value.
SERVICE_BINDINGS_KEY = "serviceBindings"
#: When the run must have ended, as RFC 3339.
DEADLINE_KEY = "deadline"
#: The run's span, and what tracing systems say of its trace (W3C Trace Context): to be sent on as headers.
TRACEPARENT_KEY = "traceparent"
TRACESTATE_KEY = "tracestate"
ERROR_KEY = "error"
#: In the context of an answer: how long the call took, a float, where the instance tells.
SECONDS_KEY = "seconds"
#: What is of this side alone, and not sent to functions.
_OURS = frozenset({LOGS_KEY, START_KEY})

#: A step of a run: takes context and payload, returns the output, raises an InvocationError.
Runnable: TypeAlias = Callable[[Context, Any], Awaitable[Any]]
#: Wraps a step in another.
Middleware: TypeAlias = Callable[[Runnable], Runnable]


@dataclass
class Message:
    """A payload in its context, as it is sent to a function's runtime and comes back."""

    context: Context
    payload: Any

    def as_object(self) -> dict[str, Any]:
        """Give the message as runtimes read it: `{"context": {}, "payload": any}`."""
        return {"context": self.context, "payload": self.payload}

    def as_json(self) -> bytes:
        """Give the message as it is sent; raises SystemError where it is no JSON."""
        try:
            return orjson.dumps(self.as_object(), option=orjson.OPT_NON_STR_KEYS)
        except TypeError as error:
            raise SystemError(f"the message to the function is no JSON: {error}") from error


@dataclass
class Logs:
    """What a function prints in a run, by lines: drivers add them as they come.

    To follow them, put an object of a class of your own, which overrides `extend`, into the context (`LOGS_KEY`).
    """

    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    def extend(self, stdout: Iterable[str], stderr: Iterable[str]) -> None:
        """Add lines at the end."""
        self.stdout.extend(stdout)
        self.stderr.extend(stderr)

    def as_object(self) -> dict[str, list[str]]:
        """Give the logs as runs carry them: `{"stdout": [str], "stderr": [str]}`."""
        return {"stdout": self.stdout, "stderr": self.stderr}


def logs_of(context: Context) -> Logs:
    """Give the logs of a context, to read or to add to; they are made where there are none.

    A driver calls it with what the function prints, whether the run fails or not.
    """
    logs = context.get(LOGS_KEY)
    if not isinstance(logs, Logs):
        logs = context[LOGS_KEY] = Logs()
    return logs


@dataclass
class CallStart:
    """How a call came to an instance of its function; its driver tells what it knows of that.

    Attributes:
        waited_seconds: for its turn.
        cold_starts: instances that were started for it.
        limit: ends the call when its time is up; None where it has as much as it takes.
        held_up_seconds: for its turn, and for an instance to start: no part of its time.
    """

    waited_seconds: float = 0.0
    cold_starts: int = 0
    limit: Limit | None = None
    held_up_seconds: float = 0.0

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let none of the call's time go by while the block runs: its function has not begun."""
        since_seconds = time.monotonic()
        try:
            with self.limit.still() if self.limit else nullcontext():
                yield
        finally:
            self.held_up_seconds += time.monotonic() - since_seconds


def start_of(context: Context) -> CallStart:
    """Give what a context tells of its call's start, to read or to add to; it is made where there is none."""
    start = context.get(START_KEY)
    if not isinstance(start, CallStart):
        start = context[START_KEY] = CallStart()
    return start


def told(context: Context) -> Context:
    """Give what a function is told of a context: all but its logs and its start, which are of this side.

    Its deadline is as much later as the call was held up by now.
    """
    of_function = {key: value for key, value in context.items() if key not in _OURS}
    start = context.get(START_KEY)
    if isinstance(start, CallStart) and start.held_up_seconds and DEADLINE_KEY in context:
        of_function[DEADLINE_KEY] = _later(context[DEADLINE_KEY], start.held_up_seconds)
    return of_function


def _later(moment: Any, seconds: float) -> Any:
    """Return a moment, as RFC 3339, some time later; what is none stays as whoever made the context gave it."""
    try:
        return rfc3339_milli(from_rfc3339(moment) + dt.timedelta(seconds=seconds))
    except (TypeError, ValueError):
        return moment


def compose(*middlewares: Middleware) -> Middleware:
    """Make one middleware of several: the first is outermost, so it sees the input first and the output last."""

    def composed(runnable: Runnable) -> Runnable:
        return reduce(lambda inner, middleware: middleware(inner), reversed(middlewares), runnable)

    return composed
