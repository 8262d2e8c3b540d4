"""The `log` subresource: lines of text from whoever keeps them. Does not own where logs are."""

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from skerry.api.errors import BadRequest
from skerry.kit.clock import from_rfc3339
from skerry.server.kube.options import Query, flag, number
from skerry.server.verbs.requests import Target

#: Lines that are told at most before following.
TAIL_LINES_MAX = 100_000
#: From the least to the worst.
LEVELS = ("debug", "info", "warn", "error")
REQUEST_ID_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines, and how they are told.

    Attributes:
        follow: go on with new lines until the caller leaves.
        tail_lines: begin with this many of the newest; None for all that are kept.
        since_seconds: only lines not older than this.
        since_time: only lines of this moment or later.
        timestamps: put its time before each line.
        limit_bytes: end after this many bytes, maybe within a line.
        level: only lines as bad as this or worse, one of `LEVELS`; ours.
        request_id: only lines of the request whose id begins so; ours.
    """

    follow: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: dt.datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    level: str | None = None
    request_id: str | None = None


class LogLine(NamedTuple):
    """One line, and when it was written (RFC 3339; "" where nobody knows)."""

    time: str
    text: str


class LogReader(Protocol):
    """Who keeps the logs of objects."""

    def read(self, target: Target, query: LogQuery) -> AbstractAsyncContextManager[AsyncIterator[LogLine]]:
        """Open the lines of an object, oldest first, without their newlines.

        Raises:
            ApiError: there are none to be had.
        """
        ...


def log_query(query: Query) -> LogQuery:
    """Read the options of a log, named as those of Kubernetes' pods; raises BadRequest that names the wrong one."""
    if "sinceSeconds" in query and "sinceTime" in query:
        raise BadRequest("sinceTime: at most one of sinceTime and sinceSeconds may be given")
    request_id = query.get("requestId") or None
    if request_id and len(request_id) > REQUEST_ID_CHARACTERS_MAX:
        raise BadRequest(f"requestId: must be no more than {REQUEST_ID_CHARACTERS_MAX} characters")
    return LogQuery(
        follow=flag(query, "follow"),
        tail_lines=min(number(query, "tailLines"), TAIL_LINES_MAX) if "tailLines" in query else None,
        since_seconds=_positive(query, "sinceSeconds"),
        since_time=_moment(query, "sinceTime"),
        timestamps=flag(query, "timestamps"),
        limit_bytes=_positive(query, "limitBytes"),
        level=_level(query),
        request_id=request_id,
    )


def _positive(query: Query, name: str) -> int | None:
    if name not in query:
        return None
    given = number(query, name)
    if given < 1:
        raise BadRequest(f'{name}: invalid value "{query[name]}": must be greater than 0')
    return given


def _moment(query: Query, name: str) -> dt.datetime | None:
    if name not in query:
        return None
    try:
        return from_rfc3339(query[name])
    except ValueError as error:
        accepted = "must be a time as RFC 3339 has it, such as 2026-01-31T08:00:00Z"
        raise BadRequest(f'{name}: invalid value "{query[name]}": {accepted}') from error


def _level(query: Query) -> str | None:
    given = query.get("level") or None
    if given is not None and given not in LEVELS:
        raise BadRequest(f'level: unsupported value "{given}"; supported are {", ".join(LEVELS)}')
    return given


@asynccontextmanager
async def log_parts(reader: LogReader, target: Target, query: LogQuery) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open an object's log as the bytes of an answer."""
    async with reader.read(target, query) as lines, aclosing(_encoded(lines, query)) as parts:
        yield parts


async def _encoded(lines: AsyncIterator[LogLine], query: LogQuery) -> AsyncGenerator[bytes, None]:
    left = query.limit_bytes
    async for line in lines:
        text = f"{line.time} {line.text}\n" if query.timestamps else f"{line.text}\n"
        part = text.encode(errors="replace")
        if left is not None and len(part) >= left:
            yield part[:left]
            return
        left = None if left is None else left - len(part)
        yield part
