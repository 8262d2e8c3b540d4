"""JavaScript functions and Wasm binaries within the Wasm engine, in a real worker, bundled by the real bundler."""

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

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
from skerry.functions.local.engine import BINARY
from skerry.functions.messages import LOGS_KEY, Logs
from skerry.main.builders import code_builders
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir
from skerry.main.runtimes import local_driver
from skerry.testing.plugins import built

ROOT = Path(__file__).resolve().parents[3]

if not (ROOT / "js-engine" / "dist" / "skerry-js-engine.wasm").exists():
    pytest.skip("the JavaScript engine is not built: `make js-engine`", allow_module_level=True)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    return DataDir(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
async def driver(data_dir: DataDir) -> AsyncIterator[LocalDriver]:
    # The compiled engine is shared by all tests.
    settings = Settings(data_dir=data_dir.root, js_engine_dir=ROOT / "js-engine", cache_dir=ROOT / ".cache")
    async with (
        code_builders(settings, data_dir) as builders,
        local_driver(settings, data_dir, data_dir.root, builders) as (driver, _),
    ):
        yield driver


async def deploy(driver: LocalDriver, source: str | bytes, handler: str = "", image: str = "nodejs") -> None:
    code = source.encode() if isinstance(source, str) else source
    await driver.create(Function("f", faas_id="f"), Exec(code, handler, image, "f"))


async def run(driver: LocalDriver, payload: Any = None, **more: Any) -> Any:
    return await Runner(driver).run(FunctionExecution(faas_id="f", **more), payload)


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def is_in_engine(data_dir: DataDir) -> bool:
    return (data_dir.deployments / "f" / BINARY).exists()


@pytest.mark.parametrize("handler", ["", "hello.js", "./hello.js"])
async def test_a_function_or_its_promise_is_answered(driver: LocalDriver, data_dir: DataDir, handler: str) -> None:
    source = "module.exports = async (context, payload) => ({ hello: payload.name, secrets: context.secrets })"
    await deploy(driver, source, handler)
    assert is_in_engine(data_dir)
    assert await run(driver, {"name": "Jon"}) == {"hello": "Jon", "secrets": {}}


async def test_a_function_of_several_files_and_packages_that_it_brings_is_bundled(driver: LocalDriver) -> None:
    files = {
        "package.json": '{"dependencies": {"sigil": "1"}}',
        "node_modules/sigil/package.json": '{"main": "sigil.js"}',
        "node_modules/sigil/sigil.js": "exports.name = 'direwolf'",
        "lib/greet.js": "module.exports = (name) => `Hello, ${name}`",
        "main.js": "const { name } = require('sigil'); module.exports = () => require('./lib/greet')(name)",
    }
    await deploy(driver, archive(**files), "main.js")
    assert await run(driver) == "Hello, direwolf"


async def test_an_instance_stays_warm_for_the_next_run_and_a_new_deployment_begins_anew(driver: LocalDriver) -> None:
    await deploy(driver, "let calls = 0; module.exports = () => ++calls")
    assert [await run(driver), await run(driver)] == [1, 2]
    await deploy(driver, "let calls = 10; module.exports = () => ++calls")
    assert await run(driver) == 11


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("throw new TypeError('no number')", InputError, "no number"),
        ("throw new Error('it broke')", FunctionError, "it broke"),
        ("throw 'a word'", FunctionError, "a word"),
        ("return 1n", FunctionError, "no JSON"),
        ("return new Promise(() => {})", FunctionError, "will never answer"),
        ("const kept = []; for (;;) kept.push(new Uint8Array(1 << 20).fill(1))", FunctionError, "more memory"),
        ("function f() { f() } f()", FunctionError, "recursion"),
    ],
)
async def test_who_is_to_blame_is_told_and_the_next_run_works(
    driver: LocalDriver, body: str, kind: type[InvocationError], message: str
) -> None:
    await deploy(driver, f"module.exports = (context, payload) => {{ if (payload) return 'fine'; {body} }}")
    with pytest.raises(InvocationError, match=message) as caught:
        await run(driver)
    assert type(caught.value) is kind
    assert await run(driver, 1) == "fine"


async def test_a_stack_trace_names_the_functions_own_files_and_lines(driver: LocalDriver) -> None:
    files = {
        "main.js": "const deeper = require('./lib/deeper');\nmodule.exports = () => deeper();\n",
        "lib/deeper.js": "module.exports = function deeper() {\n  throw new RangeError('it broke');\n};\n",
    }
    await deploy(driver, archive(**files), "main.js")
    with pytest.raises(FunctionError) as caught:
        await run(driver)
    head, *frames = caught.value.stacktrace
    assert head == "RangeError: it broke"
    assert ["lib/deeper.js:2:" in frames[0], "main.js:2:" in frames[1], len(frames)] == [True, True, 2]


FOR_EVER = ["for (;;) {}", "await new Promise((done) => setTimeout(done, 1e8))"]


