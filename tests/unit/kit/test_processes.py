"""Supervised processes: shells of one line, which end as they are told."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from skerry.kit import processes
from skerry.kit.processes import SHORT_LIVES_MAX, Command, Supervised, supervise

SECONDS_MAX = 60.0
METRIC = "skerry_process_short_lives"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shell that ends at once count as one that did, however busy the machine is."""
    monkeypatch.setattr(processes, "HEALTHY_SECONDS", 20.0)


@contextlib.asynccontextmanager
async def running(script: str) -> AsyncIterator[Supervised]:
    async with supervise(Command("tried", ["/bin/sh", "-c", script], heard=True)) as process:
        yield process


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not is_so():  # noqa: ASYNC110 - another process' state: it can only be polled
            await asyncio.sleep(0.01)


async def test_a_process_that_ends_as_it_starts_tells_why_once_and_is_counted_until_its_block_ends():
    with capture_logs() as logged:
        async with running("echo the disk is gone >&2; exit 7") as process:
            await until(lambda: process.short_lives > SHORT_LIVES_MAX)
            assert process.failing.startswith("tried ended ")
            assert process.failing.endswith(
                "times in a row soon after its start, the last time with code 7: the disk is gone"
            )
            assert (REGISTRY.get_sample_value(METRIC, {"process": "tried"}) or 0) >= SHORT_LIVES_MAX
    assert REGISTRY.get_sample_value(METRIC, {"process": "tried"}) is None
    ends = [(entry["exit_code"], entry["said"]) for entry in logged if entry["event"].startswith("process ended")]
    assert ends == [(7, "the disk is gone")]


async def test_another_reason_is_told_again(tmp_path: Path):
    with capture_logs() as logged:
        script = f"echo x >> {tmp_path}/lives; test $(wc -l < {tmp_path}/lives) -gt 2 && exit 8; exit 7"
        async with running(script) as process:
            await until(lambda: process.short_lives > SHORT_LIVES_MAX)
    assert [entry["exit_code"] for entry in logged if entry["event"].startswith("process ended")] == [7, 8]


async def test_a_process_that_lives_again_is_said_to_and_its_words_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    told, heard = tmp_path / "told", ""
    # It ends at once until the file is there.
    script = f"echo looking >&2; test -e {told} || exit 1; echo here >&2; exec sleep 600"
    with capture_logs() as logged:
        async with running(script) as process:
            await until(lambda: process.failing)
            told.touch()
            monkeypatch.setattr(processes, "HEALTHY_SECONDS", 0.5)  # of lives that begin from now on, which last
            await until(lambda: not process.short_lives)
            assert not process.failing
            assert REGISTRY.get_sample_value(METRIC, {"process": "tried"}) == 0
            async with asyncio.timeout(SECONDS_MAX):
                while not heard.endswith("here\n"):
                    heard += capsys.readouterr().err
                    await asyncio.sleep(0.01)
    assert [entry["event"] for entry in logged] == ["process ended, starting it again", "process runs again"]
    # As the first life said it, and as this one did, once it was sure to live.
    assert heard == "looking\nlooking\nhere\n"


async def test_no_more_than_the_end_of_what_a_process_says_is_kept():
    async with running("yes too much | head -c 100000 >&2; echo the end >&2; exit 1") as process:
        await until(lambda: process.failing)
        assert process.failing.endswith("the end")


#: Hears SIGTERM, and goes on.
OBSTINATE = 'trap "" TERM; echo here >&2; while :; do sleep 0.05; done'


async def test_a_process_that_does_not_drain_is_killed_also_by_who_is_cancelled_meanwhile(
    capsys: pytest.CaptureFixture[str],
):
    heard, pids = "", list[int]()

    async def life() -> None:
        nonlocal heard
        command = Command("obstinate", ["/bin/sh", "-c", OBSTINATE], heard=True, drain_seconds=0.5, whole_group=True)
        async with supervise(command) as process:
            while "here" not in heard:
                heard += capsys.readouterr().err
                await asyncio.sleep(0.01)
            pids.append(process.pid or 0)
            asyncio.get_running_loop().call_soon(task.cancel)  # once it has left the block, and waits for the process

    task = asyncio.get_running_loop().create_task(life())
    async with asyncio.timeout(SECONDS_MAX):
        await asyncio.wait([task])
    assert task.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


#: Says more than a pipe holds when it is told to end.
TALKATIVE = """
trap 'head -c 300000 /dev/zero | tr "\\0" x; echo; echo drained; exit 0' TERM
echo here
while :; do sleep 0.05; done
"""


async def test_what_a_process_says_while_it_drains_is_heard(capsys: pytest.CaptureFixture[str]):
    heard = ""
    with capture_logs() as logged:
        async with supervise(Command("talkative", ["/bin/sh", "-c", TALKATIVE], heard=True, drain_seconds=120)):
            async with asyncio.timeout(SECONDS_MAX):
                while "here" not in heard:
                    heard += capsys.readouterr().err
                    await asyncio.sleep(0.01)
    assert capsys.readouterr().err.endswith("drained\n")
    assert logged == []
