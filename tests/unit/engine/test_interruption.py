"""How calls of the JavaScript engine are looked at and ended from outside, without JavaScript: by a word of memory."""

import pytest
from wasmtime import Engine, Limits, Memory, MemoryType, Store

from skerry.engine.call_time import CallTime
from skerry.engine.calls import GuestMemory
from skerry.engine.errors import CallError, FailureKind
from skerry.engine.interruption import STOP_WORD_AT, RunningCalls

LONG = 3_600.0


class Code:
    """An instance as far as it is looked at."""

    def __init__(self, running: RunningCalls) -> None:
        store = Store(Engine())
        self.memory = GuestMemory(store, Memory(store, MemoryType(Limits(1, 1))))
        self.time = CallTime(running.of(self.memory))
        self.looks = 0
        self.defect: Exception | None = None

    def on_look(self) -> None:
        self.looks += 1
        if self.defect is not None:
            raise self.defect

    @property
    def is_interrupted(self) -> bool:
        return any(self.memory.read(STOP_WORD_AT, 4))

    @property
    def ended_by(self) -> FailureKind | None:
        return self.time.stopped.kind if self.time.stopped else None


@pytest.fixture
def running() -> RunningCalls:
    return RunningCalls()


@pytest.fixture
def code(running: RunningCalls) -> Code:
    return Code(running)


def test_a_call_within_its_limits_goes_on(running: RunningCalls, code: Code):
    code.time.begin(code, LONG, LONG)
    running.look()
    assert (code.looks, code.is_interrupted, code.ended_by) == (1, False, None)


@pytest.mark.parametrize(
    ("timeout_seconds", "cpu_seconds_max", "kind"),
    [(0.0, LONG, FailureKind.TIMEOUT), (LONG, 0.0, FailureKind.CPU_TIME)],
)
def test_a_call_over_a_limit_is_interrupted(
    running: RunningCalls, code: Code, timeout_seconds: float, cpu_seconds_max: float, kind: FailureKind
):
    code.time.begin(code, timeout_seconds, cpu_seconds_max)
    running.look()
    assert (code.is_interrupted, code.ended_by) == (True, kind)


def test_what_ends_one_call_does_not_meet_the_next_one(running: RunningCalls, code: Code):
    code.time.begin(code, 0.0, LONG)
    running.look()
    code.time.end()
    code.time.begin(code, LONG, LONG)
    running.look()
    assert (code.is_interrupted, code.ended_by) == (False, None)


def test_a_call_that_is_over_is_not_looked_at(running: RunningCalls, code: Code):
    code.time.begin(code, 0.0, LONG)
    code.time.end()
    running.look()
    assert not code.is_interrupted


def test_a_guest_that_clears_the_word_is_interrupted_again(running: RunningCalls, code: Code):
    code.time.begin(code, LONG, LONG)
    code.time.stop(CallError(FailureKind.EXCEPTION, "for a reason"))
    code.memory.write(STOP_WORD_AT, bytes(4))
    running.look()
    assert (code.is_interrupted, code.ended_by) == (True, FailureKind.EXCEPTION)


def test_a_look_that_fails_ends_that_call_alone(running: RunningCalls, code: Code, capsys: pytest.CaptureFixture[str]):
    other = Code(running)
    for each in (code, other):
        each.time.begin(each, LONG, LONG)
    code.defect = RuntimeError("a defect")
    running.look()
    assert (code.ended_by, other.ended_by, other.looks) == (FailureKind.TRAP, None, 1)
    assert "a defect" in capsys.readouterr().err


def test_a_call_that_waits_is_charged_nothing_and_not_bothered(
    running: RunningCalls, code: Code, monkeypatch: pytest.MonkeyPatch
):
    processor_ns = 0
    monkeypatch.setattr("skerry.engine.call_time.time.clock_gettime_ns", lambda _clock: processor_ns)
    code.time.begin(code, LONG, LONG)
    running.look()
    charged_ns = code.time.cpu_ns
    running.look()
    assert (code.time.cpu_ns, code.looks) == (charged_ns, 1)
    processor_ns += 1_000
    running.look()
    assert (code.time.cpu_ns, code.looks) == (charged_ns + 1_000, 2)
