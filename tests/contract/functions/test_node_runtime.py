"""Node functions in real processes."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.functions import (
    Exec,
    Function,
    FunctionError,
    FunctionExecution,
    InputError,
    InvocationError,
    Runner,
    SystemError,  # noqa: A004
    logs_of,
)
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.node import NodeRuntime

if not shutil.which("node"):
    pytest.skip("there is no node on PATH: `make setup` brings one", allow_module_level=True)

#: Times given to a function that prints and never ends: more of it, where a busy machine has not come to its prints.
TIMEOUTS_SECONDS = (0.5, 5.0, 60.0)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    async with LocalDriver(tmp_path / "functions") as driver:
        yield driver


async def run(driver: LocalDriver, source: str, payload: Any = None, handler: str = "", **more: Any) -> Any:
    await driver.create(Function("f", faas_id="f"), Exec(source.encode(), handler, "nodejs", "f"))
    return await Runner(driver).run(FunctionExecution(faas_id="f", **more), payload)


@pytest.mark.parametrize("handler", ["", "hello.js", "./hello.js"])
async def test_a_function_or_its_promise_is_answered(driver: LocalDriver, handler: str) -> None:
    source = "module.exports = async (context, payload) => ({ hello: payload.name, secrets: context.secrets })"
    assert await run(driver, source, {"name": "Jon"}, handler) == {"hello": "Jon", "secrets": {}}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("throw new TypeError('no number')", InputError, "no number"),
        ("throw new Error('it broke')", FunctionError, "it broke"),
        ("throw 'a word'", FunctionError, "a word"),
        ("return 1n", FunctionError, "no JSON"),
        ("process.exit(3)", SystemError, "exit code 3"),
    ],
)
async def test_who_is_to_blame_is_told(
    driver: LocalDriver, body: str, kind: type[InvocationError], message: str
) -> None:
    with pytest.raises(InvocationError, match=message) as caught:
        await run(driver, f"module.exports = () => {{ {body} }}")
    assert type(caught.value) is kind
    assert not any("node_worker" in line for line in caught.value.stacktrace)


async def test_what_is_printed_is_told_and_time_is_bounded(driver: LocalDriver) -> None:
    source = "module.exports = () => { console.log('out'); console.error('err'); for (;;) {} }"
    await driver.create(Function("f", faas_id="f"), Exec(source.encode(), "", "nodejs", "f"))
    for timeout_seconds in TIMEOUTS_SECONDS:
        execution = FunctionExecution(faas_id="f", timeout_seconds=timeout_seconds)
        with pytest.raises(FunctionError, match="exceeded the timeout"):
            await Runner(driver).run(execution, None)
        if logs_of(execution.context).stderr:
            break
    assert logs_of(execution.context).as_object() == {"stdout": ["out"], "stderr": ["err"]}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("module.exports = 1", "must be a function"),
        ("module.exports = (", "Unexpected"),
        ("require('x')", "find module"),
    ],
)
async def test_what_does_not_load_is_told(driver: LocalDriver, source: str, told: str) -> None:
    with pytest.raises(FunctionError, match=told):
        await run(driver, source)


async def test_a_machine_without_node_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with LocalDriver(tmp_path / "f", {"nodejs": NodeRuntime()}) as driver:
        with pytest.raises(SystemError, match=r"needs Node\.js"):
            await run(driver, "module.exports = () => 1")
