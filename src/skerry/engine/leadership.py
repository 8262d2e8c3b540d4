"""Which of a worker's threads runs the event loop: one at a time, the leader (the Leader/Followers pattern).

The leader polls, reads, calls functions inline and writes their answers. While nothing else wants to run, taking
and releasing Python's lock costs next to nothing; a thread for each connection paid for it with every request.
What may take time must not hold the loop up, so the leadership passes to a spare thread, as a processor passes on
in Go's scheduler when a goroutine blocks:

- before a wait that is known to come (`hand_over`: a timer, a queue for an instance, a cold start), or
- when a turn has lasted too long (the watchdog). The thread notices at the turn's end, and ends it on its own.

Owns the threads and who leads. Does not own the loop or what a turn does. Invariant: at most one thread leads. With
every thread inside of a turn nobody does; the first to end its turn leads then, and `leaderless_total` counts it.
"""

import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Protocol

from skerry.kit.records import Records

records = Records(__name__)

#: The watchdog looks this often, and takes the lead from a turn that it finds again: after once to twice this time.
#: Each look takes Python's lock from the leader: at 5 ms they cost 8 % of the requests of a busy worker.
WATCH_SECONDS = 0.01
#: After so many looks without a turn in between the watchdog sleeps until the next one: an idle worker is idle.
LOOKS_IDLE_MAX = 100
#: A spare thread that was not needed for so long ends.
SPARE_SECONDS_MAX = 30.0

_NOBODY = 0


class Held(Protocol):
    """What a turn works on."""

    def step_aside(self, *, listens: bool) -> None:
        """Leave the loop: the turn's thread alone has it from now on. Must not raise.

        Args:
            listens: whether that thread goes on to read what the peer says.
        """


class Leadership:
    """The threads of one worker; `start` it once."""

    def __init__(self, *, threads_max: int) -> None:
        self._threads_max = threads_max
        self._lock = threading.Lock()
        self._vacant = threading.Condition(self._lock)
        self._leader = _NOBODY
        self._threads = 0
        self._spare = 0
        self._lead: Callable[[], None] = _lead_nothing
        # The present turn of the leader. Only the leader writes these three, without the lock.
        self._in_turn = False
        self._held: Held | None = None
        self._turns = 0
        self._stopped = False
        self._watch_asleep = False
        self._watch = threading.Event()
        self._handed_over = self._taken_over = self._leaderless = 0

    def start(self, lead: Callable[[], None]) -> None:
        """Start the first leader and the watchdog.

        Args:
            lead: the loop; called on the thread that leads, it returns as soon as `is_mine` is false.
        """
        self._lead = lead
        threading.Thread(target=self._watch_turns, name="watchdog", daemon=True).start()
        with self._lock:
            self._call_follower()

    def stop(self) -> None:
        """Let every thread end: the leader as soon as its loop looks, the others when their turn ends."""
        with self._lock:
            self._stopped = True
            self._leader = _NOBODY
            self._vacant.notify_all()
        self._watch.set()

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread leads."""
        return self._leader == get_ident()

    def begin_turn(self, held: Held | None) -> None:
        """Say that the leader begins with something that may take long, and with what."""
        self._held = held
        self._turns += 1
        self._in_turn = True
        if self._watch_asleep:
            self._watch.set()

    def end_turn(self) -> bool:
        """Say that the turn is over; returns whether the thread still leads. If not, what it held is detached."""
        with self._lock:
            if self._leader != get_ident():
                return False
            self._in_turn = False
            return True

    def hand_over(self, *, listens: bool = False) -> None:
        """Pass the lead on, since the caller is about to wait or to compute for long; harmless where it does not lead.

        Never raises: host functions call it. With `listens` it is the turn's own peer that the caller waits for.
        """
        if self._leader == get_ident():
            with self._lock:
                if self._leader == get_ident():
                    self._handed_over += 1
                    self._pass_on(listens=listens)

    def _pass_on(self, *, listens: bool = False) -> None:
        if self._held is not None:
            self._held.step_aside(listens=listens)
            self._held = None
        self._in_turn = False
        self._leader = _NOBODY
        if not self._stopped:
            self._call_follower()

    def _call_follower(self) -> None:
        if self._spare:
            self._vacant.notify()
        elif self._threads < self._threads_max and self._start_thread():
            self._threads += 1
        else:
            self._leaderless += 1

    def _start_thread(self) -> bool:
        try:
            threading.Thread(target=self._follow_and_lead, daemon=True).start()
        except RuntimeError as error:  # the system has no thread to give: whoever ends its turn first will lead
            records.warning("a thread could not be started", reason=str(error))
            return False
        return True

    def _follow_and_lead(self) -> None:
        while self._wait_for_lead():
            self._lead()

    def _wait_for_lead(self) -> bool:
        """Become the leader as soon as there is none; False where nobody needs this thread."""
        with self._lock:
            self._spare += 1
            wanted = self._vacant.wait_for(self._is_vacant, SPARE_SECONDS_MAX) and not self._stopped
            self._spare -= 1
            if wanted:
                self._leader = get_ident()
            else:
                self._threads -= 1
            return wanted

    def _is_vacant(self) -> bool:
        return self._leader == _NOBODY

    def _watch_turns(self) -> None:
        seen, idle_looks = 0, 0
        while not self._stopped:
            time.sleep(WATCH_SECONDS)
            if self._turns != seen:
                seen, idle_looks = self._turns, 0
            elif self._in_turn:
                self._take_over(seen)
            elif idle_looks < LOOKS_IDLE_MAX:
                idle_looks += 1
            else:
                self._sleep_until_turn(seen)
                idle_looks = 0

    def _take_over(self, turn: int) -> None:
        with self._lock:
            if self._in_turn and self._turns == turn:
                self._taken_over += 1
                self._pass_on()

    def _sleep_until_turn(self, seen: int) -> None:
        self._watch_asleep = True
        if self._turns == seen:  # looked at again: a turn that began in between saw nobody asleep
            self._watch.wait()
        self._watch_asleep = False
        self._watch.clear()

    def statistics(self) -> dict[str, int]:
        """Return how many threads there are, and how often the lead has changed hands."""
        with self._lock:
            return {
                "threads": self._threads,
                "threads_spare": self._spare,
                "handovers_total": self._handed_over,
                "takeovers_total": self._taken_over,
                "leaderless_total": self._leaderless,
            }


def _lead_nothing() -> None:
    raise RuntimeError("start the leadership before its threads")
