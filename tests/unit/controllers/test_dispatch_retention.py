"""How long finished runs are kept, and that a failure to delete one ends nothing."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from skerry.api.dispatch_v1 import READY, RUN, Run, RunSpec, RunStatus
from skerry.api.errors import ServiceUnavailable
from skerry.api.model import ObjectMeta, OwnerReference
from skerry.client.client import Client
from skerry.client.informer import Key, PartialInformer
from skerry.controllers import dispatch_retention
from skerry.controllers.dispatch_retention import KEPT_SECONDS, RunRetention
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background

OWNER = OwnerReference(api_version="dispatch.skerry.dev/v1", kind="Function", name="f", uid="u")


class Later(SystemClock):
    """The machine's clock, set forward."""

    def __init__(self, seconds: float) -> None:
        self.ahead = dt.timedelta(seconds=seconds)

    def now(self) -> dt.datetime:
        return super().now() + self.ahead


class Unfinished:
    """Knows which runs are not over."""

    def __init__(self, *names: str) -> None:
        self.names = names

    async def synced(self) -> None:
        return

    def goes_on(self, key: Key) -> bool:
        return key[1] in self.names


async def finished(client: Client, owner: OwnerReference = OWNER) -> Run:
    meta = ObjectMeta(name=RandomIds().uid(), namespace="default", owner_references=[owner])
    run = await client.create(Run(metadata=meta, spec=RunSpec(function_name="f")))
    return await client.change_status(run, lambda found: setattr(found, "status", RunStatus(state=READY)))


async def names(client: Client) -> set[str]:
    return {run.name async for run in client.list(Run)}


async def trimmed(client: Client, clock: Any, *unfinished: str) -> set[str]:
    runs = PartialInformer(client, RUN)
    async with background(("runs", runs.run)):
        await RunRetention(client, runs, Unfinished(*unfinished), clock).trim()
    return await names(client)


async def test_old_runs_go_and_those_that_are_not_over_stay(client: Client) -> None:
    old, going = await finished(client), await finished(client)
    assert await trimmed(client, Later(KEPT_SECONDS - 600)) == {old.name, going.name}
    assert await trimmed(client, Later(KEPT_SECONDS + 600), going.name) == {going.name}


async def test_of_each_function_the_newest_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_retention, "KEPT_RUNS_MAX", 2)
    other = OWNER.model_copy(update={"name": "g", "uid": "v"})
    mine, others = [await finished(client) for _ in range(4)], [await finished(client, other) for _ in range(2)]
    left = await trimmed(client, SystemClock())
    assert len(left & {run.name for run in mine}) == 2
    assert left >= {run.name for run in others}


async def test_the_more_runs_are_to_go_the_more_go_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_retention, "RUNS_PER_DELETE_AT_ONCE", 10)
    monkeypatch.setattr(dispatch_retention, "DELETES_AT_ONCE_MAX", 6)
    delete, under_way, most = client.transport.delete, 0, 0

    async def counted(*arguments: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        await delete(*arguments)
        under_way -= 1

    monkeypatch.setattr(client.transport, "delete", counted)
    for number, at_once in ((9, 4), (10, 5), (100, 6)):
        most = 0
        for _ in range(number):
            await finished(client)
        assert await trimmed(client, Later(KEPT_SECONDS + 600)) == set()
        assert most == at_once


async def test_a_failure_to_delete_is_tried_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await finished(client)
    delete, failures = client.transport.delete, [ServiceUnavailable("away")]

    async def delete_or_fail(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await delete(*arguments)

    monkeypatch.setattr(client.transport, "delete", delete_or_fail)
    runs = PartialInformer(client, RUN)
    gone = asyncio.Event()
    runs.on_change(lambda key: gone.set() if key[1] == old.name and runs.get(*reversed(key)) is None else None)
    retention = RunRetention(client, runs, Unfinished(), Later(KEPT_SECONDS + 600))
    async with background(("runs", runs.run), ("trim", retention.run)), asyncio.timeout(60):
        await gone.wait()
    assert not failures
