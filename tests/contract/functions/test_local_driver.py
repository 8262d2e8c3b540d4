"""Functions in real processes: what Dispatch's end-to-end tests of its Python runtime ask for."""

import asyncio
import io
import os
import tarfile
import textwrap
import zipfile
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
    NoDeployment,
    Runner,
    SystemError,  # noqa: A004
    logs_of,
)
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.pool import PoolSettings, TooManyRuns
from skerry.functions.local.python import PythonRuntime
from skerry.functions.local.warm import WarmSettings
from skerry.functions.messages import start_of

SOURCE = textwrap.dedent(
    """
    import asyncio, os, subprocess, sys, time

    calls = 0

    def handle(context, payload):
        return {"myField": f"Hello, {payload['name']} from {payload['place']}"}

    def whole_context(context, payload):
        return context

    def count(context, payload):
        global calls
        calls += 1
        return [os.getpid(), calls]

    def show(context, payload):
        print("out", payload)
        print("err", payload, file=sys.stderr)
        os.write(1, b"from below\\n")
        subprocess.run(["echo", "from a child"])

    def flood(context, payload):
        print("x" * payload)

    def refuse(context, payload):
        raise ValueError("no such person")

    def fail(context, payload):
        def deeper():
            raise RuntimeError("it broke")
        deeper()

    def leave(context, payload):
        sys.exit(3)

    def die(context, payload):
        os._exit(7)

    def stuck(context, payload):
        print("begun", flush=True)
        time.sleep(1000)

    def no_json(context, payload):
        return object()

    def large(context, payload):
        return "x" * payload

    async def later(context, payload):
        await asyncio.sleep(0)
        return payload

    def environment(context, payload):
        return sorted(os.environ)

    def allocate(context, payload):
        return len(bytearray(payload))

    def one_argument(payload):
        pass

    def waits_for(context, payload):
        begun, go_on = payload
        open(begun, "w").close()
        while not os.path.exists(go_on):
            time.sleep(0.01)
        return "went on"

    constant = 1
    """
).encode()

#: Times given to a function that prints and never ends: more of it, where a busy machine has not come to its print.
TIMEOUTS_SECONDS = (0.5, 5.0, 60.0)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    async with LocalDriver(tmp_path / "functions") as driver:
        yield driver


async def deploy(driver: LocalDriver, handler: str, source: bytes = SOURCE, name: str = "f") -> Function:
    function = Function(name, faas_id=name)
    await driver.create(function, Exec(source, handler, "python3", name))
    return function


async def run(driver: LocalDriver, payload: Any = None, name: str = "f", **more: Any) -> Any:
    return await Runner(driver).run(FunctionExecution(faas_id=name, **more), payload)


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


async def test_a_function_takes_a_payload_and_gives_one(driver: LocalDriver) -> None:
    await deploy(driver, "hello.handle")
    assert await run(driver, {"name": "Jon", "place": "Winterfell"}) == {"myField": "Hello, Jon from Winterfell"}


async def test_a_function_sees_its_context(driver: LocalDriver) -> None:
    await deploy(driver, "hello.whole_context")
    seen = await run(driver, context={"event": {"eventType": "t"}, "httpContext": {"method": "GET"}})
    assert seen == {
        "event": {"eventType": "t"},
        "httpContext": {"method": "GET"},
        "secrets": {},
        "serviceBindings": {},
    }


async def test_an_empty_handler_is_handle_of_the_only_file(driver: LocalDriver) -> None:
    await deploy(driver, "")
    assert await run(driver, {"name": "Jon", "place": "Winterfell"}) == {"myField": "Hello, Jon from Winterfell"}


async def test_an_archive_brings_modules_of_its_own(driver: LocalDriver) -> None:
    source = archive(
        **{
            "shop/__init__.py": "",
            "shop/price.py": "PRICE = 3",
            "main.py": "from shop.price import PRICE\ndef total(context, payload): return PRICE * payload",
        }
    )
    await deploy(driver, "main.total", source)
    assert await run(driver, 2) == 6


async def test_a_process_stays_warm_for_the_next_run(driver: LocalDriver) -> None:
    await deploy(driver, "hello.count")
    (process, first), (same, second) = await run(driver), await run(driver)
    assert (same, first, second) == (process, 1, 2)


async def test_functions_share_the_bound_of_processes_that_wait(tmp_path: Path) -> None:
    async with LocalDriver(tmp_path, warm=WarmSettings(processes_max=1)) as driver:
        for name in ("f", "g"):
            await deploy(driver, "hello.count", name=name)
        execution = FunctionExecution(faas_id="f")
        process, calls = await Runner(driver).run(execution, None)
        assert (calls, start_of(execution.context).cold_starts) == (1, 1)  # the process of its deployment has ended
        assert (await run(driver, name="f")) == [process, 2]
        assert (await run(driver, name="g"))[1] == 1
        assert (await run(driver, name="f"))[1] == 1


