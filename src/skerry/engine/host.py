"""The Wasmtime host: one compiled JavaScript engine for a process, and instances of it.

Owns: compiling (through `compiled`), instantiating, the epoch ticker, the limits of an instance, and what a call's
end means. Does not own pools, manifests or HTTP.

Calls block their thread and release Python's lock: run them on threads. Invariant: an `Instance` whose call raised
is dead and must be dropped; its memory is in an unknown state.
"""

import itertools
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import orjson
from wasmtime import Instance as WasmInstance
from wasmtime import Linker, Store, Trap, WasiConfig, WasmtimeError

from skerry.engine import platform_calls
from skerry.engine.answers import (
    ANSWER_BYTES,
    Answer,
    Problem,
    loading_problem,
    problem_of,
    read_answer,
    sees_responses,
    sentence_of,
)
from skerry.engine.call_time import CallTime
from skerry.engine.calls import RawFunction, exported_function, exported_memory
from skerry.engine.compiled import load_component, new_engine
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.fetching import Subrequests
from skerry.engine.instances import BodySource, FilterReply, Reply, Surroundings
from skerry.engine.interruption import LOOK_TICKS, PAGE_BYTES, PAGES_WORD_AT, TICK_SECONDS, RunningCalls
from skerry.engine.manifest import FunctionManifest
from skerry.engine.out_of_memory import is_nearly_full, memory_failure, tells_of_memory
from skerry.engine.platform_calls import EVENT_ROOM_BYTES, entered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A bundle must have loaded in this time.
LOAD_SECONDS_MAX = 10.0
#: A fresh instance has 9 MiB of linear memory: less could not start.
MEMORY_BYTES_MIN = 32 * 1024 * 1024
#: What a fresh instance takes: most of its linear memory is never touched, and so takes none of the machine's.
INSTANCE_BYTES = 3 * 1024 * 1024
#: Tables of a store: the component has one, of 20,000 elements.
_TABLE_ELEMENTS_MAX = 100_000

#: Memory that the host and the engine lend each other for an instance's life: what fits goes through it, and text that
#: fits three times is encoded straight into it, which takes a tenth of the time. What is not used takes no memory.
EXCHANGE_BYTES = 64 * 1024

_HAS_KV = 1  # of what `init` grants
_NEVER_MESSAGE = "the function will never answer: it waits for a promise that nothing is left to resolve"
_LOADING = "functions fetch while they handle a request, not while they load"
_NEVER_MARK = b"event loop error"
_IMPORT_MESSAGE = "the function imports a module while it runs: only what the build finds is in its bundle"
#: Where the component, which has no files, traps: its module loader is all that ever looks for one.
_IMPORT_TRAP = "path_filestat_get"
_OUT_OF_MEMORY = "out of memory"


class JavaScriptEngine:
    """The compiled engine component; a context manager that owns the ticker's thread, which looks at calls.

    Attributes:
        wasm_engine: Wasmtime's for other code, whose epoch rises every `TICK_SECONDS` within the block.
    """

    def __init__(self, component: Path, cache_dir: Path) -> None:
        """Load or compile the component; raises StartError (see `compiled.load_component`)."""
        self.wasm_engine = new_engine(epochs=True)
        self._engine = new_engine(epochs=False)
        self._running = RunningCalls()
        self._module = load_component(self._engine, component, cache_dir)  # which keeps its entry in the cache
        linker = Linker(self._engine)
        self._host_functions = platform_calls.bind(linker, self._module)
        self._prepared = linker.instantiate_pre(self._module)
        self._linker = linker  # owns the host functions
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._ticker.join()

    def _tick(self) -> None:
        ticks = 0
        while not self._stopping.wait(TICK_SECONDS):
            self.wasm_engine.increment_epoch()
            ticks += 1
            if ticks % LOOK_TICKS == 0:
                self._running.look()

    def start(
        self,
        bundle: bytes,
        manifest: FunctionManifest,
        surroundings: Surroundings,
    ) -> "Instance":
        """Return an instance that has loaded the bundle.

        Args:
            bundle: JavaScript as `js-engine/README.md` describes it, UTF-8.
            manifest: of the revision: its variables and its limits.
            surroundings: what the instance can reach.

        Raises:
            LoadError: the bundle throws, has no handler, or is over a limit.
        """
        store = Store(self._engine)
        store.set_wasi(WasiConfig())  # empty: it serves the clock alone
        store.set_limits(
            memory_size=max(manifest.memory_bytes_max, MEMORY_BYTES_MIN),
            table_elements=_TABLE_ELEMENTS_MAX,
            instances=1,
            tables=10,
            memories=1,
        )
        instance = Instance((store, self._prepared.instantiate(store)), self._running, manifest, surroundings)
        instance.load(bundle, orjson.dumps(manifest.env))
        return instance


