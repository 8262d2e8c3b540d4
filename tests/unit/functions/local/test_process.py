"""A function's process as it starts: whatever comes between, nothing of it is left."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from skerry.functions.local.process import FunctionProcess, Program

#: More than a start takes until it waits for the function.
TURNS_MAX = 14
#: No start of a process makes one; libraries close theirs when they come to it.
EVENT_COUNTER = Path("anon_inode:[eventfd]")


def descriptors() -> dict[str, Path]:
    """Return what this process has open, but for that by which threads of what earlier tests ran wake each other."""
    found: dict[str, Path] = {}
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of the listing itself
            found[each.name] = each.readlink()
    return {number: opened for number, opened in found.items() if opened != EVENT_COUNTER}


@pytest.mark.parametrize("command", [("{fd}",), ("{fd}", "{messages}")])
@pytest.mark.parametrize("again", [None, 0, 1, 2])
async def test_a_start_that_is_cancelled_leaves_nothing_whenever_that_comes_and_how_often(
    command: tuple[str, ...], again: int | None, tmp_path: Path
) -> None:
    program = Program(("/bin/sh", "-c", f"echo $$ >> {tmp_path}/ids; exec sleep 600", *command), Path("/"))
    before = descriptors()
    for turns in range(TURNS_MAX):
        starting = asyncio.ensure_future(FunctionProcess.start(program))
        await turns_of_the_loop(turns)
        starting.cancel()
        if again is not None:
            await turns_of_the_loop(again)
            starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled()
        await turns_of_the_loop(2)  # in which asyncio closes what it was told to close
        assert not descriptors().items() - before.items()  # what earlier tests left may go meanwhile
    ids = tmp_path / "ids"
    for process in ids.read_text().split() if ids.exists() else ():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


async def turns_of_the_loop(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
