"""The `log` subresource: lines of text from whoever keeps them. Does not own where logs are."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from skerry.server.kube.options import Query, flag, number
from skerry.server.verbs.requests import Target

#: Lines that are told at most before following.
TAIL_LINES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines.

    Attributes:
        follow: go on with new lines until the caller leaves.
        tail_lines: begin with this many of the newest; None for all that are kept.
        since_seconds: only lines not older than this.
    """

    follow: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None


class LogReader(Protocol):
    """Who keeps the logs of objects."""

    def read(self, target: Target, query: LogQuery) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Open the lines of an object, oldest first, without their newlines.

        Raises:
            ApiError: there are none to be had.
        """
        ...


def log_query(query: Query) -> LogQuery:
    """Read the options of a log; raises BadRequest."""
    tail = min(number(query, "tailLines"), TAIL_LINES_MAX) if "tailLines" in query else None
    since = number(query, "sinceSeconds") if "sinceSeconds" in query else None
    return LogQuery(flag(query, "follow"), tail, since)


@asynccontextmanager
async def log_parts(reader: LogReader, target: Target, query: LogQuery) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open an object's log as the bytes of an answer."""
    async with reader.read(target, query) as lines, aclosing(_encoded(lines)) as parts:
        yield parts


async def _encoded(lines: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
    async for line in lines:
        yield line.encode(errors="replace") + b"\n"
