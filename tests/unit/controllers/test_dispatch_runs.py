"""Runs that wait in the log: who begins them, how often, how many at once, and that one process ends each."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from skerry.api import dispatch_v1 as api
from skerry.api.claims import Claim
from skerry.api.dispatch_failures import FailureTarget
from skerry.api.dispatch_traces import TraceContext
from skerry.api.dispatch_v1 import (
    PAYLOAD_BYTES_MAX,
    Function,
    FunctionSource,
    FunctionSpec,
    FunctionStatus,
    Run,
    RunSpec,
)
from skerry.api.errors import AlreadyExists, InsufficientStorage, Invalid, TooManyRequests
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers import dispatch_attempts, dispatch_queue, dispatch_runs
from skerry.controllers.dispatch_attempts import Attempts, Given, read_function
from skerry.controllers.dispatch_queue import UNFINISHED, RunQueue
from skerry.controllers.dispatch_run_logs import RunLogFollowing
from skerry.controllers.dispatch_runs import LEASE_SECONDS, TAKEOVERS_MAX, DispatchRunController
from skerry.functions import FunctionError, FunctionExecution, NoDeployment, NoopDriver
from skerry.functions.local.pool import TooManyRuns
from skerry.functions.messages import Context, Runnable, logs_of, start_of
from skerry.kit.clock import from_rfc3339, rfc3339
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.kit.trace_context import is_traceparent
from skerry.main.adapters import RecordedRuns
from skerry.server.local import LocalTransport
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.clock import FakeClock

#: Of a wait for what comes within milliseconds on a machine that does nothing else.
SECONDS_MAX = 60.0


@dataclass
class Gate(NoopDriver):
    """Holds every run until it is let through.

    Attributes:
        begun: payloads, as their runs begin; contexts, likewise.
        most_at_once: runs that went on at the same time.
        gone: the deployments that were removed, and refused so many calls.
        prints: what each run prints.
        crowded: so many calls find no place.
    """

    let: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[Any] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    failures: int = 0
    most_at_once: int = 0
    gone: set[str] = field(default_factory=set)
    refused: int = 0
    prints: str = ""
    crowded: int = 0
    _at_once: int = 0

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        async def run(context: Context, payload: Any) -> Any:
            if execution.faas_id in self.gone:
                self.refused += 1
                raise NoDeployment(execution.faas_id)
            if self.crowded:
                self.crowded -= 1
                raise TooManyRuns("1000 runs of this function wait already, and more may not")
            logs_of(context).extend([self.prints] if self.prints else (), ())
            start_of(context).cold_starts += 1
            self.contexts.append(context)
            self.begun.append(payload)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                await self.let.wait()
            finally:
                self._at_once -= 1
            if self.failures:
                self.failures -= 1
                raise FunctionError("it broke")
            return payload

        return run


async def nothing(namespace: str, name: str) -> Any:
    raise KeyError(namespace, name)


@pytest.fixture
async def verbs() -> AsyncIterator[Verbs]:
    async with open_verbs() as (opened, _):
        yield opened


@pytest.fixture
async def client(verbs: Verbs) -> Client:
    client = Client(LocalTransport(verbs, manager="test"))
    await function(client, "f")
    return client


async def function(client: Client, name: str, **spec: Any) -> Function:
    source = FunctionSource(text="def handle(context, payload): ...")
    made = await client.create(
        Function(
            metadata=ObjectMeta(name=name, namespace="default"),
            spec=FunctionSpec(image="python3", source=source, **spec),
        )
    )
    status = FunctionStatus(state=api.READY, faas_id="1")
    return await client.change_status(made, lambda found: setattr(found, "status", status))


def new_run(payload: Any = None, name: str = "f", **spec: Any) -> Run:
    meta = ObjectMeta(name=RandomIds().uid(), namespace="default")
    return Run(metadata=meta, spec=RunSpec(function_name=name, input=payload, **spec))


@dataclass
class FullDisk(RecordedRuns):
    """Writes runs, but for so many outcomes that it first finds no room for.

    Attributes:
        verbs: what it writes by.
        refusals: how many those are.
    """

    verbs: Verbs
    refusals: int

    def __post_init__(self) -> None:
        super().__init__(self.verbs)

    async def __call__(self, run: Run) -> Run:
        if api.is_finished(run) and self.refusals:
            self.refusals -= 1
            raise InsufficientStorage("the disk is full")
        return await super().__call__(run)


@asynccontextmanager
async def executing(
    verbs: Verbs,
    client: Client,
    gate: Gate,
    *,
    clock: FakeClock | None = None,
    alone: bool = False,
    record: RecordedRuns | None = None,
) -> AsyncIterator[DispatchRunController]:
    clock = clock or FakeClock()
    runs, functions = Informer(client, Run, field_selector=UNFINISHED), Informer(client, Function)
    record = record or RecordedRuns(verbs)
    controller = DispatchRunController(
        client,
        RunQueue(client, runs, record, clock),
        functions,
        Attempts(
            gate,
            Given(nothing, nothing, partial(read_function, client), lambda *_: None),
            RunLogFollowing(client, runs),
            clock,
        ),
        record=record,
        clock=clock,
        holder=RandomIds().uid(),
        alone=alone,
    )
    async with controller.running(), background(("runs", runs.run), ("functions", functions.run)):
        yield controller


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for is the controller's own, and signals nobody
            await asyncio.sleep(0.002)


async def until(client: Client, run: Run, holds: Callable[[Run], bool]) -> Run:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds(found := await client.get(Run, run.name, namespace="default")):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.002)
    return found


async def until_begun(gate: Gate, count: int) -> None:
    await eventually(lambda: len(gate.begun) >= count)


def is_over(run: Run) -> bool:
    return api.is_finished(run)


async def test_a_deadline_is_told_to_the_millisecond(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    gate.let.set()
    hasty = await function(client, "hasty", timeout=59_250)
    async with executing(verbs, client, gate, clock=(clock := FakeClock())) as controller:
        await controller.run_now(hasty, new_run(1, "hasty"))
    assert from_rfc3339(gate.contexts[0]["deadline"]) == clock.now() + dt.timedelta(seconds=59.25)


async def test_a_run_goes_to_the_next_deployment_where_an_update_removed_its_own(verbs: Verbs, client: Client) -> None:
    gate = Gate(gone={"0"})
    gate.let.set()
    stale = (await client.get(Function, "f", namespace="default")).model_copy(deep=True)
    stale.status.faas_id = "0"
    async with executing(verbs, client, gate) as controller:
        ended = await controller.run_now(stale, new_run(1))
    assert (ended.status.state, ended.status.output, ended.status.faas_id) == (api.READY, 1, "1")


async def test_a_run_waits_for_a_deployment_that_was_never_made_here(verbs: Verbs, client: Client) -> None:
    gate = Gate(gone={"1"})
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        run = await controller.queue.submit(new_run(1))
        await eventually(lambda: bool(gate.refused))
        found = await client.get(Function, "f", namespace="default")
        await client.change_status(found, lambda function: setattr(function.status, "faas_id", "2"))
        ended = await until(client, run, is_over)
    assert (ended.status.state, ended.status.attempts, ended.status.faas_id) == (api.READY, 1, "2")


async def test_a_run_whose_deployment_is_gone_without_another_fails(
    verbs: Verbs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_attempts, "REDEPLOYMENT_SECONDS_MAX", 0.0)
    function = await client.get(Function, "f", namespace="default")
    async with executing(verbs, client, Gate(gone={"1"})) as controller:
        ended = await controller.run_now(function, new_run(1))
    assert ended.status.error is not None
    assert ended.status.error.type == "SystemError"


async def test_a_run_is_executed_and_says_how_it_ended(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        run = await controller.queue.submit(new_run({"a": None}))
        ended = await until(client, run, is_over)
    status = ended.status
    assert (status.state, status.output, status.attempts, status.claim) == (api.READY, {"a": None}, 1, None)
    assert ended.uid == run.uid


async def test_of_two_processes_one_executes_a_run(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    gate.let.set()
    async with executing(verbs, client, gate) as first, executing(verbs, client, gate):
        runs = [await first.queue.submit(new_run(number)) for number in range(20)]
        ended = [await until(client, run, is_over) for run in runs]
    assert sorted(gate.begun) == list(range(20))
    assert {run.status.attempts for run in ended} == {1}


async def test_a_run_whose_process_died_is_taken_over_when_its_lease_is_over(verbs: Verbs, client: Client) -> None:
    clock, gate = FakeClock(), Gate()
    async with executing(verbs, client, gate, clock=clock) as dying:
        run = await dying.queue.submit(new_run("x"))
        await until_begun(gate, 1)
    assert (await client.get(Run, run.name, namespace="default")).status.state == api.CREATING
    gate.let.set()
    async with executing(verbs, client, gate, clock=clock) as other:
        assert (await until(client, run, lambda _: other.queue.goes_on(("default", run.name)))).status.attempts == 1
    clock.advance(LEASE_SECONDS + 1)
    async with executing(verbs, client, gate, clock=clock):
        ended = await until(client, run, is_over)
    assert (ended.status.state, ended.status.attempts, gate.begun) == (api.READY, 2, ["x", "x"])


async def test_a_claim_of_a_clock_that_was_set_back_is_void(verbs: Verbs, client: Client) -> None:
    clock, gate = FakeClock(), Gate()
    clock.advance(7200)
    async with executing(verbs, client, gate, clock=clock) as dying:
        run = await dying.queue.submit(new_run("x"))
        await until_begun(gate, 1)
    gate.let.set()
    clock.advance(-7200)
    async with executing(verbs, client, gate, clock=clock):
        ended = await until(client, run, is_over)
    assert (ended.status.state, ended.status.attempts) == (api.READY, 2)


async def test_who_is_alone_need_not_wait_for_a_lease_of_a_life_before(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    async with executing(verbs, client, gate) as dying:
        run = await dying.queue.submit(new_run("x"))
        await until_begun(gate, 1)
    gate.let.set()
    async with executing(verbs, client, gate, alone=True):
        assert (await until(client, run, is_over)).status.attempts == 2


async def test_a_run_that_goes_on_keeps_its_lease(verbs: Verbs, client: Client) -> None:
    clock, gate = FakeClock(), Gate()
    async with executing(verbs, client, gate, clock=clock) as controller:
        run = await controller.queue.submit(new_run())
        await until_begun(gate, 1)
        clock.advance(LEASE_SECONDS)
        await controller.renew()
        found = await client.get(Run, run.name, namespace="default")
        assert found.status.claim
        assert found.status.claim.until > rfc3339(clock.now())
        gate.let.set()
        assert (await until(client, run, is_over)).status.attempts == 1


async def test_who_lost_a_claim_tells_no_outcome(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    async with executing(verbs, client, gate) as controller:
        run = await controller.queue.submit(new_run())
        await until_begun(gate, 1)
        taken = Claim(holder="other", until="2030-01-01T00:05:00Z")
        found = await client.get(Run, run.name, namespace="default")
        await client.change_status(found, lambda other: setattr(other.status, "claim", taken))
        gate.let.set()
        await eventually(lambda: not controller.statistics()["ongoing"])
        assert (await client.get(Run, run.name, namespace="default")).status.claim == taken


async def test_a_run_whose_outcome_finds_a_full_disk_is_told_of_later_and_not_executed_again(
    verbs: Verbs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_runs, "UNTOLD_SECONDS_MAX", 0.001)
    gate = Gate()
    gate.let.set()
    async with executing(verbs, client, gate, record=FullDisk(verbs, refusals=3), alone=True) as controller:
        run = await controller.queue.submit(new_run("x"))
        ended = await until(client, run, is_over)
    assert (ended.status.state, ended.status.output, ended.status.attempts) == (api.READY, "x", 1)
    assert gate.begun == ["x"]


async def test_a_run_that_ends_every_process_is_given_up(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    run = await RecordedRuns(verbs)(new_run())
    run.status.attempts = TAKEOVERS_MAX + 1
    await RecordedRuns(verbs)(run)
    async with executing(verbs, client, gate):
        ended = await until(client, run, is_over)
    assert (ended.status.state, gate.begun) == (api.ERROR, [])
    assert "each time the process that ran it ended" in (ended.status.reason or [""])[0]


async def test_a_run_that_fails_is_tried_again_when_it_is_due(verbs: Verbs, client: Client) -> None:
    clock, gate = FakeClock(), Gate(failures=1)
    gate.let.set()
    async with executing(verbs, client, gate, clock=clock) as controller:
        run = await controller.queue.submit(new_run(retries=1, backoff="1h"))
        waits = await until(client, run, lambda found: found.status.not_before is not None)
        assert waits.status.state == api.INITIALIZED
        assert waits.status.error
    clock.advance(3601)
    async with executing(verbs, client, gate, clock=clock):
        ended = await until(client, run, is_over)
    assert (ended.status.state, ended.status.attempts) == (api.READY, 2)


async def test_a_run_that_its_caller_waits_for_is_not_retried_wherever_it_is_executed(
    verbs: Verbs, client: Client
) -> None:
    gate = Gate(failures=2)
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        function = await client.get(Function, "f", namespace="default")
        here = await controller.run_now(function, new_run(retries=3, blocking=True))
        elsewhere = await controller.queue.execute(new_run(retries=3, blocking=True))
    assert {(run.status.state, run.status.attempts) for run in (here, elsewhere)} == {(api.ERROR, 1)}


async def test_a_function_has_so_many_runs_at_once_and_holds_up_no_other(verbs: Verbs, client: Client) -> None:
    await function(client, "narrow", concurrency=2)
    gate = Gate()
    async with executing(verbs, client, gate) as controller:
        narrow = [await controller.queue.submit(new_run("narrow", "narrow")) for _ in range(6)]
        await until_begun(gate, 2)
        await controller.queue.submit(new_run("wide"))
        await eventually(lambda: "wide" in gate.begun)
        assert gate.begun.count("narrow") == 2
        gate.let.set()
        for run in narrow:
            await until(client, run, is_over)
    assert gate.most_at_once == 3


@pytest.mark.parametrize("limit", ["WAITING_RUNS_MAX", "ALL_WAITING_RUNS_MAX"])
async def test_no_more_runs_wait_than_may(
    verbs: Verbs, client: Client, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_queue, limit, 3)
    async with executing(verbs, client, Gate()) as controller:
        for count in range(3):
            await controller.queue.submit(new_run())
            await eventually(lambda: controller.statistics()["unfinished"] > count)  # noqa: B023 - awaited at once
        with pytest.raises(TooManyRequests, match="no more than 3 may"):
            await controller.queue.submit(new_run())


async def test_a_name_stands_for_one_run(verbs: Verbs, client: Client) -> None:
    async with executing(verbs, client, Gate()) as controller:
        run = await controller.queue.submit(new_run())
        again = new_run()
        again.metadata.name = run.name
        with pytest.raises(AlreadyExists):
            await controller.queue.submit(again)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_run_can_be_cancelled_before_and_after_its_beginning(
    verbs: Verbs, client: Client, *, begun: bool
) -> None:
    gate = Gate()
    async with executing(verbs, client, gate) as controller:
        if not begun:
            for _ in range(4):  # take the places of the function
                await controller.queue.submit(new_run())
        await until_begun(gate, 0 if begun else 4)
        run = await controller.queue.submit(new_run("mine"))
        if begun:
            await until_begun(gate, 1)
        else:
            await eventually(lambda: controller.queue.goes_on(("default", run.name)))  # and waits for its place
        await client.change(run, lambda found: setattr(found.spec, "cancelled", True))
        ended = await until(client, run, is_over)
    assert ended.status.error
    assert (ended.status.error.type, ended.status.error.message) == ("SystemError", "the run was cancelled")
    assert ("mine" in gate.begun) == begun


async def test_a_run_that_is_deleted_is_cut_off(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    async with executing(verbs, client, gate) as controller:
        run = await controller.queue.submit(new_run())
        await until_begun(gate, 1)
        await client.delete(run)
        await eventually(lambda: not controller.statistics()["ongoing"])
        assert await client.find(Run, run.name, namespace="default") is None


async def test_a_run_continues_the_trace_that_it_came_in_and_its_function_is_told(verbs: Verbs, client: Client) -> None:
    gate = Gate()
    gate.let.set()
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    came = TraceContext(traceparent=f"00-{trace}-{span}-00", tracestate="vendor=1")
    async with executing(verbs, client, gate) as controller:
        runs = [await controller.queue.submit(new_run(trace=came)), await controller.queue.submit(new_run())]
        ended = [await until(client, run, is_over) for run in runs]
    told = {context["traceparent"]: context.get("tracestate") for context in gate.contexts}
    assert told == {ended[0].status.traceparent: "vendor=1", ended[1].status.traceparent: None}
    kept = (ended[0].status.traceparent or "").split("-")
    assert (kept[1], kept[2] != span, kept[3]) == (trace, True, "00")
    assert is_traceparent(ended[1].status.traceparent or "")


async def test_an_attempt_after_another_is_of_the_same_span(verbs: Verbs, client: Client) -> None:
    gate = Gate(failures=1)
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        run = await controller.queue.submit(new_run(retries=1, backoff="0s"))
        ended = await until(client, run, is_over)
    assert [context["traceparent"] for context in gate.contexts] == [ended.status.traceparent] * 2


def measured(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"skerry_function_{name}", {"namespace": "default", **labels})


async def test_runs_and_attempts_are_counted_by_function_until_it_is_gone(verbs: Verbs, client: Client) -> None:
    counted = await function(client, "counted", concurrency=1)
    clock, gate = FakeClock(), Gate(failures=1)
    async with executing(verbs, client, gate, clock=clock) as controller:
        runs = [new_run(name, "counted", retries=1, backoff="0s") for name in "xy"]
        for run in runs:
            run.metadata.creation_timestamp = rfc3339(clock.now())
            await controller.queue.submit(run)
        await until_begun(gate, 1)
        await eventually(lambda: controller.statistics()["unfinished"] == 2)
        clock.advance(7)
        gate.let.set()
        for run in runs:
            await until(client, run, is_over)
        await controller.run_now(counted, new_run("z", "counted"))
        await eventually(lambda: measured("runs_total", function="counted", status="READY", error_type="") == 3)
        assert measured("run_attempts_total", function="counted", result="success") == 3
        assert measured("run_attempts_total", function="counted", result="FunctionError") == 1
        assert measured("run_cold_starts_total", function="counted") == 4
        assert measured("run_seconds_sum", function="counted") == 7  # of the first attempt
        assert measured("queue_seconds_sum", function="counted") == 7  # of the run that waited for it
        assert measured("queue_seconds_count", function="counted") == 3
        await client.delete(counted)
        ending = await client.get(Function, "counted", namespace="default")
        await client.change(ending, lambda found: setattr(found.metadata, "finalizers", None))
        await eventually(lambda: measured("queue_seconds_count", function="counted") is None)
    assert measured("runs_total", function="counted", status="READY", error_type="") is None


async def test_a_run_of_a_function_that_is_not_there_is_counted_under_no_name(verbs: Verbs, client: Client) -> None:
    labels = {"function": "", "status": "ERROR", "error_type": ""}
    before = measured("runs_total", **labels) or 0
    async with executing(verbs, client, Gate()) as controller:
        await until(client, await controller.queue.submit(new_run(name="nobody")), is_over)
        await eventually(lambda: measured("runs_total", **labels) == before + 1)
    assert measured("runs_total", **{**labels, "function": "nobody"}) is None


async def test_a_run_that_nobody_owns_becomes_its_functions_whether_it_can_be_called_or_not(
    verbs: Verbs, client: Client
) -> None:
    gate, target = Gate(), FailureTarget(function="f")
    gate.let.set()
    owner = await function(client, "owner", on_failure=target)
    broken = await function(client, "broken", on_failure=target)
    broken = await client.change_status(
        broken, lambda found: setattr(found, "status", FunctionStatus(state=api.ERROR, reason=["it broke"]))
    )
    async with executing(verbs, client, gate):
        for each in (owner, broken):
            run = await client.create(new_run(name=each.name))
            ended = await until(client, run, is_over)
            assert [reference.uid for reference in ended.metadata.owner_references or ()] == [each.uid]
            assert ended.spec.on_failure == target


async def test_a_run_whose_lines_leave_no_room_is_kept_without_them_and_not_executed_again(
    verbs: Verbs, client: Client
) -> None:
    gate = Gate(prints="\x1b" * (1 << 20))  # six times as long in JSON
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        waiting = await until(client, await controller.queue.submit(new_run(1)), is_over)
        waited = await controller.run_now(await client.get(Function, "f", namespace="default"), new_run(2))
    assert gate.begun == [1, 2]
    for payload, ended in ((1, waiting), (2, waited)):
        assert (ended.status.state, ended.status.attempts, ended.status.output) == (api.READY, 1, payload)
        assert ended.status.logs
        assert ended.status.logs.stdout is None
        assert "what was printed is not kept" in (ended.status.logs.stderr or [""])[0]


async def test_a_run_without_room_for_its_output_has_failed_and_is_not_executed_again(
    verbs: Verbs, client: Client
) -> None:
    gate, large = Gate(), "x" * ((1 << 20) - 10)
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        asked = new_run(large, event={"eventType": large[:-100]})
        ended = await until(client, await controller.queue.submit(asked), is_over)
    assert (len(gate.begun), ended.status.state, ended.status.output) == (1, api.ERROR, None)
    assert ended.status.error
    assert ended.status.error.message.startswith("the output can't be kept")


async def test_input_event_and_context_of_a_run_leave_room_for_its_status(client: Client) -> None:
    large = {"of": "x" * (PAYLOAD_BYTES_MAX - 20)}
    with pytest.raises(Invalid, match="2097152 bytes of input, event and httpContext together"):
        await client.create(new_run(large, event=large, http_context={"a": "b" * 100}))
    await client.create(new_run(large, event=large))


async def test_a_run_that_finds_no_place_waits_on(
    verbs: Verbs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_runs, "RETRY_AFTER_SECONDS", 0)
    gate = Gate(crowded=3)
    gate.let.set()
    async with executing(verbs, client, gate) as controller:
        ended = await until(client, await controller.queue.submit(new_run("x")), is_over)
    assert (ended.status.state, ended.status.attempts, ended.status.output) == (api.READY, 1, "x")


async def test_a_run_of_no_function_ends(verbs: Verbs, client: Client) -> None:
    async with executing(verbs, client, Gate()) as controller:
        ended = await until(client, await controller.queue.submit(new_run(name="nobody")), is_over)
    assert ended.status.reason == ["Error getting function from store: 'nobody': not found"]