async def test_runs_at_once_go_to_processes_of_their_own_up_to_the_bound(tmp_path: Path) -> None:
    async with LocalDriver(tmp_path, settings=PoolSettings(processes_max=2)) as driver:
        await deploy(driver, "hello.count")
        runs = [asyncio.ensure_future(run(driver)) for _ in range(20)]
        answers = [await task for task in runs]
        assert len({process for process, _ in answers}) == 2
        assert max(calls for _, calls in answers) <= 20


async def test_runs_over_the_bound_of_those_that_wait_are_refused_at_once(tmp_path: Path) -> None:
    async with LocalDriver(tmp_path, settings=PoolSettings(processes_max=1, waiting_max=1)) as driver:
        await deploy(driver, "hello.stuck")
        runs = [asyncio.ensure_future(run(driver)) for _ in range(3)]
        done, waiting = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(done.pop().exception(), TooManyRuns)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_what_is_printed_is_told_by_run_wherever_it_comes_from(driver: LocalDriver) -> None:
    await deploy(driver, "hello.show")

    async def logs(number: int) -> dict[str, list[str]]:
        execution = FunctionExecution(faas_id="f")
        await Runner(driver).run(execution, number)
        return logs_of(execution.context).as_object()

    tasks = [asyncio.ensure_future(logs(number)) for number in range(50)]
    for number, task in enumerate(tasks):
        said = await task
        assert sorted(said["stdout"]) == ["from a child", "from below", f"out {number}"]
        assert said["stderr"] == [f"err {number}"]


async def test_what_one_run_may_print_is_bounded(driver: LocalDriver) -> None:
    await deploy(driver, "hello.flood")
    execution = FunctionExecution(faas_id="f")
    await Runner(driver).run(execution, 3 << 20)
    line, notice = logs_of(execution.context).stdout
    assert len(line) == 1 << 20
    assert "2097153 more bytes were dropped" in notice


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("hello.refuse", InputError, "no such person"),
        ("hello.fail", FunctionError, "it broke"),
        ("hello.leave", FunctionError, "3"),
        ("hello.no_json", FunctionError, "output is no JSON"),
        ("hello.die", SystemError, "exit code 7"),
    ],
)
async def test_who_is_to_blame_is_told_and_the_next_run_works(
    driver: LocalDriver, handler: str, kind: type[InvocationError], message: str
) -> None:
    await deploy(driver, handler)
    for _ in range(2):
        with pytest.raises(InvocationError, match=message) as caught:
            await run(driver)
        assert type(caught.value) is kind


async def test_a_stack_trace_begins_in_the_function(driver: LocalDriver) -> None:
    await deploy(driver, "hello.fail")
    with pytest.raises(FunctionError) as caught:
        await run(driver)
    trace = "\n".join(caught.value.stacktrace)
    assert "in deeper" in trace
    assert "python_worker" not in trace
    assert trace.splitlines()[1].startswith('  File "hello.py", line ')
    assert caught.value.stacktrace[-1] == "RuntimeError: it broke"


async def test_a_function_that_takes_too_long_is_ended_and_what_it_printed_is_kept(driver: LocalDriver) -> None:
    await deploy(driver, "hello.stuck")
    for timeout_seconds in TIMEOUTS_SECONDS:
        execution = FunctionExecution(faas_id="f", timeout_seconds=timeout_seconds)
        with pytest.raises(FunctionError, match="exceeded the timeout"):
            await Runner(driver).run(execution, None)
        if logs_of(execution.context).stdout:
            break
    assert logs_of(execution.context).stdout == ["begun"]


async def test_a_coroutine_is_awaited(driver: LocalDriver) -> None:
    await deploy(driver, "hello.later")
    assert await run(driver, 5) == 5


