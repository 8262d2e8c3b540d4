"""Event drivers of type cron: each due time is one event, also where the log refused writes when it was due."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.api.dispatch_drivers import CRON, Config, EventDriver, EventDriverSpec
from skerry.api.dispatch_events import Subscription, SubscriptionSpec
from skerry.api.dispatch_v1 import Run
from skerry.api.errors import ApiError, Forbidden, InsufficientStorage, ServiceUnavailable
from skerry.api.function_schedules import ScheduleStatus
from skerry.api.model import Document, ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.transport import Target
from skerry.controllers.dispatch_events import EventDeliveries
from skerry.controllers.event_drivers import cron_drivers
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.informed import shown

EVERY_FIVE_MINUTES = 300


class RefusesWrites:
    """A transport that takes no writes of some kinds for a while."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.refusal: ApiError | None = None
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def create(self, target: Target, document: Document) -> Document:
        self._look(target)
        created: Document = await self._transport.create(target, document)
        return created

    async def replace(self, target: Target, document: Document) -> Document:
        self._look(target)
        replaced: Document = await self._transport.replace(target, document)
        return replaced

    def _look(self, target: Target) -> None:
        if self.refusal is not None and target.kind.kind in self.refused:
            raise self.refusal


class Driven:
    """A driver that is due every five minutes, a subscription to its events, and a clock."""

    def __init__(self, client: Client, drivers: Informer[EventDriver], transport: RefusesWrites) -> None:
        self.client = client
        self.drivers = drivers
        self.transport = transport
        self.clock = FakeClock()
        self.begin()

    def begin(self) -> None:
        """Begin anew, as another process does."""
        deliveries = EventDeliveries(self.client, self.client.create)
        self.schedules = cron_drivers(self.client, self.drivers, deliveries, self.clock)

    async def turn(self) -> None:
        """Let it look at the clock once, and see what it wrote."""
        await self.schedules.turn()
        present = (await self.client.get(EventDriver, "d", namespace="default")).metadata.resource_version
        await shown(self.drivers, "d", lambda found: found.metadata.resource_version == present)

    async def later(self, *, due_times: int) -> None:
        """Let as many due times pass, and look."""
        self.clock.advance(due_times * EVERY_FIVE_MINUTES)
        await self.turn()

    async def told(self) -> ScheduleStatus:
        """What is told of its schedule."""
        driver = await self.client.get(EventDriver, "d", namespace="default")
        [status] = driver.status.schedules or []
        return status

    async def emitted(self) -> list[str]:
        """The times of its events, in their order."""
        return sorted([(run.spec.event or {})["time"] async for run in self.client.list(Run)])


@pytest.fixture
async def driven(client: Client) -> AsyncIterator[Driven]:
    transport = RefusesWrites(client.transport)
    client = Client(transport)
    drivers = Informer(client, EventDriver)
    metadata = ObjectMeta(name="d", namespace="default")
    await client.create(Subscription(metadata=metadata, spec=SubscriptionSpec(function="f", event_type="cron.trigger")))
    settings = [Config(key="cron", value="*/5 * * * *")]
    await client.create(EventDriver(metadata=metadata, spec=EventDriverSpec(type=CRON, config=settings)))
    async with background(("drivers", drivers.run)):
        await shown(drivers, "d", lambda _: True)
        opened = Driven(client, drivers, transport)
        await opened.turn()
        yield opened


@pytest.mark.parametrize("refusal", [InsufficientStorage("the disk is full"), ServiceUnavailable("no database")])
@pytest.mark.parametrize("refused", [{"Run"}, {"Run", "EventDriver"}], ids=["runs", "statuses too"])
async def test_what_is_due_while_the_log_refuses_writes_is_made_up_for(
    refusal: ApiError, refused: set[str], driven: Driven
) -> None:
    await driven.later(due_times=1)
    assert len(await driven.emitted()) == 1
    driven.transport.refused, driven.transport.refusal = refused, refusal
    for _ in range(3):
        await driven.later(due_times=1)
    assert len(await driven.emitted()) == 1
    driven.transport.refusal = None
    await driven.turn()
    assert len(set(await driven.emitted())) == 4
    told = await driven.told()
    assert (told.last_result, told.last_message) == ("Succeeded", None)
    await driven.turn()
    assert len(await driven.emitted()) == 4


async def test_why_a_due_time_is_waiting_is_told(driven: Driven) -> None:
    driven.transport.refused, driven.transport.refusal = {"Run"}, InsufficientStorage("the disk is full")
    await driven.later(due_times=1)
    told = await driven.told()
    assert (told.last_result, told.last_message, told.last_schedule_time) == ("Failed", "the disk is full", None)


async def test_each_due_time_of_a_day_without_a_control_plane_is_one_event(driven: Driven) -> None:
    driven.begin()
    await driven.later(due_times=12 * 30)
    for _ in range(3):
        await driven.turn()
    emitted = await driven.emitted()
    assert emitted[-1] == (await driven.told()).last_schedule_time
    assert len(emitted) == 12 * 24


async def test_what_is_refused_for_good_holds_up_no_later_time(driven: Driven) -> None:
    driven.transport.refused, driven.transport.refusal = {"Run"}, Forbidden("no runs here")
    await driven.later(due_times=1)
    told = await driven.told()
    assert (told.last_result, told.last_message) == ("Failed", "no runs here")
    driven.transport.refusal = None
    await driven.later(due_times=1)
    assert await driven.emitted() == [(await driven.told()).last_schedule_time]
