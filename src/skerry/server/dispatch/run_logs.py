"""What runs print: as it is now, or as it comes, in server-sent events.

An event `stdout` or `stderr` is a line, `{"line": str}`; the last one is `end`, `{"status": str}`. The id of an event
is the place after it, which who comes back sends in `Last-Event-ID`. Source of the form:
https://html.spec.whatwg.org/#server-sent-events.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol

import orjson

from skerry.api.dispatch_v1 import RUN
from skerry.api.errors import BadRequest
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.runs import named_run
from skerry.server.http import Answer, Streaming
from skerry.server.operations import json

#: A stream ends after this time; who still wants it comes back with the last id.
STREAM_SECONDS_MAX = 3600.0
_EVENTS = "text/event-stream"
_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


class Part(Protocol):
    """Lines that came, and how far that is; without lines and without a state, the run goes on in silence."""

    @property
    def place(self) -> tuple[int, int, int]:
        """The attempt, and how many lines of stdout and of stderr there were of it."""
        ...

    @property
    def stdout(self) -> Sequence[str]:
        """Lines of standard output."""
        ...

    @property
    def stderr(self) -> Sequence[str]:
        """Lines of standard error."""
        ...

    @property
    def state(self) -> str:
        """How the run ended; "" while it goes on."""
        ...


class Following(Protocol):
    """Has runs followed."""

    async def after(self, namespace: str, run: str, place: tuple[int, int, int]) -> Part:
        """Return the lines after a place that are there now."""
        ...

    def follow(
        self, namespace: str, run: str, place: tuple[int, int, int]
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """Follow a run from a place on; raises TooManyRequests on entry."""
        ...


class PrintedLines:
    """The handler of what runs print.

    Args:
        following: has runs followed.
    """

    def __init__(self, following: Following) -> None:
        self._following = following

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [Operation("GET", "/v1/runs/{name}/logs", "get", RUN, self.get)]

    async def get(self, asked: Asked) -> Answer:
        """Return what a run has printed, or stream it with `follow=true`."""
        run = await named_run(asked)
        if asked.query("follow") not in {"true", "1"}:
            part = await self._following.after(run.namespace, run.name, (0, 0, 0))
            return json({"stdout": part.stdout, "stderr": part.stderr})
        place = _place(asked.request.header(b"last-event-id"))
        parts = self._following.follow(run.namespace, run.name, place)
        return Streaming(_events(parts), STREAM_SECONDS_MAX, _EVENTS)


def _place(given: str) -> tuple[int, int, int]:
    if not given:
        return 0, 0, 0
    found = _PLACE.fullmatch(given)
    if found is None:
        raise BadRequest(f"Last-Event-ID: {given[:50]!r} is no id of these events, such as 1.20.3")
    return int(found[1]), int(found[2]), int(found[3])


@asynccontextmanager
async def _events(
    parts: AbstractAsyncContextManager[AsyncIterator[Part]],
) -> AsyncIterator[AsyncIterator[bytes]]:
    async with parts as found, aclosing(_written(found)) as written:
        yield written


async def _written(parts: AsyncIterator[Part]) -> AsyncGenerator[bytes, None]:
    async for part in parts:
        yield b"".join(_part(part)) or b":\n\n"  # a comment, so that a client that is gone is noticed


def _part(part: Part) -> list[bytes]:
    attempt, stdout, stderr = part.place
    out, err = stdout - len(part.stdout), stderr - len(part.stderr)
    events = [_event("stdout", {"line": line}, f"{attempt}.{out + n}.{err}") for n, line in enumerate(part.stdout, 1)]
    events += [
        _event("stderr", {"line": line}, f"{attempt}.{stdout}.{err + n}") for n, line in enumerate(part.stderr, 1)
    ]
    if part.state:
        events.append(_event("end", {"status": part.state}, f"{attempt}.{stdout}.{stderr}"))
    return events


def _event(name: str, data: dict[str, str], place: str) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place.encode(), name.encode(), orjson.dumps(data))
