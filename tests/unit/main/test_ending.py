"""Processes that are told to stop, and end, whatever hangs in them."""

import asyncio
import signal
import sys

import pytest

#: Prints "ready" once its signals are heard, and does then what a test says.
PROCESS = """
import asyncio, ctypes, threading, time
from skerry.main import ending

ending.TELL_SECONDS, ending.LAST_SECONDS = {tell}, {last}

async def main():
    with ending.ended_by_signals({seconds_max}) as told:
        print("ready", flush=True)
{life}

asyncio.run(main())
print("ended", flush=True)
{after}
"""

#: A cancellation that is lost as a library tidies up.
LOST = """
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""
ORDERLY = "        await asyncio.Event().wait()"


async def ended(life: str, *, tell: float = 600.0, last: float = 600.0, limit: float = 600.0, after: str = ""):
    """Return the exit code of such a process, and what it printed, once it was told to stop."""
    program = PROCESS.format(tell=tell, last=last, seconds_max=limit, life=life, after=after)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    async with asyncio.timeout(120):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        printed = (await process.stdout.read()).decode()
        return await process.wait(), printed


async def test_a_process_that_is_told_to_stop_ends_without_an_error():
    assert await ended(ORDERLY) == (0, "ended\n")


async def test_a_process_that_was_told_to_stop_knows_though_its_cancellation_was_lost():
    assert await ended(f"{LOST}        await told.wait()") == (0, "ended\n")


async def test_an_end_that_takes_too_long_tells_what_still_runs_and_is_cut_short():
    hangs = f"{LOST}        await asyncio.Event().wait()"
    code, printed = await ended(hangs, tell=0.1, limit=0.3)
    assert code == 1
    assert printed.index("still ending") < printed.index("the end took too long, ending at once")
    assert "task Task-1 at asyncio/locks.py" in printed
    assert "ended\n" not in printed


@pytest.mark.parametrize(
    "after", ["", "threading.Thread(target=time.sleep, args=(3600,)).start()"], ids=["loop", "thread"]
)
async def test_an_end_is_cut_short_where_the_loop_or_a_thread_hangs(after: str):
    life = ORDERLY if after else f"{LOST}        time.sleep(3600)"
    code, printed = await ended(life, limit=0.3, after=after)
    assert code == 1
    assert "thread MainThread at " in printed


async def test_an_end_is_cut_short_where_no_line_of_python_runs_any_more():
    holds_the_interpreter = f"{LOST}        ctypes.PyDLL(None).sleep(3600)"
    code, _ = await ended(holds_the_interpreter, limit=0.2, last=0.1)
    assert code == -signal.SIGALRM
