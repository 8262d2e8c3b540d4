"""What containers print: their engine keeps the lines, each with its time, which tells what was told already."""

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal

from skerry.agent.member.errors import ApplicationError
from skerry.fleet.log_wishes import LogWish
from skerry.kit.clock import SystemClock, from_rfc3339

#: How often an engine is asked for what came. It can stream, too, but then every follower would hold a thread.
LOOK_SECONDS = 1.0
#: Lines of one time may come in two looks, so each look begins a little before the end of the one before.
OVERLAP_SECONDS = 1.0

Tail = int | Literal["all"]
Lines = Callable[[float | None, Tail], Awaitable[list[bytes]]]
"""Returns lines with their times, not older than a moment (seconds since 1970), and so many of the newest."""


async def printed_by(lines: Lines, wish: LogWish, goes_on: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Yield what a container printed, and what it prints while it goes on; raises ApplicationError."""
    if wish.previous:
        raise ApplicationError("a container that is started again goes on with its log: there is none from before")
    since = None
    if wish.since_seconds is not None:  # the engine's clock is this machine's
        since = (SystemClock().now() - dt.timedelta(seconds=wish.since_seconds)).timestamp()
    tail: Tail = "all" if wish.tail_lines is None else wish.tail_lines
    told = b""
    while True:
        last = not wish.follow or not goes_on()
        new = [line for line in await lines(since, tail) if line.partition(b" ")[0] > told]
        for line in new:
            yield line if wish.timestamps else line.partition(b" ")[2]
        if new:
            told, tail = new[-1].partition(b" ")[0], "all"
            since = from_rfc3339(told.decode()).timestamp() - OVERLAP_SECONDS
        if last:
            return
        await asyncio.sleep(LOOK_SECONDS)
