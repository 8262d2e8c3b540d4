"""The programs of event drivers, while the log can't be read and when that lasts."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.api.dispatch_drivers import EventDriver, EventDriverSpec, EventDriverType, EventDriverTypeSpec
from skerry.api.errors import ServiceUnavailable
from skerry.api.model import Document, ObjectMeta
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.client.transport import Target
from skerry.controllers import event_drivers
from skerry.controllers.event_drivers import LEASE_SECONDS, EventDriverController
from skerry.kit.ids import RandomIds
from skerry.testing.clock import FakeClock
from skerry.testing.informed import shown
from skerry.testing.waiting import until


class AwayNowAndThen:
    """A transport whose objects can't be read for a while."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.is_away = False
        self.reads = 0
        self._changed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def get(self, target: Target) -> Document:
        self.reads += 1
        self._changed.set()
        if self.is_away:
            raise ServiceUnavailable("the database is away")
        document: Document = await self._transport.get(target)
        return document

    async def more_reads(self, count: int) -> None:
        """Wait until it has been asked for so many more objects."""
        wanted = self.reads + count
        while self.reads < wanted:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
def transport(client: Client) -> AwayNowAndThen:
    return AwayNowAndThen(client.transport)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def lives(
    transport: AwayNowAndThen, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """A driver that runs; the file has the process of each life of its program."""
    monkeypatch.setattr(event_drivers, "LOOK_SECONDS", 0.01)
    lives = tmp_path / "lives"
    client = Client(transport)
    program = ["/bin/sh", "-c", f"echo $$ >> {lives}; exec sleep 3600"]
    metadata = ObjectMeta(name="driver", namespace="default")
    await client.create(EventDriverType(metadata=metadata, spec=EventDriverTypeSpec(command=program)))
    await client.create(EventDriver(metadata=metadata, spec=EventDriverSpec(type="driver")))
    async with controlled(client, clock, tmp_path):
        await asyncio.to_thread(until, lambda: lives.exists() and lives.read_text())
        yield lives


@asynccontextmanager
async def controlled(client: Client, clock: FakeClock, folder: Path) -> AsyncIterator[None]:
    informers = Informers(client)
    drivers = informers.of(EventDriver)
    with ThreadPoolExecutor(1) as executor:
        controller = EventDriverController(
            client, drivers, lambda _: "http://localhost/", folder / "logs", clock, RandomIds(), executor
        )
        async with controller.running(), informers.running():
            await shown(drivers, "driver", lambda found: found.status.state == "READY")
            yield


def alive(lives: Path) -> list[bool]:
    return [Path("/proc", pid).exists() for pid in lives.read_text().split()]


async def test_a_program_goes_on_while_the_log_is_away_for_a_moment(transport: AwayNowAndThen, lives: Path) -> None:
    transport.is_away = True
    await transport.more_reads(5)
    transport.is_away = False
    await transport.more_reads(5)
    assert alive(lives) == [True]


async def test_a_program_ends_when_its_claim_does_while_the_log_is_away(
    transport: AwayNowAndThen, clock: FakeClock, lives: Path
) -> None:
    transport.is_away = True
    await transport.more_reads(2)
    clock.advance(LEASE_SECONDS)
    await transport.more_reads(2)
    transport.is_away = False
    await asyncio.to_thread(until, lambda: alive(lives) == [False, True])