@pytest.mark.parametrize("wait", FOR_EVER)
async def test_a_function_that_takes_too_long_is_ended_and_the_next_run_works(driver: LocalDriver, wait: str) -> None:
    await deploy(driver, f"module.exports = async (_, payload) => {{ if (payload) {wait} }}")
    with pytest.raises(FunctionError, match="exceeded the timeout"):
        await run(driver, 1, timeout_seconds=0.5)
    assert await run(driver, 0) is None


class Followed(Logs):
    """Tells when both streams have a line."""

    def __init__(self) -> None:
        super().__init__()
        self.has_both = asyncio.Event()

    def extend(self, stdout: Iterable[str], stderr: Iterable[str]) -> None:
        super().extend(stdout, stderr)
        if self.stdout and self.stderr:
            self.has_both.set()


@pytest.mark.parametrize("wait", FOR_EVER)
async def test_lines_come_while_a_run_goes_on_and_one_that_is_cancelled_keeps_them(
    driver: LocalDriver, wait: str
) -> None:
    await deploy(driver, f"module.exports = async () => {{ console.log('out'); console.error('err'); {wait} }}")
    logs = Followed()
    running = asyncio.ensure_future(run(driver, context={LOGS_KEY: logs}))
    await logs.has_both.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert logs.as_object() == {"stdout": ["out"], "stderr": ["err"]}


async def test_what_is_printed_is_told_by_run(driver: LocalDriver) -> None:
    await deploy(
        driver,
        "console.log('loading');"
        "module.exports = async (_, n) => { console.log('out', n); await 0; console.warn('err\\n', n); }",
    )

    async def logs(number: int) -> dict[str, list[str]]:
        execution = FunctionExecution(faas_id="f")
        await Runner(driver).run(execution, number)
        return logs_of(execution.context).as_object()

    tasks = [asyncio.ensure_future(logs(number)) for number in range(50)]
    for number, task in enumerate(tasks):
        assert await task == {"stdout": [f"out {number}"], "stderr": ["err", f" {number}"]}


async def test_what_one_run_may_print_is_bounded(driver: LocalDriver) -> None:
    await deploy(driver, "module.exports = (_, n) => { for (let i = 0; i < n; i++) console.log('x'.repeat(1000)) }")
    execution = FunctionExecution(faas_id="f")
    await Runner(driver).run(execution, 3000)
    logs = logs_of(execution.context)
    assert 1000 < len(logs.stdout) < 1050
    assert "more bytes were dropped" in logs.stderr[-1]


async def test_a_worker_that_ends_fails_its_run_alone_and_the_next_one_works(driver: LocalDriver) -> None:
    await deploy(driver, "module.exports = (_, n) => { for (;n;) {} return 'fine' }")
    assert await run(driver, 0) == "fine"
    worker = worker_pid()
    before = processor_ticks(worker)
    running = asyncio.ensure_future(run(driver, 1))
    while processor_ticks(worker) < before + 10:  # noqa: ASYNC110 - another process, which tells nothing
        await asyncio.sleep(0.01)
    os.kill(worker, 9)
    with pytest.raises(SystemError, match="process ended"):
        await running
    assert await run(driver, 0) == "fine"


def processor_ticks(pid: int) -> int:
    """Tell how long a process has computed: fields utime and stime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def worker_pid() -> int:
    """Find the worker among this process' children."""
    children = " ".join(task.read_text() for task in Path("/proc/self/task").glob("*/children"))
    (found,) = [
        int(pid)
        for pid in children.split()
        if b"skerry.engine.messages.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


@pytest.mark.parametrize(
    ("source", "handler", "told"),
    [
        ("module.exports = 1", "", "^Invalid function file or handler: module.exports must be a function"),
        ("module.exports = (", "", "function.js:1:19: Unexpected end of file"),
        ("require('x')", "", 'Could not resolve "x"'),
        ("nothing.there = 1", "", "function.js:1:1: fails to load: ReferenceError: nothing is not defined"),
        (archive(**{"hello.js": ""}), "other.js", "there is no file other.js"),
        (archive(**{"a.js": "", "b.js": ""}), "", "Exactly 1 source file needed"),
        (archive(**{"a.js": "require('../../x')"}), "", "leaves the function's files"),
    ],
)
async def test_what_does_not_load_is_told_at_once(
    driver: LocalDriver, source: str | bytes, handler: str, told: str
) -> None:
    with pytest.raises(FunctionError, match=told):
        await deploy(driver, source, handler)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("const path = require('path'); module.exports = () => path.join('a', 'b')", "a/b"),
        ("module.exports = () => Buffer.from('x').toString('hex')", "78"),
        ("module.exports = async () => (await import('node:os')).EOL", "\n"),
    ],
)
async def test_a_function_that_names_what_only_node_has_runs_on_node(
    driver: LocalDriver, data_dir: DataDir, source: str, output: str
) -> None:
    await deploy(driver, source)
    assert not is_in_engine(data_dir)
    assert await run(driver) == output


async def test_a_word_or_a_name_of_its_own_is_no_need_of_node(driver: LocalDriver, data_dir: DataDir) -> None:
    source = "const process = { env: 1 }; module.exports = () => [process.env, typeof Buffered, 'process.env Buffer']"
    await deploy(driver, source + "; const Buffered = 1; // Buffer.from")
    assert is_in_engine(data_dir)
    assert await run(driver) == [1, "number", "process.env Buffer"]


