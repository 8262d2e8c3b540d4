"""How a call that computes is looked at, and how its guest is interrupted: two ways, for two kinds of code.

Code that others have compiled asks by itself: Wasmtime puts a check at each of its functions and loops, which calls the
host, on the guest's thread, when its store's epoch deadline has come (`epoch_interruption`).

The JavaScript engine only looks at a word of its memory, and traps where that is set (js-engine/stop_checks.mjs), which
takes a fraction of the time. So somebody else has to look at its calls: `RunningCalls`, on a thread of the host.

Invariant: a look at a call, and what follows of it, is over before that call's `end` returns; so nothing of one call
meets the next one of the same instance.
"""

import threading
from typing import Final, Protocol

from skerry.engine.calls import GuestMemory
from skerry.engine.errors import CallError, FailureKind
from skerry.kit.records import Records

records = Records(__name__)

#: How exact a limit of time is. Each tick wakes one thread: 50 a second cost a thousandth of a core.
TICK_SECONDS: Final = 0.02
#: Between two looks at a call that computes.
LOOK_TICKS: Final = 2

#: The words of the JavaScript engine's memory that are ours (js-engine/stop_checks.mjs): not 0 where it shall end, and
#: the pages of its memory since that grew.
STOP_WORD_AT: Final = 16
PAGES_WORD_AT: Final = 20
PAGE_BYTES: Final = 64 * 1024


class Call(Protocol):
    """What is looked at, and ended.

    Attributes:
        stopped: why it shall end; None while it may go on.
    """

    stopped: CallError | None

    def look(self) -> None:
        """Stop the call where it is over a limit."""

    def stop(self, error: CallError) -> None:
        """Have the call end with this error."""


class Interruption(Protocol):
    """How the guest of one instance is interrupted, in one call after the other."""

    def begin(self, call: Call) -> None:
        """Let the guest run, and have the call looked at every `LOOK_TICKS` while it computes."""

    def end(self) -> None:
        """Say that the call is over."""

    def stop(self) -> None:
        """Have the guest end as soon as it goes on; may be said again."""


class WordInterruption:
    """By a word of the guest's memory; `RunningCalls` makes it.

    Args:
        memory: of the guest; kept alive, since its words are looked at on two threads.
        running: those with a call.
    """

    __slots__ = ("_call", "_lock", "_memory", "_running", "_word")

    def __init__(self, memory: GuestMemory, running: "set[WordInterruption]") -> None:
        self._memory = memory
        self._word = memory.words(STOP_WORD_AT, 1)
        self._running = running
        self._lock = threading.Lock()
        self._call: Call | None = None

    def begin(self, call: Call) -> None:
        """As `Interruption` has it."""
        self._word[0] = 0
        self._call = call
        self._running.add(self)

    def end(self) -> None:
        """As `Interruption` has it."""
        self._running.discard(self)
        with self._lock:
            self._call = None

    def stop(self) -> None:
        """As `Interruption` has it, on any thread."""
        self._word[0] = 1

    def look(self) -> None:
        """Look at the call, if there is one, and interrupt it where it was stopped; on the thread that looks."""
        with self._lock:
            call = self._call
            if call is None:
                return
            if call.stopped is None:
                _look_safely(call)
            if call.stopped is not None:
                self.stop()  # again: the word is the guest's memory, which a guest that is out of control may clear


class RunningCalls:
    """The calls that run in the JavaScript engine; `look` at them every `LOOK_TICKS`."""

    def __init__(self) -> None:
        self._running: set[WordInterruption] = set()

    def of(self, memory: GuestMemory) -> WordInterruption:
        """Return how the guest with this memory is interrupted."""
        return WordInterruption(memory, self._running)

    def look(self) -> None:
        """Look at each of them; on one thread, never raises."""
        for each in list(self._running):
            each.look()


def _look_safely(call: Call) -> None:
    """Look at a call; a defect of ours ends that one, and not the looks at all others."""
    try:
        call.look()
    except Exception as error:  # noqa: BLE001 - see above
        records.defect("a look at a call met a defect", error)
        call.stop(CallError(FailureKind.TRAP, f"the host could not look at the call: {error!r}"))
