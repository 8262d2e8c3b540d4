"""What is kept of finished runs, and that a failure to delete one ends nothing."""

import asyncio
from typing import Any

import pytest

from skerry.api.dispatch_v1 import READY, Function, Run, RunSpec, RunStatus
from skerry.api.errors import ServiceUnavailable
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers import dispatch_runs
from skerry.controllers.dispatch_runs import KEPT_SECONDS, DispatchRunController
from skerry.functions import NoopDriver
from skerry.kit.clock import rfc3339
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock


async def finished(client: Client, clock: FakeClock) -> Run:
    run = await client.create(
        Run(metadata=ObjectMeta(name=RandomIds().uid(), namespace="default"), spec=RunSpec(function_name="f"))
    )
    status = RunStatus(state=READY, attempts=1, finished_time=rfc3339(clock.now()))
    return await client.change_status(run, lambda found: setattr(found, "status", status))


async def never_recorded(run: Run) -> Run:
    raise AssertionError(run)


async def test_old_runs_go_and_a_failure_to_delete_one_is_tried_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    old = await finished(client, clock)
    clock.advance(KEPT_SECONDS + 1)
    new = await finished(client, clock)
    runs, functions = Informer(client, Run), Informer(client, Function)
    controller = DispatchRunController(client, runs, functions, NoopDriver(), never_recorded, clock, RandomIds())
    delete, failures = client.delete, [ServiceUnavailable("away")]

    async def delete_or_fail(obj: Any) -> None:
        if failures:
            raise failures.pop()
        await delete(obj)

    monkeypatch.setattr(client, "delete", delete_or_fail)
    monkeypatch.setattr(dispatch_runs, "TRIM_SECONDS", 0.01)
    gone = asyncio.Event()
    runs.on_change(lambda key: gone.set() if key[1] == old.name and runs.get(key[1], key[0]) is None else None)
    async with background(("runs", runs.run), ("functions", functions.run)), controller.running():
        async with asyncio.timeout(60):
            await gone.wait()
        assert not failures
        assert await client.find(Run, new.name, namespace="default")
