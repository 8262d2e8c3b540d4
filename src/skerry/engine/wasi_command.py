"""WASI preview 1 commands as functions, CGI style (RFC 3875): one run of the program for each request.

Method, path and headers come as environment variables, the body on standard input; the program writes header lines, an
empty line and the body to standard output, and whatever its author shall read to standard error.

Owns what a run may use and how its output is read. It has no files, no sockets, no other program's environment. Waits
(`poll_oneoff`) are ours, so that they end with the request's time; so is output (`fd_write`), because wasmtime would
hand it over on threads of its own.
"""

import ctypes
import struct
import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from wasmtime import Engine as WasmEngine
from wasmtime import ExitTrap, FuncType, Linker, Module, Store, Trap, ValType, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi

from skerry.engine.call_time import CallTime
from skerry.engine.calls import GuestMemory, exported_function, exported_memory
from skerry.engine.epoch_interruption import EpochInterruption
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.exchange import response_too_large
from skerry.engine.instances import LogSink, Reply, Surroundings
from skerry.engine.invocation import abandoned
from skerry.engine.log_lines import LOG_LINE_BYTES_MAX, LogLines
from skerry.engine.manifest import FunctionManifest
from skerry.engine.out_of_memory import by_its_cause, is_nearly_full

WASI = "wasi_snapshot_preview1"
#: What a program writes before the body.
HEAD_BYTES_MAX = 64 * 1024
#: What a run is counted for besides its memory.
RUN_BYTES = 1024 * 1024

_TABLE_ELEMENTS_MAX = 1_000_000
_SUBSCRIPTION = struct.Struct("<Q B7x I4x Q Q H6x")  # user data, type, clock, timeout, precision, flags
_EVENT = struct.Struct("<Q H B5x 16x")  # user data, error, type
_CLOCK_TYPE, _MONOTONIC, _ABSOLUTE = 0, 1, 1
_SUCCESS, _BAD_DESCRIPTOR, _FAULT, _INVALID = 0, 8, 21, 28
_U32 = 0xFFFFFFFF
#: Subscriptions of one wait.
_SUBSCRIPTIONS_MAX = 1_000
#: Pieces of one write, as IOV_MAX of POSIX systems.
_VECTORS_MAX = 1_024
#: Not made into variables: what follows from the request's own, and `proxy`, which would become HTTP_PROXY.
_NOT_IN_ENVIRONMENT = frozenset(("content-length", "content-type", "proxy"))


