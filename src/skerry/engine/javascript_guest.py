"""The guest: one instance of the JavaScript engine, and how it is entered; see js-engine/world.wit.

It has many calls at once (`open_calls`), and whoever enters it does so for one of them: because that begins, because
something has happened to a subrequest of its, or because a timer of its is due. So whatever the guest does, computes,
says and sends, is that call's. Who enters it when, and what waits for the answers, is `javascript`'s.

Invariant: one whose guest has failed is dead: its memory is in an unknown state, so all its calls have failed.
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from wasmtime import Instance as WasmInstance
from wasmtime import Store, Trap, WasmtimeError

from skerry.engine.answers import (
    ANSWER_BYTES,
    ANSWER_WORDS,
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
from skerry.engine.concurrent_instance import ConcurrentInstance
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.fetching import Event
from skerry.engine.instances import Surroundings
from skerry.engine.interruption import PAGE_BYTES, PAGES_WORD_AT, RunningCalls
from skerry.engine.manifest import FunctionManifest
from skerry.engine.open_calls import Fetching, OpenCall
from skerry.engine.out_of_memory import is_nearly_full, memory_failure, tells_of_memory
from skerry.engine.platform_calls import EVENT_ROOM_BYTES, given
from skerry.engine.present_thread import present_thread

if TYPE_CHECKING:
    from collections.abc import Callable


#: A bundle must have loaded in this time.
LOAD_SECONDS_MAX = 10.0
#: What a fresh instance takes: most of its linear memory is never touched, and so takes none of the machine's.
INSTANCE_BYTES = 3 * 1024 * 1024
#: Memory that the host and the engine lend each other for an instance's life: what fits goes through it, and text that
#: fits three times is encoded straight into it, which takes a tenth of the time. What is not used takes no memory.
EXCHANGE_BYTES = 64 * 1024
#: The word of the engine's memory that counts promises that nobody handles (js-engine/rejections.mjs).
REJECTED_WORD_AT = 24
_HAS_KV = 1  # of what `init` grants
_LOADING = "functions fetch while they handle a request, not while they load"
_NEVER_MESSAGE = "the function will never answer: it waits for a promise that nothing is left to resolve"
_LOST_MESSAGE = "another request of the function ended the instance that both were in: "
_IMPORT_MESSAGE = "the function imports a module while it runs: only what the build finds is in its bundle"
#: Where the component, which has no files, traps: its module loader is all that ever looks for one.
_IMPORT_TRAP = "path_filestat_get"
_OUT_OF_MEMORY = "out of memory"


class Export(NamedTuple):
    """A function of the engine's, and what frees its results."""

    call: RawFunction
    done: RawFunction


def _exported(instantiated: tuple[Store, WasmInstance], name: str, parameters: int) -> Export:
    store, instance = instantiated
    done = exported_function(store, instance, f"cabi_post_{name}", 0)
    return Export(exported_function(store, instance, name, parameters), done)


