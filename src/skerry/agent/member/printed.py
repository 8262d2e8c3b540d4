"""What instances print, read from the files in which it is kept: the end of one, and what comes.

A file is kept at a size by emptying it (`kit.processes.bound_output`), with what it held beside it: who follows goes on
from its start. The files of programs have lines, and no times.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from skerry.agent.member.errors import ApplicationError
from skerry.fleet.log_wishes import LogWish
from skerry.kit.tasks import run_blocking

#: What is read at once, and told in one frame.
PART_BYTES_MAX = 64 * 1024
#: How often a file that is followed is looked at.
LOOK_SECONDS = 0.5


async def printed_in(
    path: Path, wish: LogWish, goes_on: Callable[[], bool], executor: Executor
) -> AsyncGenerator[bytes, None]:
    """Yield what a file holds, and what comes as long as its instance goes on.

    Args:
        path: the file.
        wish: which lines.
        goes_on: tells whether the instance may still print.
        executor: for the file.

    Raises:
        ApplicationError: there is no such log, or it does not tell what is wished for.
    """
    if wish.timestamps or wish.since_seconds is not None:
        raise ApplicationError("the lines of a program's log have no times: timestamps and sinceSeconds can't be had")
    if wish.previous:
        path = path.with_name(f"{path.name}.1")
        if not await run_blocking(executor, path.exists):
            raise ApplicationError("its log was not begun anew: there is none from before")
    place = await run_blocking(executor, partial(_begin, path, wish.tail_lines))
    while True:
        last = not wish.follow or wish.previous or not goes_on()
        while part := await run_blocking(executor, partial(_read, path, place)):
            place += len(part)
            yield part
        if last:
            return
        await asyncio.sleep(LOOK_SECONDS)
        if await run_blocking(executor, partial(_size, path)) < place:
            place = 0  # it was emptied


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _begin(path: Path, tail_lines: int | None) -> int:
    """Return where the newest lines begin; of an instance that has not printed yet there is no file."""
    if tail_lines is None or not path.exists():
        return 0
    with path.open("rb") as file:
        return _start_of_last_lines(partial(_part_before, file), path.stat().st_size, tail_lines)


def _part_before(file: BinaryIO, end: int) -> bytes:
    begin = max(0, end - PART_BYTES_MAX)
    file.seek(begin)
    return file.read(end - begin)


def _start_of_last_lines(part_before: Callable[[int], bytes], size: int, lines: int) -> int:
    """Return where the last lines begin, looking from the end back, a part at a time."""
    if lines == 0:
        return size
    end, wanted = size, lines
    while end > 0:
        part = part_before(end)
        # The newline that ends the last line begins no other.
        breaks = part[:-1] if end == size and part.endswith(b"\n") else part
        place = len(breaks)
        while wanted and (place := breaks.rfind(b"\n", 0, place)) >= 0:
            wanted -= 1
        if not wanted:
            return end - len(part) + place + 1
        end -= len(part)
    return 0


def _read(path: Path, place: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(PART_BYTES_MAX)
    except FileNotFoundError:
        return b""