class WasiCommand:
    """A program; `code.Code`.

    Args:
        engine: with epoch interruption, whose epoch rises every `interruption.TICK_SECONDS`.
        module: the program, compiled; it imports nothing but WASI.
    """

    streams = False
    answers = True
    filters = False
    what = "a WASI preview 1 command"

    def __init__(self, engine: WasmEngine, module: Module) -> None:
        self.engine = engine
        linker = Linker(engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        for name, function in (("poll_oneoff", _poll), ("fd_write", _write)):
            linker.define_func(WASI, name, FuncType([ValType.i32()] * 4, [ValType.i32()]), function)
        self.prepared = linker.instantiate_pre(module)
        self._linker = linker  # owns the host functions

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> "CommandInstance":
        """Return what runs the program for one request after the other."""
        return CommandInstance(self, manifest, surroundings)


class CommandInstance:
    """Runs a program, one request at a time; each run has a memory of its own.

    Attributes:
        counted_bytes: what the pool that has it counts for it.
        cpu_ns: for how long its last run has computed.
    """

    def __init__(self, command: WasiCommand, manifest: FunctionManifest, surroundings: Surroundings) -> None:
        self.counted_bytes = 0
        self.cpu_ns = 0
        self._run: _Run | None = None
        self._command = command
        self._manifest = manifest
        self._surroundings = surroundings
        self.invocation = surroundings.invocation

    @property
    def filter(self) -> None:
        """A command knows an answer alone."""
        return

    @property
    def memory_bytes(self) -> int:
        """What it takes of the machine's memory, about; a run's memory is made and dropped with it."""
        return RUN_BYTES + (self._run.memory_bytes if self._run else 0)

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Run the program for one request; raises CallError. See `FunctionInstance`."""
        reply = cgi_reply(self.run(cgi_environment(head, body, self._manifest.env), body, timeout_seconds))
        if len(reply.body) > self._manifest.response_body_bytes_max:
            raise response_too_large(self._manifest)
        return reply

    def run(self, environment: dict[str, str], given: bytes, timeout_seconds: float) -> bytes:
        """Run the program with something on standard input; return what it wrote to standard output.

        Raises:
            CallError: it failed, or wrote more than `HEAD_BYTES_MAX` and the manifest's limit together.
        """
        run = _running.run = self._run = _Run(self, self._command, self._manifest)
        try:
            run.go(environment, given, timeout_seconds)
        finally:
            self.cpu_ns = run.time.end()
            self._run = None
            del _running.run  # with the memory of the run
        return bytes(run.output)

    def settle(self, timeout_seconds: float) -> None:
        """Nothing is left to do after a run."""

    def stop(self, error: CallError) -> None:
        """Have the present run end; see `FunctionInstance`."""
        if self._run is not None:
            self._run.time.stop(error)

    def before_wait(self) -> None:
        """Say that this thread is about to wait for time to pass."""
        self._surroundings.before_wait(self)

    def on_look(self) -> None:
        """Say that the run goes on computing."""
        self._surroundings.on_look(self)

    @property
    def log(self) -> LogSink:
        """The function's log."""
        return self._surroundings.log


class _Run:
    """One run: its output, its log, its time."""

    def __init__(self, instance: CommandInstance, command: WasiCommand, manifest: FunctionManifest) -> None:
        self.output = bytearray()
        self._instance = instance
        self._manifest = manifest
        self._said = LogLines(instance.log, self._before_wait)
        self._memory: GuestMemory | None = None
        self._prepared = command.prepared
        self._store = Store(command.engine)
        self.time = CallTime(EpochInterruption(self._store))

    @property
    def memory_bytes(self) -> int:
        """The present size of the program's memory."""
        return self._memory.size_bytes if self._memory else 0

    def go(self, environment: dict[str, str], body: bytes, timeout_seconds: float) -> None:
        """Run to the end; raises CallError."""
        store = self._store
        store.set_limits(
            memory_size=self._manifest.memory_bytes_max,
            table_elements=_TABLE_ELEMENTS_MAX,
            instances=1,
            tables=10,
            memories=1,
        )
        store.set_wasi(self._configuration(environment, body))
        self.time.begin(self._instance, timeout_seconds, self._manifest.cpu_seconds_max)
        try:
            instance = self._prepared.instantiate(store)
            self._memory = exported_memory(store, instance)
            exported_function(store, instance, "_start", 0)()
        except (Trap, WasmtimeError) as error:
            self._check_end(error)
        finally:
            self._said.close()
        if stopped := self.time.take_stopped():
            full = stopped.kind is FailureKind.TRAP and is_nearly_full(self.memory_bytes, self._manifest)
            raise by_its_cause(stopped, self._manifest) if full or self._said.tells_of_memory else stopped

    def _configuration(self, environment: dict[str, str], body: bytes) -> WasiConfig:
        configuration = WasiConfig()
        configuration.argv = [self._manifest.function]
        configuration.env = environment.items()
        _give_input(configuration, body)
        return configuration

    def write(self, descriptor: int, vectors_at: int, count: int, written_at: int) -> int:
        """Take what the program writes (`fd_write`); returns an errno. Raises IndexError for a bad address."""
        take = {1: self._put, 2: self._said.write}.get(descriptor)
        if self._memory is None or take is None:
            return _BAD_DESCRIPTOR
        if not 0 <= count <= _VECTORS_MAX:
            return _INVALID
        # Nothing stops the host while it takes bytes in: a write may be partial, and a program writes the rest again.
        at_once = self._output_bytes_max + 1 if descriptor == 1 else LOG_LINE_BYTES_MAX
        vectors = memoryview(self._memory.read(vectors_at & _U32, 8 * count)).cast("I")
        written = 0
        for at, length in zip(vectors[::2], vectors[1::2], strict=True):
            taken = min(length, at_once - written)
            take(self._memory.read(at, taken))
            written += taken
            if self.time.stopped is not None or taken < length:
                break
        self._memory.write(written_at & _U32, written.to_bytes(4, "little"))
        return _SUCCESS

    def _put(self, data: bytes) -> None:
        if len(self.output) + len(data) > self._output_bytes_max:
            self.time.stop(response_too_large(self._manifest))
        else:
            self.output += data

    @property
    def _output_bytes_max(self) -> int:
        return HEAD_BYTES_MAX + self._manifest.response_body_bytes_max

    def _before_wait(self) -> None:
        self.time.before_wait()
        self._instance.before_wait()

    def poll(self, subscriptions_at: int, events_at: int, count: int, count_at: int) -> int:
        """Wait for the first of some moments, within the run's time (`poll_oneoff`); as `write`."""
        if self._memory is None or not 1 <= count <= _SUBSCRIPTIONS_MAX:
            return _INVALID
        size = _SUBSCRIPTION.size
        data = self._memory.read(subscriptions_at & _U32, size * count)
        asked = [_Subscription.parse(data[at : at + size]) for at in range(0, size * count, size)]
        until = min(each.moment_ns for each in asked)
        wait_ns = min(until, self.time.deadline_ns) - time.monotonic_ns()
        if wait_ns > 0:
            self._before_wait()
            self._instance.invocation.sleep(wait_ns / 1e9)
        if self._instance.invocation.is_abandoned:
            self.time.stop(abandoned())
        if until > self.time.deadline_ns:
            self.time.stop_late()
        now = time.monotonic_ns()
        due = [each for each in asked if each.moment_ns <= now] or asked[:1]
        events = b"".join(_EVENT.pack(each.user_data, _SUCCESS, each.kind) for each in due)
        self._memory.write(events_at & _U32, events)
        self._memory.write(count_at & _U32, len(due).to_bytes(4, "little"))
        return _SUCCESS

    def _check_end(self, error: Trap | WasmtimeError) -> None:
        """Tell how a run ended that did not return from `_start`: status 0 is a good end, too."""
        if self.time.stopped is not None:
            return
        if isinstance(error, ExitTrap):
            if error.code:
                message = f"the program exited with status {error.code}; its log says what it wrote to standard error"
                self.time.stop(CallError(FailureKind.EXCEPTION, message))
        else:
            first = str(error).strip().splitlines()[-1].strip()
            self.time.stop(CallError(FailureKind.TRAP, f"the program trapped: {first}", stack=str(error)))


class _Subscription(NamedTuple):
    user_data: int
    kind: int
    moment_ns: int  # of the monotonic clock; 0 for what is ready always: input and output are

    @classmethod
    def parse(cls, data: bytes) -> "_Subscription":
        user_data, kind, clock, timeout, _, flags = _SUBSCRIPTION.unpack(data)
        if kind != _CLOCK_TYPE:
            return cls(user_data, kind, 0)
        now = time.monotonic_ns()
        if not flags & _ABSOLUTE:
            return cls(user_data, kind, now + timeout)
        return cls(user_data, kind, timeout if clock == _MONOTONIC else now + max(0, timeout - time.time_ns()))


class _Running(threading.local):
    run: _Run


_running = _Running()


# Host functions must not raise: wasmtime-py keeps a raised exception in one global for all threads.


def _poll(*arguments: int) -> int:
    try:
        return _running.run.poll(*arguments)
    except IndexError:
        return _FAULT


def _write(*arguments: int) -> int:
    try:
        return _running.run.write(*arguments)
    except IndexError:
        return _FAULT


def _give_input(configuration: WasiConfig, body: bytes) -> None:
    """Set standard input; wasmtime-py has it for files only. The configuration takes the bytes over."""
    vector = ffi.wasm_byte_vec_t()
    data = (ctypes.c_ubyte * len(body)).from_buffer_copy(body)
    ffi.wasm_byte_vec_new(ctypes.byref(vector), len(body), data)
    ffi.wasi_config_set_stdin_bytes(configuration.ptr(), ctypes.byref(vector))


def cgi_environment(head: bytes, body: bytes, variables: dict[str, str]) -> dict[str, str]:
    """Return the variables of a run: those of RFC 3875, one for each header, and the function's own."""
    method, url, *pairs = head.decode().split("\n")
    address = urlsplit(url)
    given: dict[str, list[str]] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        given.setdefault(name, []).append(value)
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": ", ".join(values)
        for name, values in given.items()
        if name not in _NOT_IN_ENVIRONMENT
    }
    secure = address.scheme == "https"
    meta = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": method,
        "REQUEST_URI": f"{address.path}?{address.query}" if address.query else address.path,
        "SCRIPT_NAME": "",
        "PATH_INFO": address.path,
        "QUERY_STRING": address.query,
        "SERVER_NAME": address.hostname or "",
        "SERVER_PORT": str(address.port or (443 if secure else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "skerry",
        **({"HTTPS": "on"} if secure else {}),
        **({"CONTENT_LENGTH": str(len(body))} if body else {}),
        **({"CONTENT_TYPE": given["content-type"][0]} if "content-type" in given else {}),
    }
    return {**headers, **meta, **variables}


def cgi_reply(output: bytes) -> Reply:
    """Read a program's output: header lines ended by LF or CR LF, an empty line, the body."""
    status, lines, at = 200, [], 0
    while True:
        end = output.find(b"\n", at)
        line = output[at : end if end >= 0 else len(output)].rstrip(b"\r")
        if end < 0 or (line and b":" not in line):
            raise CallError(
                FailureKind.BAD_RESPONSE,
                "the program's output does not begin with header lines (such as `Content-Type: text/plain`) and an "
                f"empty line, but with {line[:60].decode(errors='replace')!r}",
            )
        at = end + 1
        if not line:
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = _status(value.strip())
        else:
            lines.append(name.lower() + b": " + value.strip() + b"\r\n")
    if status == _OK and any(line.startswith(b"location:") for line in lines):
        status = _FOUND
    return Reply(status, b"".join(lines), output[at:], work_left=False)


_OK, _FOUND = 200, 302


def _status(value: bytes) -> int:
    number = value[:3]
    if not number.isdigit():
        raise CallError(
            FailureKind.BAD_RESPONSE, f"the program's Status is no number: {value[:60].decode('latin-1')!r}"
        )
    return int(number)