class JavaScriptGuest(ConcurrentInstance):
    """See above.

    Attributes:
        counted_bytes: what the pool that has it counts for it; 0 for one that no pool has.
        cpu_ns: for how long its last call on a thread of its own has computed.
        invocation: the request that it is entered for.
        time: of the present entry.
        present: the call that it is entered for; of no use outside of an entry.
        is_retired: a call in it has failed, so it takes no other.
        is_dead: its guest has failed.
        sees_responses: whether the bundle has a hook for responses; see `Filter`.
    """

    __deletable__ = ("present",)  # told to the compiler (scripts/compile_host.py)
    present: OpenCall

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
        self.time = CallTime(running.of(self.memory))
        self.allocate = exported_function(store, instance, "cabi_realloc", 4)
        self.diagnostics = bytearray()
        self.log = surroundings.log
        self.invocation = surroundings.invocation
        self.key_values = surroundings.key_values
        self.told_at = 0
        self.event_room_at = 0
        self.counted_bytes = 0
        self.is_retired = self.is_dead = False
        self.sees_responses = False
        self._surroundings = surroundings
        self._manifest = manifest
        self._fetching = Fetching(None, 0, _LOADING)
        self._calls: dict[int, OpenCall] = {}
        self._ended: deque[OpenCall] = deque()  # answered or settled, and not taken notice of yet

        self._init = _exported(instantiated, "init", 7)
        self._handle = _exported(instantiated, "handle", 4)
        self._filter_request = _exported(instantiated, "filter-request", 4)
        self._filter_response = _exported(instantiated, "filter-response", 5)
        self._deliver = _exported(instantiated, "deliver", 6)
        self._tick = _exported(instantiated, "tick", 1)
        self._next = _exported(instantiated, "next", 0)
        self._tell_rejections = _exported(instantiated, "tell-rejections", 0)
        # What this one gives, unlike `allocate`, is not freed after the call.
        self._allocate_for_life = exported_function(store, instance, "cabi_realloc_adapter", 4)
        self._exchange_at = 0
        self._answer_words = memoryview(b"")
        self._fresh_bytes = self.memory.size_bytes
        self._pages = self.memory.words(PAGES_WORD_AT, 1)
        self._rejected = self.memory.words(REJECTED_WORD_AT, 1)
        self._measured_pages = 0

    def load(self, bundle: bytes, env: bytes) -> None:
        """Evaluate the bundle, once; `env` is a JSON object. Raises LoadError."""
        call = OpenCall(0, self.invocation.held, LOAD_SECONDS_MAX, self._fetching)
        try:
            self._enter(call, LOAD_SECONDS_MAX)
            self._exchange_at = self._allocate_for_life(0, 0, 4, EXCHANGE_BYTES + EVENT_ROOM_BYTES)
            self._answer_words = self.memory.words(self._exchange_at, ANSWER_WORDS)
            self.event_room_at = self._exchange_at + EXCHANGE_BYTES
            self.told_at = self._exchange_at + ANSWER_BYTES
            granted = _HAS_KV if self.key_values else 0
            given = (*self._give_away(bundle), *self._give_away(env))
            self._init.call(self._exchange_at, EXCHANGE_BYTES, *given, granted)
            told = self._loaded()
            self._init.done()
            self._log_rejections()
        except (Trap, WasmtimeError) as error:
            failure = self._failure(error)
            if failure.kind in {FailureKind.TIMEOUT, FailureKind.CPU_TIME}:
                raise LoadError(f"the bundle did not load within {LOAD_SECONDS_MAX:g} s") from error
            raise LoadError(failure.message, stack=failure.stack) from error
        finally:
            self._leave(call)
            call.close()
        if (problem := loading_problem(told)) is not None:
            stack = self._surroundings.frames(problem["stack"])
            raise LoadError(sentence_of(problem), line=problem["line"], column=problem["column"], stack=stack)
        self.sees_responses = sees_responses(told)
        self._fetching = Fetching(self._surroundings.fetcher, self._manifest.subrequests_max)

    def _loaded(self) -> bytes:
        answer = read_answer(self.memory, self._answer_words, self._manifest)
        return answer.body if answer is not None else b""  # which is a problem, too

    @property
    def frames(self) -> "Callable[[str], str]":
        """What rewrites the frames of a stack for the function's author."""
        return self._surroundings.frames

    def _measure(self, call: OpenCall) -> None:
        """Count what the instance takes where it has grown; its function may have to give that back."""
        self._measured_pages = self._pages[0]
        if self.memory_bytes > self.counted_bytes > 0:
            self._surroundings.on_look(self)
            if (stopped := self.time.take_stopped()) is not None and not call.is_over:
                self._fail(call, stopped)

    # --- Entered ---

    def _begin(self, call: OpenCall, export: Export, message: tuple[bytes, ...], numbers: tuple[int, ...]) -> None:
        self._calls[call.number] = call
        try:
            self._enter(call, self._manifest.cpu_seconds_max)
            export.call(call.number, self._give(message), *numbers)
            self._take_answers(export)
            self._log_rejections()
        except (Trap, WasmtimeError) as error:
            self._die(call, error)
        finally:
            self._leave(call)
        self._look_after(call)

    def _go_on(self, call: OpenCall) -> None:
        """Enter for each thing that has happened to a call, which is that it begins, at first."""
        if self.is_dead and not call.is_over:
            self._fail(call, CallError(FailureKind.LOST, _LOST_MESSAGE + "it had failed before"))
        elif call.message is not None:
            (head, body), call.message = call.message, None
            self._begin(call, self._handle, (head, body), (len(head), len(body)))
        if not call.has_event:
            call.look()
        while not call.is_over and (event := call.take()) is not None:
            self._enter_for(call, self._deliver, event)
        if not call.is_over and (late := call.late()) is not None:
            self._fail(call, late)
        elif not call.is_over and call.timer_is_due():
            self._enter_for(call, self._tick, None)
        if not call.is_over:
            self._rest(call)

    def _rest(self, call: OpenCall) -> None:
        """Leave a call alone until something happens to it."""
        if self._pages[0] != self._measured_pages:
            self._measure(call)
        if not call.is_to_send:  # else it is parked when it has sent
            call.park()

    def _enter_for(self, call: OpenCall, export: Export, event: Event | None) -> None:
        if call.has_computed_long:
            self._surroundings.before_wait(self)  # the thread is needed elsewhere
        try:
            self._enter(call, self._manifest.cpu_seconds_max)
            if event is None:
                export.call(call.number)
            else:
                at = given(self, event)
                export.call(call.number, event.id, event.kind, at, len(event.text), len(event.data))
            self._take_answers(export)
            self._log_rejections()
        except (Trap, WasmtimeError) as error:
            self._die(call, error)
        finally:
            self._leave(call)
        self._look_after(call)

    def _enter(self, call: OpenCall, cpu_seconds_max: float) -> None:
        self.present = call
        present_thread.guest = self
        self.invocation.headers, self.invocation.subrequests = call.held
        self.time.go_on(self, call.deadline_ns, call.timeout_seconds, cpu_seconds_max, call.cpu_ns)

    def _leave(self, call: OpenCall) -> None:
        call.cpu_ns = self.time.end()
        call.held = self.invocation.headers, self.invocation.subrequests
        del self.present, present_thread.guest  # a thread that has nothing to do must not keep an instance alive

    def _take_answers(self, export: Export) -> None:
        """Take the answers that an entry has brought: of its call, and of others that waited for what it did."""
        answer = read_answer(self.memory, self._answer_words, self._manifest)
        export.done()
        while answer is not None:
            self._take_answer(answer)
            if answer.is_last:
                return
            self._next.call()
            answer = read_answer(self.memory, self._answer_words, self._manifest)
            self._next.done()

    def _log_rejections(self) -> None:
        """Have the guest say which promises the entry has left rejected, with nobody to handle them.

        It looks at what the function gave for a reason: so this can take long, or trap, with the call answered.
        """
        if self._rejected[0]:
            self._tell_rejections.call()
            self._take_answers(self._tell_rejections)

    def _take_answer(self, answer: Answer) -> None:
        call = self._calls.get(answer.call)
        if call is None:  # its time was over
            return
        if answer.refusal is not None:
            self._fail(call, answer.refusal)
        elif answer.has_failed:
            self._fail(call, self._thrown(problem_of(answer.body), lets_pass=answer.lets_pass))
        elif answer.is_settled:
            call.settle()
            self._end(call)
        else:
            call.take_answer(answer)
            if call.is_over:
                self._end(call)
            else:
                self._ended.append(call)

    def _end(self, call: OpenCall) -> None:
        """Forget a call that is over."""
        self._calls.pop(call.number, None)
        call.close()
        self._ended.append(call)

    def _fail(self, call: OpenCall, failure: CallError) -> None:
        """End a call; the instance takes no other, for what is left of this one goes on in it."""
        self.is_retired = True
        call.fail(failure)
        self._end(call)

    def _die(self, call: OpenCall, error: Trap | WasmtimeError) -> None:
        """End all calls: the guest has failed in one of them."""
        self.is_dead = True
        failure = self._failure(error)
        self._fail(call, failure)
        for other in list(self._calls.values()):
            self._fail(other, CallError(FailureKind.LOST, _LOST_MESSAGE + failure.message))

    def _look_after(self, call: OpenCall) -> None:
        """End calls that nothing is left to go on with."""
        if not self._calls:
            return
        if not call.is_over and call.waits:
            return
        for each in self._calls.values():
            if each.waits:
                return
        for each in list(self._calls.values()):
            self._fail(each, CallError(FailureKind.EXCEPTION, _NEVER_MESSAGE))

    # --- Asked by the host's functions, while the guest is inside ---

    def before_wait(self) -> None:
        """Say that this thread is about to wait for time to pass."""
        self.time.before_wait()
        self._surroundings.before_wait(self)

    def on_look(self) -> None:
        """Say that the call goes on computing."""
        self._surroundings.on_look(self)

    def owner_of(self, number: int) -> OpenCall:
        """Return the call that a subrequest is of; the present one where that is over."""
        if self.present.has_started(number):
            return self.present
        return next((call for call in self._calls.values() if call.has_started(number)), self.present)

    def stop(self, error: CallError) -> None:
        """Have the present call end; see `FunctionInstance`."""
        self.time.stop(error)

    @property
    def memory_bytes(self) -> int:
        """What the instance takes of the machine's memory, about: that of a fresh one, and what it has grown by.

        Read on the ticker's thread, too, where Wasmtime must not be asked.
        """
        return INSTANCE_BYTES + max(0, self._pages[0] * PAGE_BYTES - self._fresh_bytes)

    def _give(self, parts: tuple[bytes, ...]) -> int:
        """Copy a message into the exchange, or into memory that the guest frees; return its address."""
        length = sum(map(len, parts))
        address = end = self._exchange_at if length <= EXCHANGE_BYTES else self.allocate(0, 0, 1, length)
        for part in parts:
            if part:
                self.memory.write(end, part)
                end += len(part)
        return address

    def _give_away(self, data: bytes) -> tuple[int, int]:
        """Copy bytes into memory that the guest frees; return their address and length."""
        address = self.allocate(0, 0, 1, len(data))
        self.memory.write(address, data)
        return address, len(data)

    def _failure(self, error: Trap | WasmtimeError) -> CallError:
        if stopped := self.time.take_stopped():
            return stopped
        code = error.trap_code if isinstance(error, Trap) else None
        told = bytes(self.diagnostics)
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
