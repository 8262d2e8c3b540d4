"""Programs for WASI preview 1 as functions: real modules, written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from skerry.engine.code import read_code
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import FunctionInstance, StreamingInstance, Surroundings
from skerry.engine.log_lines import LOG_LINE_BYTES_MAX, LOG_LINES_MAX
from skerry.engine.manifest import FunctionManifest
from tests.system.engine.conftest import ROOT, SECONDS_MAX

HEAD = b"POST\nhttps://f.test:8443/a/b%20c?x=1&y\nhost\nf.test:8443\nx-two\na\nx-two\nb\nproxy\nevil\ncontent-type\ntext/plain"
OK = "content-type: text/plain\n\n"


def program(body: str, *, data: str = "", memory: str = "1") -> bytes:
    """Return a command; its `$say` writes the bytes at an address to a descriptor."""
    functions = {
        "fd_write": "i32 i32 i32 i32", "fd_read": "i32 i32 i32 i32", "environ_get": "i32 i32",
        "environ_sizes_get": "i32 i32", "poll_oneoff": "i32 i32 i32 i32",
    }  # fmt: skip
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {types}) (result i32)))'
        for name, types in functions.items()
    )
    return bytes(
        wat2wasm(
            f"""(module {imports} (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
                (memory (export "memory") {memory}) (data (i32.const 1024) "{data}")
                (func $say (param $to i32) (param $at i32) (param $length i32)
                  (loop $rest
                    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
                    (br_if 1 (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8)))
                    (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
                    (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
                    (br_if $rest (local.get $length))))
                (func (export "_start") {body}))"""
        )
    )


def saying(text: str, *, to: int = 1, times: int = 1) -> bytes:
    """Return a program that writes a text."""
    escaped = "".join(f"\\{byte:02x}" for byte in text.encode())
    say = f"(call $say (i32.const {to}) (i32.const 1024) (i32.const {len(text.encode())}))"
    return program(say * times, data=escaped)


@pytest.fixture
def lines() -> list[tuple[int, bytes]]:
    return []


Run = Callable[..., FunctionInstance]


@pytest.fixture
def start(engine: JavaScriptEngine, tmp_path: Path, lines: list[tuple[int, bytes]]) -> Run:
    def started(wasm: bytes, **manifest: object) -> FunctionInstance:
        given = FunctionManifest(revision="f-1", function="f", artifact=tmp_path, **manifest)  # type: ignore[arg-type]
        surroundings = Surroundings(log=lambda level, line: lines.append((level, line)))
        instance = read_code(engine, wasm, tmp_path).start(given, surroundings)
        assert not isinstance(instance, StreamingInstance)
        return instance

    return started


def test_what_a_program_writes_is_the_response(start: Run):
    function = start(
        saying("Status: 201 Created\r\nContent-Type: text/html\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n<p>hé\n")
    )
    reply = function.handle(HEAD, b"", SECONDS_MAX)
    assert reply.status == 201
    assert reply.head == b"content-type: text/html\r\nset-cookie: a\r\nset-cookie: b\r\n"
    assert reply.body == "<p>hé\n".encode()


def test_a_body_over_the_functions_limit_is_no_response_whatever_its_head_takes(start: Run):
    function = start(saying("Content-Type: text/plain\r\n\r\n123456"), response_body_bytes_max=5)
    with pytest.raises(CallError, match="responseBody"):
        function.handle(HEAD, b"", SECONDS_MAX)
    assert start(saying("a: b\r\n\r\n12345"), response_body_bytes_max=5).handle(HEAD, b"", SECONDS_MAX).body == b"12345"


def test_a_location_alone_is_a_redirect(start: Run):
    assert start(saying("Location: /there\n\n")).handle(HEAD, b"", SECONDS_MAX).status == 302


ECHO = """(call $say (i32.const 1) (i32.const 1024) (i32.const 26))
  (loop $more
    (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 32768))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.load (i32.const 8)) (then
      (call $say (i32.const 1) (i32.const 4096) (i32.load (i32.const 8))) (br $more))))"""


def test_the_body_comes_on_standard_input_whole_and_binary(start: Run):
    function = start(program(ECHO, data="content-type: text/plain\\0a\\0a"))
    for body in (b"", b"small", bytes(range(256)) * 8_000):
        assert function.handle(HEAD, body, SECONDS_MAX).body == body


ENVIRONMENT = """(call $say (i32.const 1) (i32.const 1024) (i32.const 26))
  (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
  (drop (call $environ_get (i32.const 2048) (i32.const 8192)))
  (call $say (i32.const 1) (i32.const 8192) (i32.load (i32.const 20)))"""


def test_method_path_headers_and_the_functions_variables_come_in_the_environment(start: Run):
    function = start(program(ENVIRONMENT, data="content-type: text/plain\\0a\\0a"), env={"GREETING": "grüß dich"})
    reply = function.handle(HEAD, b"body", SECONDS_MAX)
    seen = dict(entry.split("=", 1) for entry in reply.body.decode().rstrip("\0").split("\0"))
    assert seen == {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "REQUEST_URI": "/a/b%20c?x=1&y", "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b%20c", "QUERY_STRING": "x=1&y", "SERVER_NAME": "f.test", "SERVER_PORT": "8443", "HTTPS": "on",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "skerry", "CONTENT_LENGTH": "4", "CONTENT_TYPE": "text/plain",
        "HTTP_HOST": "f.test:8443", "HTTP_X_TWO": "a, b", "GREETING": "grüß dich",
    }  # fmt: skip


def test_standard_error_is_the_functions_log_line_by_line(start: Run, lines: list[tuple[int, bytes]]):
    long = "x" * (LOG_LINE_BYTES_MAX + 10)
    with pytest.raises(CallError, match="does not begin with header lines"):
        start(saying(f"one\ntwo\n{long}", to=2)).handle(HEAD, b"", SECONDS_MAX)
    assert lines == [(1, b"one"), (1, b"two"), (1, b"x" * LOG_LINE_BYTES_MAX), (1, b"x" * 10)]


def test_runs_know_nothing_of_each_other(start: Run):
    counting = """(i32.store (i32.const 4000) (i32.add (i32.load (i32.const 4000)) (i32.const 1)))
      (i32.store8 (i32.const 1050) (i32.add (i32.const 48) (i32.load (i32.const 4000))))
      (call $say (i32.const 1) (i32.const 1024) (i32.const 27))"""
    function = start(program(counting, data="content-type: text/plain\\0a\\0a"))
    assert [function.handle(HEAD, b"", SECONDS_MAX).body for _ in range(3)] == [b"1"] * 3


SLEEP = """(i64.store (i32.const 64) (i64.const 7)) (i32.store (i32.const 80) (i32.const 1))
  (i64.store (i32.const 88) (i64.const {nanoseconds}))
  (drop (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))
  (if (i64.eq (i64.load (i32.const 256)) (i64.const 7)) (then
    (call $say (i32.const 1) (i32.const 1024) (i32.const 26))))"""


def test_a_program_can_sleep(start: Run):
    function = start(program(SLEEP.format(nanoseconds=5_000_000), data="content-type: text/plain\\0a\\0a"))
    assert function.handle(HEAD, b"", SECONDS_MAX).status == 200


@pytest.mark.parametrize("body", ["(loop $for_ever (br $for_ever))", SLEEP.format(nanoseconds=60_000_000_000)])
def test_computing_and_sleeping_both_end_at_the_time_limit(start: Run, body: str):
    function = start(program(body))
    with pytest.raises(CallError) as failed:
        function.handle(HEAD, b"", 0.1)
    assert failed.value.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("wasm", "kind", "message"),
    [
        (program("unreachable"), FailureKind.TRAP, "unreachable"),
        (program("(call $proc_exit (i32.const 3))"), FailureKind.EXCEPTION, "exited with status 3"),
        (saying("Status: fine\n\n"), FailureKind.BAD_RESPONSE, "Status is no number: 'fine'"),
        (saying("<html>"), FailureKind.BAD_RESPONSE, "does not begin with header lines .* but with '<html>'"),
        (saying("x" * 60_000, times=600), FailureKind.RESPONSE_TOO_LARGE, "limit of 33554432 bytes"),
        (
            program("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"),
            FailureKind.MEMORY,
            "more memory than its limit of 128 MiB",
        ),
    ],
)
def test_a_program_that_fails_says_how_and_the_next_run_is_a_fresh_one(
    start: Run, wasm: bytes, kind: FailureKind, message: str
):
    function = start(wasm)
    for _ in range(2):
        with pytest.raises(CallError, match=message) as failed:
            function.handle(HEAD, b"", SECONDS_MAX)
        assert failed.value.kind is kind


def test_a_bad_address_is_an_error_for_the_program_alone(start: Run):
    calls = "".join(
        f"(if (i32.ne (call ${call} (i32.const 1) (i32.const -16) (i32.const 3) (i32.const -4)) (i32.const 21))"
        " (then unreachable))"
        for call in ("fd_write", "poll_oneoff")
    )
    body = f"{calls} (call $say (i32.const 1) (i32.const 1024) (i32.const 26))"
    assert start(program(body, data="content-type: text/plain\\0a\\0a")).handle(HEAD, b"", SECONDS_MAX).status == 200


def test_a_good_exit_is_a_good_end(start: Run):
    body = "(call $say (i32.const 1) (i32.const 1024) (i32.const 26)) (call $proc_exit (i32.const 0))"
    assert start(program(body, data="content-type: text/plain\\0a\\0a")).handle(HEAD, b"", SECONDS_MAX).status == 200


def test_a_component_that_is_a_program_answers_requests_as_a_command_does(start: Run, lines: list[tuple[int, bytes]]):
    echo = ROOT / "tests" / "wasm" / "functions" / "echo.wat"
    answer = start(bytes(wat2wasm(echo.read_text()))).handle(HEAD, b"content-type: text/plain\n\nhello", SECONDS_MAX)
    assert (answer.status, answer.head, answer.body) == (200, b"content-type: text/plain\r\n", b"hello")
    assert lines == [(1, b"said by the program")]


COMMAND_COMPONENT = """(component
  (core module $m (func (export "run") (result i32) i32.const 0)) (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run))) (export "wasi:cli/run@0.3.0" (instance $command)))"""


@pytest.mark.parametrize(
    ("wasm", "found"),
    [
        (b"#!/bin/sh", "no WebAssembly"),
        (b"\0asm\x0d\0\x01\0", "a component that exports nothing; accepted is"),
        (bytes(wat2wasm(COMMAND_COMPONENT)), "a component that exports wasi:cli/run@0.3.0; accepted is"),
        (b"\0asm\x01\0\0\0rubbish", "not a valid WebAssembly module"),
        (bytes(wat2wasm("(module)")), "imports nothing and does not export _start and memory"),
        (
            bytes(wat2wasm('(module (func (export "proxy_abi_version_0_2_1")))')),
            "set mode filter, or apply it as a WasmPlugin",
        ),
        (bytes(wat2wasm('(module (import "wasi_unstable" "f" (func)))')), "imports wasi_unstable"),
        (saying("x")[:-4], "not a valid WebAssembly module"),
    ],
)
def test_what_can_not_be_run_is_refused_with_what_it_is(start: Run, wasm: bytes, found: str):
    with pytest.raises(LoadError, match=found):
        start(wasm)


def test_what_a_program_hands_over_at_once_is_bounded(start: Run, lines: list[tuple[int, bytes]]):
    """Nothing can stop the host while it takes a write in: a program writes the rest of a long one again."""
    function = start(
        program(
            """(memory.fill (i32.const 1024) (i32.const 10) (i32.const 2000000))
               (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1025) (i32.const 8)))
               (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 2000000))
               (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))""",
            memory="32",
        )
    )
    with pytest.raises(CallError, match="does not begin with header lines"):
        function.handle(HEAD, b"", SECONDS_MAX)
    assert [line for _, line in lines[:-1]] == [b""] * LOG_LINES_MAX
    dropped = LOG_LINE_BYTES_MAX - LOG_LINES_MAX
    assert lines[-1][1].startswith(b"%d bytes more were dropped" % dropped)


@pytest.mark.parametrize(
    "exports",
    [
        '(func (export "_start") (param i64 i64)) (memory (export "memory") 1)',
        '(func (export "_start") (result i64 i64) (i64.const 1) (i64.const 2)) (memory (export "memory") 1)',
        '(func (export "_start")) (func (export "memory"))',
    ],
)
def test_exports_of_other_types_are_no_program(start: Run, exports: str):
    with pytest.raises(LoadError, match="accepted is"):
        start(bytes(wat2wasm(f"(module {exports})")))