async def test_the_image_of_node_runs_anything_on_node(driver: LocalDriver, data_dir: DataDir) -> None:
    await deploy(driver, "module.exports = () => 1", image="nodejs-node")
    assert not is_in_engine(data_dir)
    assert await run(driver) == 1


async def test_a_function_may_not_reach_this_machine(driver: LocalDriver) -> None:
    await deploy(driver, "module.exports = async () => (await fetch('http://127.0.0.1:1/')).status")
    with pytest.raises(InvocationError, match=r"127\.0\.0\.1 is not a public address"):
        await run(driver)


def program(text: str) -> bytes:
    return bytes(wat2wasm(text))


def command(body: str, data: str = "") -> bytes:
    """Return a WASI preview 1 command; its text is written with `$say`."""
    return program(f"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (data (i32.const 64) "{data}")
      (func $say
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const {len(data)}))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "_start") {body}))""")


@pytest.mark.parametrize("name", ["echo", "echo-command"])
async def test_a_program_reads_a_message_and_writes_one_and_its_errors_are_the_log(
    driver: LocalDriver, name: str
) -> None:
    wasm = program((ROOT / "tests" / "wasm" / "functions" / f"{name}.wat").read_text())
    await deploy(driver, wasm, image="wasm")
    for payload in ({"name": "Jon"}, None, "x" * 200_000):
        execution = FunctionExecution(faas_id="f")
        assert await Runner(driver).run(execution, payload) == payload
        assert logs_of(execution.context).as_object() == {"stdout": [], "stderr": ["said by the program"]}


@pytest.mark.parametrize(
    ("wasm", "kind", "told"),
    [
        (command("unreachable"), SystemError, "trapped: .*unreachable"),
        (command("(call $exit (i32.const 3))"), FunctionError, "exited with status 3"),
        (command("(call $say)", "hello"), FunctionError, "output is no JSON"),
        (command("(call $say)", "[1]"), FunctionError, "output is no message"),
        (command("nop"), FunctionError, "output is no JSON"),
    ],
)
async def test_who_is_to_blame_for_a_program_is_told_each_time(
    driver: LocalDriver, wasm: bytes, kind: type[InvocationError], told: str
) -> None:
    await deploy(driver, wasm, image="wasm")
    for _ in range(2):
        with pytest.raises(InvocationError, match=told) as caught:
            await run(driver)
        assert type(caught.value) is kind


async def test_a_program_that_takes_too_long_is_ended(driver: LocalDriver) -> None:
    await deploy(driver, command("(loop $again (br $again))"), image="wasm")
    with pytest.raises(FunctionError, match="exceeded the timeout"):
        await run(driver, timeout_seconds=0.3)


@pytest.mark.parametrize(
    ("source", "handler", "told"),
    [
        (b"module.exports = 1", "", "the source is no WebAssembly"),
        (b"\0asm\1\0\0\0", "", "does not export _start and memory"),
        (archive(**{"a.txt": ""}), "", "Exactly 1 source file needed"),
        (archive(**{"a.wasm": ""}), "b.wasm", "there is no file b.wasm"),
        (built(ROOT, "http-js").read_bytes(), "", "takes requests and no messages"),
    ],
)
async def test_a_binary_that_takes_no_messages_is_refused(
    driver: LocalDriver, source: bytes, handler: str, told: str
) -> None:
    with pytest.raises(FunctionError, match=told):
        await deploy(driver, source, handler, image="wasm")


async def test_a_component_of_our_own_world_takes_a_message_as_a_request(driver: LocalDriver) -> None:
    await deploy(driver, built(ROOT, "function-python").read_bytes(), image="wasm")
    execution = FunctionExecution(faas_id="f")
    with pytest.raises(SystemError, match="trapped"):  # it looks for a variable that it has not
        await Runner(driver).run(execution, None)
    assert "said by python" in logs_of(execution.context).stderr


async def test_runs_that_share_an_instance_are_told_apart_and_go_elsewhere_behind_a_long_one(
    driver: LocalDriver,
) -> None:
    await deploy(
        driver,
        "module.exports = (_, payload) => { console.log(`out ${payload}`); console.error(`err ${payload}`);"
        " while (payload === 'stay') {} return payload }",
    )
    for number in range(20):
        await run(driver, number)  # so calls are known to be short

    async def told(payload: Any) -> tuple[Any, list[str], list[str]]:
        execution = FunctionExecution(faas_id="f")
        output = await Runner(driver).run(execution, payload)
        logs = logs_of(execution.context)
        return output, logs.stdout, logs.stderr

    long = asyncio.ensure_future(run(driver, "stay", timeout_seconds=1.0))
    answers = await asyncio.gather(*map(told, range(40)))
    assert answers == [(number, [f"out {number}"], [f"err {number}"]) for number in range(40)]
    with pytest.raises(FunctionError, match="exceeded the timeout"):
        await long
