"""What the engine component may ask of its host: the time, a timer, randomness, a log line, a fetch. Nothing else.

The component imports core functions of WASI by name (clocks, random, standard error). They are answered here, in the
worker, instead of by wasmtime's own WASI: so an instance has no files, no sockets and no environment that could be
configured wrongly. It can't wait: whoever enters it waits (`open_calls`).

A host function finds its instance through the thread: an instance is entered by one thread at a time, and the
thread is inside of one instance at most (`Guest.entered`). Host functions never raise: wasmtime-py keeps a raised
exception in one global for all threads. They stop the call (`call_time`) with what it shall end with; `_refuse` does it
for what they raise, since what they are told comes from code that a function may have tampered with.
"""

import os
import struct
import time
from typing import TYPE_CHECKING, Protocol

from wasmtime import FuncType, Linker, Module, Trap, ValType, WasmtimeError

from skerry.engine.call_time import CallTime
from skerry.engine.calls import GuestMemory, RawFunction, define_host_function
from skerry.engine.crypto_operations import answer
from skerry.engine.crypto_question import CryptoError, CryptoQuestion, check_lengths
from skerry.engine.errors import CallError, FailureKind, UnreadableBodyError
from skerry.engine.fetching import Event, EventKind
from skerry.engine.instances import LogSink
from skerry.engine.invocation import Invocation
from skerry.engine.key_values import KeyValueError
from skerry.engine.kv_operations import FunctionKeyValues, KvAnswer, KvQuestion
from skerry.engine.open_calls import OpenCall
from skerry.engine.present_thread import present_thread

if TYPE_CHECKING:
    from collections.abc import Callable

#: Standard error of the engine itself, kept for the report of a trap.
DIAGNOSTIC_BYTES_MAX = 8 * 1024
#: Timers of one call; the engine counts them (js-engine/web/timers.js), and `setTimeout` beyond it ends the call.
TIMERS_MAX = 10_000
#: One request of random bytes (the Web API allows 65,536).
RANDOM_BYTES_MAX = 1024 * 1024

_ERRNO_BADF = 8
_TOLD = struct.Struct("<4I")  # kind, address, length of the text, length of the data
#: Memory that events, and what the host answers, come in, if they fit.
EVENT_ROOM_BYTES = 8 * 1024


class Guest(Protocol):
    """The side of an instance that host functions see."""

    time: CallTime
    memory: GuestMemory
    allocate: RawFunction
    diagnostics: bytearray
    log: LogSink
    invocation: Invocation
    present: OpenCall
    key_values: FunctionKeyValues | None
    told_at: int
    event_room_at: int

    def before_wait(self) -> None:
        """Say that this thread is about to wait."""

    def owner_of(self, number: int) -> OpenCall:
        """Return the call that a subrequest is of; the present one where that is over."""

    def memory_failure(self) -> CallError:
        """Return what a call ends with that is over the limit of the instance's memory."""


def bind(linker: Linker, module: Module) -> list[object]:
    """Define every import of the component; whatever is not named here traps when called.

    Returns what must live as long as the linker's instances.

    `clock_time_get` is wasmtime's own: SpiderMonkey reads the clock again and again, and a call into Python costs more
    than that. The rest of wasmtime's WASI is never reached: `module` imports none of it.
    """
    linker.allow_shadowing = True
    linker.define_wasi()
    i32, i64 = ValType.i32(), ValType.i64()
    table: tuple[tuple[str, str, list[ValType], list[ValType], Callable[..., int | None]], ...] = (
        ("$root", "log", [i32, i32, i32], [], _log),
        ("$root", "start-fetch", [i32, i32, i32], [i32], _start_fetch),
        ("$root", "read-fetch", [i32], [], _read_fetch),
        ("$root", "cancel-fetch", [i32], [], _cancel_fetch),
        ("$root", "set-timer", [i32], [], _set_timer),
        ("$root", "refuse-timer", [], [], _refuse_timer),
        ("$root", "keep-value", [i32, i32, i32], [], _keep_value),
        ("$root", "take-body", [], [], _take_body),
        ("$root", "compute-crypto", [i32, i32, i32], [], _compute_crypto),
        ("wasi:clocks/monotonic-clock", "now", [], [i64], time.monotonic_ns),
        ("wasi:random/random", "get-random-bytes", [i64, i32], [], _random_bytes),
        ("wasi:random/random", "get-random-u64", [], [i64], _random_u64),
        ("wasi_snapshot_preview1", "fd_write", [i32, i32, i32, i32], [i32], _fd_write),
        ("wasi_snapshot_preview1", "fd_fdstat_get", [i32, i32], [i32], lambda _fd, _out: _ERRNO_BADF),
    )
    # The component names WASI with the version that its build tool carries: take it from the module itself.
    versioned = {imported.module.partition("@")[0]: imported.module for imported in module.imports}
    held = [
        define_host_function(
            linker,
            (versioned[interface], name),
            FuncType(parameters, results),
            function,
            _refuse,
        )
        for interface, name, parameters, results, function in table
        if interface in versioned
    ]
    linker.define_unknown_imports_as_traps(module)
    return held


def _refuse(error: Exception) -> None:
    _stop(present_thread.guest, f"the host refused what the engine asked: {error!r}")


def _log(level: int, address: int, length: int) -> None:
    guest = present_thread.guest
    guest.log(level, guest.memory.read(address & 0xFFFFFFFF, length & 0xFFFFFFFF))


