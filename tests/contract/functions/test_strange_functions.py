"""Functions that do to their process what its author did not think of: a run of theirs fails as any other does."""

import re
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.functions import (
    Exec,
    Function,
    FunctionError,
    FunctionExecution,
    InputError,
    InvocationError,
    NoDeployment,
    Runner,
    SystemError,  # noqa: A004
)
from skerry.functions.errors import MESSAGE_CHARACTERS_MAX, STACKTRACE_CHARACTERS_MAX
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.python import PythonRuntime

SOURCE = textwrap.dedent(
    """
    import os, socket, struct, sys, time

    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def half(context, payload):
        raise ValueError("\\ud83d")

    def wordy(context, payload):
        raise ValueError("x" * 3_000_000)

    def unspeakable(context, payload):
        raise Unspeakable

    def silent(context, payload):
        sys.stdout.close()
        sys.stderr = None
        return os.getpid()

    def leaves_a_child(context, payload):
        if os.fork() == 0:
            time.sleep(600)
        os._exit(3)

    def answers_by_itself(context, payload):
        for number in os.listdir("/proc/self/fd"):
            try:
                there = socket.socket(fileno=os.dup(int(number)))
            except OSError:
                continue
            if there.type == socket.SOCK_STREAM:
                there.sendall(struct.pack(">I", len(payload)) + payload.encode())
        time.sleep(600)
    """
).encode()


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    async with LocalDriver(tmp_path, {"python3": PythonRuntime(), "nodejs": NodeRuntime()}) as driver:
        yield driver


async def run(driver: LocalDriver, name: str, payload: object = None) -> object:
    await driver.create(Function(name, faas_id=name), Exec(SOURCE, f"function.{name}", "python3"))
    return await Runner(driver).run(FunctionExecution(faas_id=name), payload)


async def test_half_of_a_surrogate_pair_in_an_error_is_told_as_a_question_mark(driver: LocalDriver) -> None:
    with pytest.raises(InputError, match=re.escape("?")) as raised:
        await run(driver, "half")
    assert "ValueError: ?" in raised.value.stacktrace


async def test_what_an_error_says_is_bounded(driver: LocalDriver) -> None:
    with pytest.raises(InputError, match="and 2983616 more characters") as raised:
        await run(driver, "wordy")
    assert len(raised.value.message) < 2 * MESSAGE_CHARACTERS_MAX
    assert sum(map(len, raised.value.stacktrace)) < 2 * STACKTRACE_CHARACTERS_MAX


async def test_an_error_that_can_not_be_told_is_the_functions(driver: LocalDriver) -> None:
    with pytest.raises(FunctionError, match="Unspeakable, whose own message can't be told: RuntimeError"):
        await run(driver, "unspeakable")


async def test_a_function_may_close_what_it_prints_to(driver: LocalDriver) -> None:
    process = await run(driver, "silent")
    assert await Runner(driver).run(FunctionExecution(faas_id="silent"), None) == process


async def test_the_end_of_a_process_is_told_whatever_child_holds_its_connection(driver: LocalDriver) -> None:
    with pytest.raises(SystemError, match="the function's process ended: exit code 3"):
        await run(driver, "leaves_a_child")


@pytest.mark.parametrize("answer", ["[]", '{"context": "x"}'])
async def test_an_answer_that_is_no_message_is_the_functions_error(driver: LocalDriver, answer: str) -> None:
    with pytest.raises(FunctionError, match="no message"):
        await run(driver, "answers_by_itself", answer)


@pytest.mark.parametrize(
    ("image", "handler"),
    [
        ("python3", f"{'x' * 300}.handle"),
        ("python3", "a\0b.handle"),
        ("nodejs", f"{'x' * 300}.js"),
        ("nodejs", "a\0b.js"),
        ("nodejs", "a/.."),
    ],
    ids=["long", "null", "long-js", "null-js", "folder"],
)
async def test_a_handler_that_names_no_file_is_the_functions_error(
    driver: LocalDriver, image: str, handler: str
) -> None:
    with pytest.raises(InvocationError) as raised:
        await driver.create(Function("f", faas_id="f"), Exec(b"", handler, image))
    assert isinstance(raised.value, FunctionError)


@pytest.mark.parametrize("text", ["", "{}", "[]"])
async def test_a_deployment_that_was_not_written_to_its_end_is_none_to_the_next_driver(
    tmp_path: Path, text: str
) -> None:
    async with LocalDriver(tmp_path) as driver:
        await driver.create(Function("f", faas_id="f"), Exec(SOURCE, "function.silent", "python3"))
    (tmp_path / "f" / "deployment.json").write_text(text)
    async with LocalDriver(tmp_path) as driver:
        assert await driver.deployments() == set()
        with pytest.raises(NoDeployment):
            await Runner(driver).run(FunctionExecution(faas_id="f"), None)
    assert not (tmp_path / "f").exists()
