"""The queue of runs: callers who wait for a run that another process executes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Run, RunSpec, RunStatus
from skerry.api.errors import NotFound, ServiceUnavailable
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers import dispatch_queue
from skerry.controllers.dispatch_queue import UNFINISHED, RunQueue
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.main.adapters import RecordedRuns
from skerry.server.local import LocalTransport
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.clock import FakeClock

SECONDS_MAX = 60.0


@pytest.fixture
async def verbs() -> AsyncIterator[Verbs]:
    async with open_verbs() as (opened, _):
        yield opened


@pytest.fixture
def client(verbs: Verbs) -> Client:
    return Client(LocalTransport(verbs, manager="test"))


@pytest.fixture
async def queue(verbs: Verbs, client: Client) -> AsyncIterator[RunQueue]:
    runs = Informer(client, Run, field_selector=UNFINISHED)
    made = RunQueue(client, runs, RecordedRuns(verbs), FakeClock())
    async with background(("runs", runs.run)):
        await made.synced()
        yield made


def new_run() -> Run:
    run = Run(metadata=ObjectMeta(name=RandomIds().uid(), namespace="default"), spec=RunSpec(function_name="f"))
    run.status.state = api.INITIALIZED
    return run


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for is the queue's own, and signals nobody
            await asyncio.sleep(0.002)


async def end(client: Client, run: Run) -> None:
    """Do what another process does that executes a run."""
    status = RunStatus(state=api.READY, output=7)
    await client.change_status(run, lambda found: setattr(found, "status", status))


async def test_a_caller_is_woken_by_the_end_of_its_run_that_another_process_tells(
    client: Client, queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_queue, "LOOK_SECONDS", 3600.0)
    run = new_run()
    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(queue.execute(run))
        await eventually(lambda: queue.goes_on(("default", run.name)))
        await end(client, run)
    assert (caller.result().status.state, caller.result().status.output) == (api.READY, 7)
    assert queue.statistics() == {"unfinished": 0, "callers": 0}


async def test_a_caller_finds_the_end_that_it_was_not_told_of(
    verbs: Verbs, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_queue, "LOOK_SECONDS", 0.0)
    deaf = RunQueue(client, Informer(client, Run, field_selector=UNFINISHED), RecordedRuns(verbs), FakeClock())
    run = new_run()
    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(deaf.execute(run))
        while await client.find(Run, run.name, namespace="default") is None:  # noqa: ASYNC110 - the log signals nobody
            await asyncio.sleep(0.002)
        await end(client, run)
    assert caller.result().status.output == 7


async def test_a_caller_waits_on_where_the_log_is_away_for_a_moment(
    client: Client, queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_queue, "LOOK_SECONDS", 0.0)
    refusals, find = [ServiceUnavailable("the log is away")] * 3, client.find

    async def found(*asked: Any, **more: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await find(*asked, **more)

    run = new_run()
    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as tasks:
        monkeypatch.setattr(client, "find", found)
        caller = tasks.create_task(queue.execute(run))
        await eventually(lambda: not refusals and queue.goes_on(("default", run.name)))
        await end(client, run)
    assert caller.result().status.output == 7


async def test_a_run_whose_caller_goes_away_is_cancelled(client: Client, queue: RunQueue) -> None:
    run = new_run()
    caller = asyncio.ensure_future(queue.execute(run))
    await eventually(lambda: queue.goes_on(("default", run.name)))
    caller.cancel()
    await asyncio.wait([caller])
    assert (await client.get(Run, run.name, namespace="default")).spec.cancelled


async def test_the_caller_of_a_run_that_is_deleted_is_told(client: Client, queue: RunQueue) -> None:
    run = new_run()
    caller = asyncio.ensure_future(queue.execute(run))
    await eventually(lambda: queue.goes_on(("default", run.name)))
    await client.delete(run)
    async with asyncio.timeout(SECONDS_MAX):
        with pytest.raises(NotFound, match="deleted before its end"):
            await caller


async def test_who_begins_to_listen_hears_of_the_runs_that_are_there(client: Client, queue: RunQueue) -> None:
    run = await queue.submit(new_run())
    key = ("default", run.name)
    await eventually(lambda: queue.goes_on(key))
    heard: list[Key] = []
    with queue.heard(heard.append):
        assert heard == [key]
        await end(client, run)
        await eventually(lambda: heard == [key, key])
    assert not queue.goes_on(key)