def _start_fetch(address: int, head_length: int, body_length: int) -> int:
    guest = present_thread.guest
    message = guest.memory.read(address & 0xFFFFFFFF, head_length + body_length)
    head, body = message[:head_length], message[head_length:]
    guest.invocation.subrequests += 1
    if b"\ntraceparent\n" not in head:  # what the function says itself counts
        head += guest.invocation.trace_fields()
    return guest.present.subrequests.start(head, body)


def _read_fetch(number: int) -> None:
    guest = present_thread.guest
    owner = guest.owner_of(number)
    owner.subrequests.read(number)
    if owner is not guest.present:
        owner.wake()  # what comes is its, and may have come already


def _cancel_fetch(number: int) -> None:
    present_thread.guest.owner_of(number).subrequests.cancel(number)


def _set_timer(milliseconds: int) -> None:
    present_thread.guest.present.set_timer(milliseconds)


def _refuse_timer() -> None:
    present_thread.guest.time.stop(CallError(FailureKind.TIMERS, f"the function has over {TIMERS_MAX} timers at once"))


def _tell(guest: Guest, event: Event) -> None:
    words = _TOLD.pack(event.kind, given(guest, event), len(event.text), len(event.data))
    guest.memory.write(guest.told_at, words)


def given(guest: Guest, event: Event) -> int:
    """Copy an event's text and data to where the guest reads it; return the address."""
    told = event.text + event.data
    if len(told) > EVENT_ROOM_BYTES:
        return _allocated(guest, told)
    guest.memory.write(guest.event_room_at, told)
    return guest.event_room_at


def _keep_value(address: int, head_length: int, body_length: int) -> None:
    guest = present_thread.guest
    message = guest.memory.read(address & 0xFFFFFFFF, head_length + body_length)
    try:
        answer = _key_value_answer(guest, message[:head_length], message[head_length:])
    except KeyValueError as error:
        _tell(guest, Event(0, EventKind.FAILED, error.public.encode()))
    else:
        _tell(guest, Event(0, EventKind.HEAD, *answer))


def _key_value_answer(guest: Guest, head: bytes, data: bytes) -> KvAnswer:
    if guest.key_values is None:
        raise KeyValueError("the function was not granted the capability kv")
    question = KvQuestion(head, data)
    if guest.key_values.is_slow(question):
        guest.before_wait()
    # A wait in here is no wait of the guest's: no deadline would end it.
    return guest.key_values.answer(question, wait_seconds=(guest.time.deadline_ns - time.monotonic_ns()) / 1e9)


def _take_body() -> None:
    guest = present_thread.guest
    bring = guest.present.passing_body or _bring_nothing
    guest.time.before_wait()  # for the client, and not `guest.before_wait`: whoever brings it says how it waits
    try:
        data = bring(guest.time.deadline_ns)
    except UnreadableBodyError as error:
        _tell(guest, Event(0, EventKind.FAILED, error.public.encode()))
    except TimeoutError:
        guest.time.stop_late()
    else:
        _tell(guest, Event(0, EventKind.END, b"", data))


def _bring_nothing(_deadline_ns: int) -> bytes:
    raise UnreadableBodyError("a body is there while the filter sees its message, not later")


def _compute_crypto(address: int, head_length: int, body_length: int) -> None:
    guest = present_thread.guest
    try:
        check_lengths(head_length, body_length)
        message = guest.memory.read(address & 0xFFFFFFFF, head_length + body_length)
        question = CryptoQuestion(message[:head_length], message[head_length:])
        if question.is_slow:
            guest.before_wait()
        data = answer(question)
    except CryptoError as error:
        _tell(guest, Event(0, EventKind.FAILED, error.public.encode(errors="replace")))
    else:
        _tell(guest, Event(0, EventKind.HEAD, b"", data))


def _give_list(guest: Guest, data: bytes, items: int, result_at: int) -> None:
    """Return a list as the canonical ABI does: in memory that the guest allocates, its place at `result_at`."""
    address = _allocated(guest, data) if data else 4
    guest.memory.write(result_at, address.to_bytes(4, "little") + items.to_bytes(4, "little"))


def _allocated(guest: Guest, data: bytes) -> int:
    """Copy bytes into memory that the guest allocates and frees; return their address."""
    try:
        address = guest.allocate(0, 0, 4, len(data))
        guest.memory.write(address, data)
    except (Trap, WasmtimeError):  # stopped already, or out of memory: the call is over in any case
        guest.time.stop(guest.memory_failure())
        return 0
    return address


def _stop(guest: Guest, reason: str) -> None:
    """End the call, for a reason that only the engine itself could have given."""
    guest.time.stop(CallError(FailureKind.TRAP, f"the function's code trapped: {reason}"))


def _random_bytes(length: int, result_at: int) -> None:
    if not 0 <= length <= RANDOM_BYTES_MAX:
        _stop(present_thread.guest, "too many random bytes asked for at once")
    else:
        _give_list(present_thread.guest, os.urandom(length), length, result_at)


def _random_u64() -> int:
    return int.from_bytes(os.urandom(8), "little", signed=True)


def _fd_write(_fd: int, vectors_at: int, count: int, written_at: int) -> int:
    guest = present_thread.guest
    vectors = memoryview(guest.memory.read(vectors_at, 8 * count)).cast("I")
    data = b"".join([guest.memory.read(vectors[i], vectors[i + 1]) for i in range(0, 2 * count, 2)])
    _note(guest, data)
    guest.memory.write(written_at, len(data).to_bytes(4, "little"))
    return 0


def _note(guest: Guest, data: bytes) -> None:
    guest.diagnostics += data
    del guest.diagnostics[:-DIAGNOSTIC_BYTES_MAX]
