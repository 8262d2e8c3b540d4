"""Ends that come: tasks that are cancelled end, and what tidies up is not cut short by that.

Owns how tasks are ended (`ended`), how something is tidied up (`to_its_end`) or started so that nothing of it is left
where its caller is cancelled (`begun`), and what can be said of a process that does not come to its end
(`still_running`). Does not own what the tasks do.

Invariant: neither waits for ever without telling for whom. A cancellation is asked for once and can get lost in the
task: a library that cancels by itself takes it for its own, or a failure is raised in its place. So it is asked for
again.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: A cancelled task that tidies up for longer than this is told of, and cancelled again: longer than anything drains.
CANCEL_AGAIN_SECONDS = 45.0
#: How long it may take until what was begun for a caller that is cancelled is there, and undone.
UNDONE_SECONDS_MAX = 40.0
#: Tasks and threads that are told of; who waits for them is among the others.
TOLD_MAX = 40

T = TypeVar("T")


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their ends; those that go on are told of and cancelled again."""
    going_on = {task for task in tasks if not task.done()}
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=CANCEL_AGAIN_SECONDS)
        if going_on:
            told = [described(task) for task in islice(going_on, TOLD_MAX)]
            log.warning("cancelled tasks go on, cancelling them again", seconds=CANCEL_AGAIN_SECONDS, running=told)


async def to_its_end(name: str, work: Coroutine[Any, Any, None], *, seconds_max: float) -> None:
    """Tidy something up, also where the caller is cancelled meanwhile: that waits until the work has ended.

    The work has a task of its own, in which time limits work that would not in one that is being cancelled (CPython
    issue 102780, before 3.11.3).

    Args:
        name: for the log, and of the task.
        work: what tidies up; it should end by itself well before the limit.
        seconds_max: after which it is given up, and told of.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)
    until_seconds, left_seconds = loop.time() + seconds_max, seconds_max
    cancellation: asyncio.CancelledError | None = None
    while not task.done() and left_seconds > 0:  # it has begun, however late this process is
        try:
            await asyncio.wait([task], timeout=left_seconds)
        except asyncio.CancelledError as error:
            cancellation = error
        left_seconds = until_seconds - loop.time()
    if not task.done():
        log.warning("tidying up took too long and is given up", running=described(task), seconds=seconds_max)
        task.cancel()
    elif cancellation is None or task.exception() is not None:
        task.result()
    if cancellation is not None:
        raise cancellation


async def begun(name: str, begin: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[None]]) -> T:
    """Begin something; where the caller is cancelled meanwhile, that waits until it has begun, and is undone.

    What is cancelled as it begins may be there without anybody who knows it: a process, a connection.

    Args:
        name: for the log, and of the task.
        begin: takes a moment, and returns what it began.
        undo: ends that.
    """
    beginning = asyncio.get_running_loop().create_task(begin, name=name)
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        await to_its_end(f"undo:{name}", _undone(beginning, undo), seconds_max=UNDONE_SECONDS_MAX)
        raise


async def _undone(beginning: asyncio.Task[T], undo: Callable[[T], Awaitable[None]]) -> None:
    await asyncio.wait([beginning])
    if not beginning.cancelled() and beginning.exception() is None:
        await undo(beginning.result())


def still_running(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Say what a process still does: each task of its loop and each thread, with the line that it is at."""
    return [*islice(_running(loop), TOLD_MAX)]


def _running(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    frames = sys._current_frames()  # noqa: SLF001 - there is no other way to look at a thread
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and thread is not threading.current_thread():
            yield f"thread {thread.name}{_line(frame)}"
    yield from map(described, asyncio.all_tasks(loop))


def described(task: asyncio.Task[Any]) -> str:
    """Return a task's name and the line that it waits at."""
    awaited: Any = task.get_coro()
    frame: FrameType | None = None
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None) or frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return f"task {task.get_name()}{_line(frame)}"


def _line(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    file = Path(frame.f_code.co_filename)
    return f" at {file.parent.name}/{file.name}:{frame.f_lineno} {frame.f_code.co_name}"
