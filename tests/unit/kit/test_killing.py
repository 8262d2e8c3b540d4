"""Processes that are killed with all that they started."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from skerry.kit import killing
from skerry.kit.killing import kill_group


async def started(script: str) -> tuple[asyncio.subprocess.Process, int]:
    """Return a shell, and the number that it prints first."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return process, int(await process.stdout.readline())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_process_ends_with_what_it_started_however_much_it_has_to_say() -> None:
    process, child = await started("yes & echo $!; wait")
    async with asyncio.timeout(60):
        await kill_group(process, "talkative")
        assert process.returncode == -signal.SIGKILL
        while is_alive(child):  # noqa: ASYNC110 - somebody else's child by now: it can only be polled
            await asyncio.sleep(0.01)


async def test_a_process_is_not_waited_for_whose_pipe_another_one_holds_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "KILLED_SECONDS_MAX", 0.2)
    process, other = await started("setsid sh -c 'echo $$; exec sleep 600' & wait")
    try:
        async with asyncio.timeout(60):
            await kill_group(process, "held")
        assert is_alive(other)
    finally:
        os.kill(other, signal.SIGKILL)
        async with asyncio.timeout(60):
            await process.wait()


async def test_one_that_has_ended_is_fine() -> None:
    process, _ = await started("echo 1")
    async with asyncio.timeout(60):
        await process.wait()
        await kill_group(process, "ended")
    assert process.returncode == 0