async def test_a_process_inherits_no_environment(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_SECRET", "x")
    await deploy(driver, "hello.environment")
    assert set(await run(driver)) <= {"HOME", "LANG", "LC_CTYPE", "PATH"}


async def test_memory_is_bounded(tmp_path: Path) -> None:
    limits = {"RLIMIT_AS": 256 << 20}
    async with LocalDriver(tmp_path, {"python3": PythonRuntime(limits)}) as driver:
        await deploy(driver, "hello.allocate")
        assert await run(driver, 1 << 20) == 1 << 20
        with pytest.raises(FunctionError, match="MemoryError"):
            await run(driver, 1 << 30)


async def test_output_over_the_bound_is_the_functions_error(driver: LocalDriver) -> None:
    await deploy(driver, "hello.large")
    with pytest.raises(FunctionError, match="more than 16777216"):
        await run(driver, 17 << 20)
    assert await run(driver, 3) == "xxx"


async def test_input_over_the_bound_does_not_reach_the_function(driver: LocalDriver) -> None:
    await deploy(driver, "hello.handle")
    with pytest.raises(SystemError, match="more than 16777216"):
        await run(driver, "x" * (17 << 20))


@pytest.mark.parametrize(
    ("handler", "source", "told"),
    [
        ("nodot", SOURCE, "'nodot' is not of the form module.function"),
        ("hello.missing", SOURCE, "has no attribute 'missing'"),
        ("other.handle", archive(**{"hello.py": ""}), "No module named 'other'"),
        ("hello.constant", SOURCE, "cannot be called"),
        ("hello.one_argument", SOURCE, "too many positional arguments"),
        ("hello.handle", b"def handle(context, payload) return 1", "expected ':'"),
        ("hello.handle", b"import os; os._exit(1)", "exit code 1"),
        ("", archive(**{"a.py": "", "b.py": ""}), "Exactly 1 source file needed"),
        (
            "hello.handle",
            archive(**{"../hello.py": ""}),
            "unpacked: '../hello.py' leads outside of the source's folder$",
        ),
        ("hello.handle", archive(**{"/etc/hello.py": ""})[:40], "cannot be unpacked"),
    ],
)
async def test_what_does_not_load_is_told_at_once_and_leaves_nothing(
    driver: LocalDriver, tmp_path: Path, handler: str, source: bytes, told: str
) -> None:
    with pytest.raises(InvocationError, match=told):
        await deploy(driver, handler, source)
    assert list((tmp_path / "functions").iterdir()) == []


async def test_an_archive_that_is_too_large_unpacked_is_refused(driver: LocalDriver) -> None:
    with pytest.raises(FunctionError, match="more than 67108864 bytes"):
        await deploy(driver, "hello.handle", archive(**{"hello.py": " " * (65 << 20)}))


async def test_an_image_that_is_not_there_is_named(driver: LocalDriver) -> None:
    with pytest.raises(FunctionError, match="'cobol' is none of: nodejs, python3"):
        await driver.create(Function("f", faas_id="f"), Exec(SOURCE, image="cobol"))


async def test_a_deployment_outlives_its_driver(tmp_path: Path) -> None:
    async with LocalDriver(tmp_path) as first:
        await deploy(first, "hello.count")
    async with LocalDriver(tmp_path) as second:
        assert (await run(second))[1] == 1


async def test_a_deleted_function_is_gone_with_its_processes(driver: LocalDriver, tmp_path: Path) -> None:
    function = await deploy(driver, "hello.count")
    process, _ = await run(driver)
    await driver.delete(function)
    await driver.delete(function)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(SystemError, match="no deployment f"):
        await run(driver)
    assert list((tmp_path / "functions").iterdir()) == []


async def test_a_deployment_that_is_removed_lets_its_run_end_and_begins_no_other(
    driver: LocalDriver, tmp_path: Path
) -> None:
    function = await deploy(driver, "hello.waits_for")
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    running = asyncio.ensure_future(run(driver, [str(begun), str(go_on)]))
    async with asyncio.timeout(60):
        while not begun.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    removing = asyncio.ensure_future(driver.delete(function))
    await asyncio.sleep(0)
    with pytest.raises(NoDeployment):
        await run(driver, None)
    go_on.touch()
    assert await running == "went on"
    await removing


async def test_packages_of_a_function_are_its_own(driver: LocalDriver) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("sigil.py", "NAME = 'direwolf'")
        packed.writestr("sigil-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: sigil\nVersion: 1\n")
        packed.writestr("sigil-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr("sigil-1.dist-info/RECORD", "sigil.py,,\n")
    files = {
        "requirements.txt": b"./sigil-1-py3-none-any.whl",
        "sigil-1-py3-none-any.whl": wheel.getvalue(),
        "hello.py": b"from sigil import NAME\ndef handle(context, payload): return NAME",
    }
    packed_source = io.BytesIO()
    with tarfile.open(fileobj=packed_source, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    await deploy(driver, "hello.handle", packed_source.getvalue())
    assert await run(driver) == "direwolf"


async def test_packages_that_cannot_be_installed_are_told_in_pips_words(driver: LocalDriver) -> None:
    source = archive(**{"requirements.txt": "./missing.whl", "hello.py": "def handle(context, payload): pass"})
    with pytest.raises(FunctionError, match=r"requirements.txt could not be installed: (.|\n)*missing\.whl"):
        await deploy(driver, "hello.handle", source)
