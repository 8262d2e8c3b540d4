import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from skerry.agent.schedules import INTERRUPTED, LEASE_SECONDS, RunError, Scheduler
from skerry.api.core_v1 import Event
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction, EdgeFunctionRevision
from skerry.api.function_schedules import CATCH_UP_SECONDS_MAX, Schedule, ScheduleStatus
from skerry.api.model import ObjectMeta, OwnerReference, from_document
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.engine.scheduled import ScheduledCall
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.manifests import answering, edge_function

EVERY_MINUTE = Schedule(cron="* * * * *")


@dataclass
class FakeRunner:
    calls: list[ScheduledCall] = field(default_factory=list)
    failure: str = ""
    gate: asyncio.Event | None = None

    async def run(self, call: ScheduledCall, *, timeout_seconds: float) -> None:
        assert timeout_seconds > 0
        self.calls.append(call)
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise RunError(self.failure)

    @property
    def dues(self) -> list[int]:
        return [call.due_ms // 1000 % 86_400 for call in self.calls]


@dataclass
class World:
    client: Client
    functions: Informer[EdgeFunction]
    scheduler: Scheduler
    runner: FakeRunner
    clock: FakeClock
    changed: asyncio.Event

    async def deploy(self, *schedules: Schedule, revision: str = "f-4") -> None:
        """Make a revision with schedules live, and served."""
        document = json.loads(edge_function("f", answering("x")))
        function = await self.client.find(EdgeFunction, "f")
        if function is None:
            function = await self.client.create(from_document(EdgeFunction, document))
        owner = OwnerReference(api_version=EDGE_FUNCTION.api_version, kind="EdgeFunction", name="f", uid=function.uid)
        spec = function.spec.template.model_copy(update={"schedules": list(schedules) or None}, deep=True)
        metadata = ObjectMeta(name=revision, owner_references=[owner])
        await self.client.create(EdgeFunctionRevision(metadata=metadata, spec=spec))

        def go_live(found: EdgeFunction) -> None:
            found.status.live_revision = found.status.serving_revision = revision

        await self.client.change_status(function, go_live)
        await self.turn_until(lambda found: [s.cron for s in found] == [s.cron for s in schedules])

    async def turn_until(self, holds: Callable[[list[ScheduleStatus]], bool]) -> list[ScheduleStatus]:
        """Let the scheduler look again and again until what it has told of is as asked."""
        async with asyncio.timeout(60):
            while True:
                await self.scheduler.turn()
                function = self.functions.get("f")
                statuses = (function.status.schedules or []) if function else []
                if function and function.status.live_revision and holds(statuses):
                    return statuses
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def scheduling(
    clock: FakeClock | None = None, runner: FakeRunner | None = None, client: Client | None = None
) -> AsyncIterator[World]:
    """One life of the scheduler."""
    clock, runner = clock or FakeClock(), runner or FakeRunner()
    if client is None:
        async with memory_control_plane() as made, scheduling(clock, runner, made) as world:
            yield world
        return
    functions, revisions = Informer(client, EdgeFunction), Informer(client, EdgeFunctionRevision)
    changed = asyncio.Event()
    functions.on_change(lambda _: changed.set())
    revisions.on_change(lambda _: changed.set())
    scheduler = Scheduler(client, functions, revisions, runner, clock=clock, holder=RandomIds().uid())
    async with background(("functions", functions.run), ("revisions", revisions.run)):
        try:
            yield World(client, functions, scheduler, runner, clock, changed)
        finally:
            await scheduler.stop()


def lease_seconds(statuses: list[ScheduleStatus], clock: FakeClock) -> float:
    claim = statuses[0].claim
    return claim.seconds_left(clock.now()) if claim else 0.0


def done(statuses: list[ScheduleStatus]) -> bool:
    return all(status.last_result not in {None, "Running"} for status in statuses)


async def test_what_is_due_runs_once_and_its_result_is_told():
    async with scheduling() as world:
        await world.deploy(EVERY_MINUTE)
        world.clock.advance(59)
        await world.turn_until(lambda _: True)
        assert world.runner.calls == []
        world.clock.advance(1)
        [status] = await world.turn_until(done)
        assert (status.last_result, status.last_schedule_time) == ("Succeeded", "2030-01-01T00:01:00Z")
        assert [(call.revision, call.cron) for call in world.runner.calls] == [("f-4", "* * * * *")]
        for _ in range(3):
            await world.turn_until(done)
        assert world.runner.dues == [60]


async def test_a_failure_is_told_in_the_status_and_as_an_event():
    async with scheduling(runner=FakeRunner(failure="Error: no luck")) as world:
        await world.deploy(EVERY_MINUTE)
        world.clock.advance(60)
        [status] = await world.turn_until(done)
        assert (status.last_result, status.last_message) == ("Failed", "Error: no luck")
        [event] = [event async for event in world.client.list(Event)]
        assert (event.type, event.reason) == ("Warning", "ScheduledRunFailed")
        assert event.message == "* * * * * (Etc/UTC), revision f-4: Error: no luck"


async def test_what_was_missed_while_nothing_ran_is_made_up_for_once():
    clock, runner = FakeClock(), FakeRunner()
    async with memory_control_plane() as client:
        async with scheduling(clock, runner, client) as world:
            await world.deploy(EVERY_MINUTE, Schedule(cron="30 0 * * *"))
        clock.advance(30 * 60 + CATCH_UP_SECONDS_MAX + 30)
        async with scheduling(clock, runner, client) as world:
            await world.turn_until(lambda found: found[0].last_result == "Succeeded")
            assert runner.dues == [40 * 60], "the last of many; and what is too old is not made up for"


async def test_a_schedule_goes_on_when_the_clock_was_set_back():
    async with scheduling() as world:
        world.clock.advance(7200)
        await world.deploy(EVERY_MINUTE)
        world.clock.advance(60)
        await world.turn_until(done)
        world.clock.advance(-7200)
        await world.turn_until(lambda found: found[0].last_schedule_time is None)
        world.clock.advance(60)
        [status] = await world.turn_until(lambda found: found[0].last_schedule_time is not None and done(found))
        assert status.last_schedule_time == "2030-01-01T00:02:00Z"
        assert world.runner.dues == [7260, 120]


async def test_a_run_that_a_restart_cut_short_is_told_and_not_repeated():
    clock, runner = FakeClock(), FakeRunner(gate=asyncio.Event())
    async with memory_control_plane() as client:
        async with scheduling(clock, runner, client) as world:
            await world.deploy(EVERY_MINUTE)
            clock.advance(60)
            await world.turn_until(lambda found: found[0].last_result == "Running")
        async with scheduling(clock, runner, client) as world:
            clock.advance(LEASE_SECONDS)
            [status] = await world.turn_until(done)
            assert (status.last_result, status.last_message) == ("Interrupted", INTERRUPTED)
            assert runner.dues == [60]


async def test_what_is_due_while_it_still_runs_is_passed_over():
    gate = asyncio.Event()
    async with scheduling(runner=FakeRunner(gate=gate)) as world:
        await world.deploy(EVERY_MINUTE)
        for minute in ("01", "02", "03"):
            world.clock.advance(60)
            await world.turn_until(lambda found, m=minute: found[0].last_schedule_time == f"2030-01-01T00:{m}:00Z")  # type: ignore[misc]
        gate.set()
        await world.turn_until(done)
        world.clock.advance(60)
        await world.turn_until(lambda found: found[0].last_schedule_time == "2030-01-01T00:04:00Z" and done(found))
        assert world.runner.dues == [60, 240]


async def test_two_who_look_at_the_same_time_fire_once():
    clock, runner = FakeClock(), FakeRunner()
    async with (
        memory_control_plane() as client,
        scheduling(clock, runner, client) as world,
        scheduling(clock, runner, client) as other,
    ):
        await world.deploy(EVERY_MINUTE)
        await other.turn_until(lambda found: len(found) == 1)
        clock.advance(60)
        await asyncio.gather(world.scheduler.turn(), other.scheduler.turn())
        await world.turn_until(lambda found: found[0].last_result is not None)
        assert runner.dues == [60]


async def test_only_the_schedules_of_the_live_revision_fire():
    async with scheduling() as world:
        await world.deploy(EVERY_MINUTE, Schedule(cron="0 3 * * *"))
        world.clock.advance(60)
        await world.turn_until(lambda found: found[0].last_result == "Succeeded")
        await world.deploy(Schedule(cron="0 3 * * *"), revision="f-5")
        world.clock.advance(600)
        await world.turn_until(lambda found: len(found) == 1)
        await world.deploy(revision="f-6")
        assert world.runner.dues == [60]


async def test_what_one_node_runs_is_no_other_nodes_to_tell_of_or_to_pass_over():
    clock, runner, idle = FakeClock(), FakeRunner(gate=asyncio.Event()), FakeRunner()
    async with (
        memory_control_plane() as client,
        scheduling(clock, runner, client) as world,
        scheduling(clock, idle, client) as other,
    ):
        await world.deploy(EVERY_MINUTE)
        clock.advance(60)
        await world.turn_until(lambda found: found[0].last_result == "Running")
        for _ in range(12):  # a minute, in which the lease of the first claim would have ended thrice
            clock.advance(5)
            [told] = await world.turn_until(lambda found: lease_seconds(found, clock) >= LEASE_SECONDS / 2)
            await other.turn_until(lambda found, until=told.claim: found[0].claim == until)  # type: ignore[misc]
        [status] = await world.turn_until(lambda found: found[0].last_schedule_time == "2030-01-01T00:02:00Z")
        assert status.last_result == "Running"
        assert runner.gate
        runner.gate.set()
        [status] = await world.turn_until(done)
        assert (status.last_result, status.claim) == ("Succeeded", None)
        assert (runner.dues, idle.dues) == ([60], [])


async def test_the_schedules_of_a_node_that_died_are_taken_over_when_its_claim_has_ended():
    clock, runner, heir = FakeClock(), FakeRunner(gate=asyncio.Event()), FakeRunner()
    async with memory_control_plane() as client, scheduling(clock, heir, client) as other:
        async with scheduling(clock, runner, client) as world:
            await world.deploy(EVERY_MINUTE)
            clock.advance(60)
            await world.turn_until(lambda found: found[0].last_result == "Running")
        clock.advance(LEASE_SECONDS - 1)
        [status] = await other.turn_until(lambda found: found[0].last_result is not None)
        assert status.last_result == "Running"
        clock.advance(1)
        [status] = await other.turn_until(done)
        assert (status.last_result, status.claim) == ("Interrupted", None)
        clock.advance(60 - LEASE_SECONDS)
        await other.turn_until(lambda found: found[0].last_result == "Succeeded")
        assert (runner.dues, heir.dues) == ([60], [120])


async def test_who_was_thought_dead_tells_nothing_of_a_run_that_another_one_took_over():
    clock, runner, heir = FakeClock(), FakeRunner(gate=asyncio.Event()), FakeRunner(gate=asyncio.Event())
    async with (
        memory_control_plane() as client,
        scheduling(clock, runner, client) as world,
        scheduling(clock, heir, client) as other,
    ):
        await world.deploy(EVERY_MINUTE)
        clock.advance(60)
        await world.turn_until(lambda found: found[0].last_result == "Running")
        clock.advance(60)  # in which it renews nothing
        [taken] = await other.turn_until(lambda found: found[0].last_schedule_time == "2030-01-01T00:02:00Z")
        assert runner.gate
        assert heir.gate
        runner.gate.set()
        async with asyncio.timeout(60):
            while world.scheduler.statistics()["runs"]:  # noqa: ASYNC110 - its end is told to nobody
                await asyncio.sleep(0.002)
        [function] = [found async for found in client.list(EdgeFunction)]
        assert function.status.schedules == [taken]
        heir.gate.set()
        [status] = await other.turn_until(done)
        assert (status.last_result, heir.dues) == ("Succeeded", [120])
