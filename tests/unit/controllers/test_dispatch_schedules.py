"""Functions that run by the clock: once for each time that is due, over restarts."""

from collections.abc import AsyncIterator

import pytest

from skerry.api.dispatch_v1 import Function, FunctionSchedule, FunctionSource, FunctionSpec, Run
from skerry.api.errors import TooManyRequests
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.dispatch_schedules import function_schedules
from skerry.controllers.schedules import Schedules
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.informed import shown


@pytest.fixture
async def functions(client: Client) -> AsyncIterator[Informer[Function]]:
    informer = Informer(client, Function)
    async with background(("functions", informer.run)):
        yield informer


async def scheduled(client: Client, informer: Informer[Function]) -> Function:
    schedule = FunctionSchedule(cron="*/5 * * * *", input=7)
    spec = FunctionSpec(image="python3", source=FunctionSource(text=""), schedules=[schedule])
    function = await client.create(Function(metadata=ObjectMeta(name="f", namespace="default"), spec=spec))
    await shown(informer, "f", lambda _: True)
    return function


async def turn(schedules: Schedules[Function], client: Client, informer: Informer[Function]) -> list[Run]:
    await schedules.turn()
    present = await client.get(Function, "f", namespace="default")
    await shown(informer, "f", lambda found: found.metadata.resource_version == present.metadata.resource_version)
    return [run async for run in client.list(Run)]


async def test_each_due_time_is_one_run_also_where_what_was_told_of_it_is_lost(
    client: Client, functions: Informer[Function]
) -> None:
    clock = FakeClock()
    schedules = function_schedules(client, functions, client.create, clock)
    function = await scheduled(client, functions)
    assert await turn(schedules, client, functions) == []
    clock.advance(300)
    (run,) = await turn(schedules, client, functions)
    assert (run.spec.input, run.spec.function_name) == (7, "f")
    (told,) = (await client.get(Function, "f", namespace="default")).status.schedules or []
    assert run.spec.event
    assert (told.last_schedule_time, told.last_result) == (run.spec.event["time"], "Succeeded")
    assert len(await turn(schedules, client, functions)) == 1

    def forget(found: Function) -> None:
        for each in found.status.schedules or ():
            each.last_schedule_time = None

    await client.change_status(await client.get(Function, function.name, namespace="default"), forget)
    again = function_schedules(client, functions, client.create, clock)
    assert len(await turn(again, client, functions)) == 1
    clock.advance(300)
    assert len(await turn(again, client, functions)) == 2


async def test_a_schedule_goes_on_when_the_clock_was_set_back_and_fires_no_time_twice(
    client: Client, functions: Informer[Function]
) -> None:
    clock = FakeClock()
    schedules = function_schedules(client, functions, client.create, clock)
    await scheduled(client, functions)
    await turn(schedules, client, functions)
    clock.advance(7200)
    assert len(await turn(schedules, client, functions)) == 24
    clock.advance(-7200)
    assert len(await turn(schedules, client, functions)) == 24
    clock.advance(7200)
    assert len(await turn(schedules, client, functions)) == 24, "the times that it had fired before"
    clock.advance(300)
    assert len(await turn(schedules, client, functions)) == 25


async def test_a_time_that_could_not_be_run_is_told_of(client: Client, functions: Informer[Function]) -> None:
    async def full(_: Run) -> Run:
        raise TooManyRequests("10000 runs wait already")

    clock = FakeClock()
    schedules = function_schedules(client, functions, full, clock)
    await scheduled(client, functions)
    await turn(schedules, client, functions)
    clock.advance(300)
    assert await turn(schedules, client, functions) == []
    (told,) = (await client.get(Function, "f", namespace="default")).status.schedules or []
    assert (told.last_result, told.last_message) == ("Failed", "10000 runs wait already")
