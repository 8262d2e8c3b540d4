"""A function's process with several messages at hand: one after the other begins, the others can be taken back."""

import asyncio
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.functions import (
    Exec,
    Function,
    FunctionExecution,
    Runner,
    SystemError,  # noqa: A004
)
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.message_queue import PACKET_BYTES_MAX, NotBegun
from skerry.functions.local.process import FunctionProcess
from skerry.functions.local.python import PythonRuntime
from skerry.functions.messages import Logs, Message

#: Does what its payload asks for, in this order; "wait" tells by a file that it has begun, and waits for another one.
SOURCE = textwrap.dedent(
    """
    import os, subprocess, sys, threading, time

    def babble():
        while True:
            os.write(1, b"and on\\n")

    def handle(context, payload):
        for deed, what in payload.items():
            if deed == "print":
                print("out", what)
                print("err", what, file=sys.stderr)
                os.write(1, f"from below {what}\\n".encode())
                os.write(2, f"from the end {what}".encode())
            elif deed == "spawn":
                subprocess.run(["echo", f"from a child {what}"])
            elif deed == "wait":
                open(what + "/begun", "w").close()
                while not os.path.exists(what + "/go-on"):
                    time.sleep(0.01)
            elif deed == "die":
                os._exit(7)
            elif deed == "babble":
                threading.Thread(target=babble, daemon=True).start()
        return payload
    """
)
SECONDS_MAX = 60.0


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[FunctionProcess]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "hello.py").write_text(SOURCE)
    process = await PythonRuntime().start(tmp_path, "hello.handle")
    try:
        yield process
    finally:
        await process.kill()


def call(process: FunctionProcess, logs: Logs | None = None, **payload: Any) -> asyncio.Task[Message]:
    return asyncio.ensure_future(process.call(Message({}, payload), Logs() if logs is None else logs))


async def begun(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)


async def test_messages_are_answered_in_their_order(process: FunctionProcess) -> None:
    calls = [call(process, number=number) for number in range(process.calls_max)]
    assert [(await answer).payload["number"] for answer in calls] == list(range(process.calls_max))


async def test_a_message_that_is_no_packet_arrives_among_others(process: FunctionProcess) -> None:
    sizes = [1, PACKET_BYTES_MAX, 3 << 20, 2, 12 << 20, 3]
    calls = [call(process, text="x" * size) for size in sizes]
    assert [len((await answer).payload["text"]) for answer in calls] == sizes


async def test_what_is_printed_is_of_its_run_wherever_it_comes_from(process: FunctionProcess) -> None:
    logs = [Logs() for _ in range(process.calls_max)]
    more: list[dict[str, int]] = [{"spawn": number} if number % 4 == 1 else {} for number in range(len(logs))]
    for answer in [call(process, log, print=number, **more[number]) for number, log in enumerate(logs)]:
        await answer
    for number, log in enumerate(logs):
        from_a_child = [f"from a child {number}"] if more[number] else []
        assert sorted(log.stdout) == sorted([*from_a_child, f"from below {number}", f"out {number}"])
        assert sorted(log.stderr) == [f"err {number}", f"from the end {number}"]


async def test_an_answer_does_not_wait_for_the_end_of_what_prints_for_ever(process: FunctionProcess) -> None:
    for answer in [call(process, babble=1), call(process, number=1)]:
        await answer


async def test_what_has_not_begun_is_taken_back_and_what_has_goes_on(process: FunctionProcess, tmp_path: Path) -> None:
    first, *others = call(process, wait=str(tmp_path)), call(process, number=1), call(process, text="x" * (1 << 20))
    await begun(tmp_path)
    process.withdraw()
    for other in others:
        with pytest.raises(NotBegun):
            await other
    last = call(process, number=2)
    (tmp_path / "go-on").touch()
    assert "wait" in (await first).payload
    assert (await last).payload == {"number": 2}


async def test_a_call_that_is_ended_before_it_began_leaves_the_others(process: FunctionProcess, tmp_path: Path) -> None:
    first, second = call(process, wait=str(tmp_path)), call(process, number=1)
    await begun(tmp_path)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    assert process.is_alive
    third = call(process, number=2)
    (tmp_path / "go-on").touch()
    await first
    assert (await third).payload == {"number": 2}


async def test_a_call_that_is_ended_after_it_began_leaves_the_others_to_another_process(
    process: FunctionProcess, tmp_path: Path
) -> None:
    log = Logs()
    first, second = call(process, log, print=1, wait=str(tmp_path)), call(process, number=1)
    await begun(tmp_path)
    first.cancel()
    with pytest.raises(NotBegun):
        await second
    assert first.cancelled()
    assert not process.is_alive
    assert sorted(log.stdout) == ["from below 1", "out 1"]
    with pytest.raises(NotBegun):
        await call(process, number=2)


async def test_runs_that_end_their_process_and_runs_that_are_cancelled_leave_the_others_alone(tmp_path: Path) -> None:
    async with LocalDriver(tmp_path) as driver:
        await driver.create(Function("f", faas_id="f"), Exec(SOURCE.encode(), "hello.handle", "python3", "f"))

        async def run(number: int) -> Any:
            payload = {"die": 1} if number % 20 == 1 else {"number": number}
            running = asyncio.ensure_future(Runner(driver).run(FunctionExecution(faas_id="f"), payload))
            if number % 20 == 2:
                await asyncio.sleep(0)
                running.cancel()
            return (await asyncio.gather(running, return_exceptions=True))[0]

        for begin in range(0, 320, 16):
            outcomes = await asyncio.gather(*map(run, range(begin, begin + 16)))
            for number, outcome in enumerate(outcomes, begin):
                if number % 20 == 1:
                    assert isinstance(outcome, SystemError), outcome
                    assert "exit code 7" in str(outcome)
                elif number % 20 != 2:
                    assert outcome == {"number": number}


async def test_the_end_of_a_process_is_of_the_message_that_it_ran(process: FunctionProcess) -> None:
    first, *others = call(process, print=1, die=1), call(process, number=1), call(process, number=2)
    for other in others:
        with pytest.raises(NotBegun):
            await other
    ending = asyncio.ensure_future(first)
    with pytest.raises(SystemError, match="exit code 7"):
        await ending
    assert not process.is_alive