class Instance:
    """One JavaScript world: it loads one bundle, then answers one request at a time.

    Attributes:
        counted_bytes: what the pool that has it counts for it; 0 for one that no pool has.
        cpu_ns: for how long its last call has computed.
        time: of the present call.
        sees_responses: whether the bundle has a hook for responses; see `Filter`.
    """

    def __init__(
        self,
        instantiated: tuple[Store, WasmInstance],
        running: RunningCalls,
        manifest: FunctionManifest,
        surroundings: Surroundings,
    ) -> None:
        store, instance = instantiated
        self.cpu_ns = 0
        self.memory = exported_memory(store, instance)
        self.time = CallTime(running.of(self.memory), self)
        self.allocate = exported_function(store, instance, "cabi_realloc", 4)
        self.pollables: dict[int, int] = {}
        self.pollable_numbers: Iterator[int] = itertools.count(1)
        self.diagnostics = bytearray()
        self.log = surroundings.log
        self.invocation = surroundings.invocation
        self.subrequests = Subrequests(None, refusal=_LOADING)
        self.key_values = surroundings.key_values
        self.event_at = 0
        self.event_room_at = 0
        self.passing_body: BodySource | None = None
        self.counted_bytes = 0
        self.sees_responses = False
        self._surroundings = surroundings
        self._manifest = manifest
        self._init = exported_function(store, instance, "init", 7)
        self._init_done = exported_function(store, instance, "cabi_post_init", 0)
        self._handle = exported_function(store, instance, "handle", 3)
        self._handle_done = exported_function(store, instance, "cabi_post_handle", 0)
        self._filter_request = exported_function(store, instance, "filter-request", 3)
        self._filter_request_done = exported_function(store, instance, "cabi_post_filter-request", 0)
        self._filter_response = exported_function(store, instance, "filter-response", 4)
        self._filter_response_done = exported_function(store, instance, "cabi_post_filter-response", 0)
        self._settle = exported_function(store, instance, "settle", 0)
        self._settle_done = exported_function(store, instance, "cabi_post_settle", 0)
        # What this one gives, unlike `allocate`, is not freed after the call.
        self._allocate_for_life = exported_function(store, instance, "cabi_realloc_adapter", 4)
        self._exchange_at = 0
        self._fresh_bytes = self.memory.size_bytes
        self._pages = self.memory.words(PAGES_WORD_AT, 1)

    def load(self, bundle: bytes, env: bytes) -> None:
        """Evaluate the bundle, once; `env` is a JSON object. Raises LoadError."""
        try:
            self._enter(LOAD_SECONDS_MAX, LOAD_SECONDS_MAX)
            self._exchange_at = self._allocate_for_life(0, 0, 4, EXCHANGE_BYTES + EVENT_ROOM_BYTES)
            self.event_room_at = self._exchange_at + EXCHANGE_BYTES
            self.event_at = self._exchange_at + ANSWER_BYTES  # of what `platform_calls` tells of subrequests
            granted = _HAS_KV if self.key_values else 0
            self._init(self._exchange_at, EXCHANGE_BYTES, *self._give_away(bundle), *self._give_away(env), granted)
            told = self._answer().body
            problem = loading_problem(told)
            self._init_done()
        except (Trap, WasmtimeError) as error:
            failure = self._failure(error)
            if failure.kind in {FailureKind.TIMEOUT, FailureKind.CPU_TIME}:
                raise LoadError(f"the bundle did not load within {LOAD_SECONDS_MAX:g} s") from error
            raise LoadError(failure.message, stack=failure.stack) from error
        except CallError as error:
            raise LoadError(error.message) from error
        finally:
            self._leave()
        if problem is not None:
            stack = self._surroundings.frames(problem["stack"])
            raise LoadError(sentence_of(problem), line=problem["line"], column=problem["column"], stack=stack)
        self.sees_responses = sees_responses(told)
        fetcher = self._surroundings.fetcher
        self.subrequests = Subrequests(fetcher, subrequests_max=self._manifest.subrequests_max)

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Answer one request.

        Args:
            head: UTF-8 lines without an end: method, URL, then name and value of each header by turns.
            body: the whole body.
            timeout_seconds: for computing and waiting together.

        Raises:
            CallError: the call failed; this instance is dead.
        """
        numbers = (len(head), len(body))
        answer = self._call(self._handle, self._handle_done, (head, body), numbers, timeout_seconds)
        return Reply(answer.status, answer.head, answer.body, answer.work_left)

    @property
    def frames(self) -> "Callable[[str], str]":
        """What rewrites the frames of a stack for the function's author."""
        return self._surroundings.frames

    @property
    def filter(self) -> Self:
        """Its side as a filter: every bundle can be one."""
        return self

    def filter_request(self, head: bytes, body: BodySource | None, timeout_seconds: float) -> FilterReply:
        """See a request; raises CallError. See `Filter`."""
        self.passing_body = body
        numbers = (len(head), body is not None)
        answer = self._call(self._filter_request, self._filter_request_done, (head,), numbers, timeout_seconds)
        return answer.filter_reply()

    def filter_response(
        self, request_head: bytes, head: bytes, body: BodySource | None, timeout_seconds: float
    ) -> FilterReply:
        """See the answer to a request; raises CallError. See `Filter`."""
        self.passing_body = body
        numbers = (len(request_head), len(head), body is not None)
        call, done = self._filter_response, self._filter_response_done
        return self._call(call, done, (request_head, head), numbers, timeout_seconds).filter_reply()

    def _call(
        self,
        call: RawFunction,
        done: RawFunction,
        message: tuple[bytes, ...],
        numbers: tuple[int, ...],
        timeout_seconds: float,
    ) -> Answer:
        """Call one of the exports with the parts of a message and with numbers, and return what it answered."""
        try:
            self._enter(timeout_seconds, self._manifest.cpu_seconds_max)
            call(self._give(message), *numbers)
            answer = self._answer()
            done()
        except (Trap, WasmtimeError) as error:
            self.subrequests.end()
            raise self._failure(error) from error
        except CallError:
            self.subrequests.end()
            raise
        finally:
            self.passing_body = None
            self._leave()
        if not answer.work_left:
            self.subrequests.end()
        if answer.has_failed:
            raise self._thrown(problem_of(answer.body), lets_pass=answer.lets_pass)
        return answer

    def before_wait(self) -> None:
        """Say that this thread is about to wait for time to pass."""
        self.time.before_wait()
        self._surroundings.before_wait(self)

    def on_look(self) -> None:
        """Say that the call goes on computing."""
        self._surroundings.on_look(self)

    def stop(self, error: CallError) -> None:
        """Have the present call end; see `FunctionInstance`."""
        self.time.stop(error)

    @property
    def memory_bytes(self) -> int:
        """What the instance takes of the machine's memory, about: that of a fresh one, and what it has grown by.

        Read on the ticker's thread, too, where Wasmtime must not be asked.
        """
        return INSTANCE_BYTES + max(0, self._pages[0] * PAGE_BYTES - self._fresh_bytes)

    def settle(self, timeout_seconds: float) -> None:
        """Run what the function left to `ctx.waitUntil`; raises CallError as `handle` does."""
        try:
            self._enter(timeout_seconds, self._manifest.cpu_seconds_max - self.cpu_ns / 1e9)
            self._settle()
            self._settle_done()
        except (Trap, WasmtimeError) as error:
            raise self._failure(error) from error
        finally:
            self._leave()
            self.subrequests.end()

    def _enter(self, timeout_seconds: float, cpu_seconds_max: float) -> None:
        entered.guest = self
        self.time.begin(timeout_seconds, cpu_seconds_max)

    def _leave(self) -> None:
        self.cpu_ns = self.time.end()
        del entered.guest  # a thread that has nothing to do must not keep an instance alive

    def _give(self, parts: tuple[bytes, ...]) -> int:
        """Copy a message into the exchange, or into memory that the guest frees; return its address."""
        length = sum(map(len, parts))
        address = end = self._exchange_at if length <= EXCHANGE_BYTES else self.allocate(0, 0, 1, length)
        for part in parts:
            self.memory.write(end, part)
            end += len(part)
        return address

    def _give_away(self, data: bytes) -> tuple[int, int]:
        """Copy bytes into memory that the guest frees; return their address and length."""
        address = self.allocate(0, 0, 1, len(data))
        self.memory.write(address, data)
        return address, len(data)

    def _answer(self) -> Answer:
        return read_answer(self.memory, self._exchange_at, self._manifest)

    def _failure(self, error: Trap | WasmtimeError) -> CallError:
        if stopped := self.time.take_stopped():
            return stopped
        code = error.trap_code if isinstance(error, Trap) else None
        told = bytes(self.diagnostics)
        if _NEVER_MARK in told:
            return CallError(FailureKind.EXCEPTION, _NEVER_MESSAGE)
        if isinstance(error, Trap) and error.frames and error.frames[0].func_name == _IMPORT_TRAP:
            return CallError(FailureKind.EXCEPTION, _IMPORT_MESSAGE)
        if is_nearly_full(self.memory.size_bytes, self._manifest) or tells_of_memory(told):
            return self.memory_failure()
        reason = code.name.lower().replace("_", " ") if code else "the call could not go on"
        detail = f"{told.decode(errors='replace')}\n{error}"
        return CallError(FailureKind.TRAP, f"the function's code trapped: {reason}", stack=detail)

    def _thrown(self, problem: Problem, *, lets_pass: bool) -> CallError:
        stack = self._surroundings.frames(problem["stack"])
        if problem["message"] == _OUT_OF_MEMORY:
            return self.memory_failure(stack)
        return CallError(FailureKind.EXCEPTION, sentence_of(problem), stack=stack, lets_pass=lets_pass)

    def memory_failure(self, stack: str = "") -> CallError:
        """Return what a call ends with that is over the limit of the instance's memory."""
        return memory_failure(self._manifest, stack)
