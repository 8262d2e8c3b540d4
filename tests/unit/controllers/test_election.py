"""Which of many replicas leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skerry.api.coordination_v1 import Lease
from skerry.api.errors import ServiceUnavailable
from skerry.client.client import Client
from skerry.client.transport import Transport
from skerry.controllers import election
from skerry.controllers.election import NAMESPACE, Election, ElectionSettings
from skerry.kit.clock import SystemClock
from skerry.kit.errors import ConfigurationError
from skerry.testing.clock import FakeClock
from skerry.testing.control_plane import memory_control_plane

SECONDS_MAX = 60.0
#: Long before a cancellation is asked for again.
ENDS_SECONDS_MAX = 20.0


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with memory_control_plane() as client:
        yield client


async def lease_of(client: Client) -> Lease:
    return await client.get(Lease, "test", namespace=NAMESPACE)


async def test_one_of_many_that_ask_at_once_gets_the_lease(client: Client):
    elections = [Election(client, "test", f"replica-{number}", FakeClock()) for number in range(8)]
    async with asyncio.TaskGroup() as group:
        attempts = [group.create_task(election.attempt()) for election in elections]
    won = [attempt.result() for attempt in attempts]
    assert sum(won) == 1
    lease = await lease_of(client)
    assert lease.spec.holder_identity == f"replica-{won.index(True)}"
    assert (lease.spec.lease_duration_seconds, lease.spec.lease_transitions) == (15, 0)


async def test_a_lease_that_is_renewed_is_never_taken_whatever_the_clocks_say(client: Client):
    holders, others = FakeClock(), FakeClock()
    others.advance(1_000_000.0)
    holder, other = Election(client, "test", "holder", holders), Election(client, "test", "other", others)
    for _ in range(20):
        assert await holder.attempt()
        assert not await other.attempt()
        holders.advance(2.0)
        others.advance(14.0)


async def test_a_lease_that_is_not_renewed_is_taken_once_it_was_watched_for_long_enough(client: Client):
    clock = FakeClock()
    await Election(client, "test", "gone", FakeClock()).attempt()
    other = Election(client, "test", "other", clock)
    assert not await other.attempt()
    clock.advance(14.9)
    assert not await other.attempt()
    clock.advance(0.1)
    assert await other.attempt()
    assert (await lease_of(client)).spec.lease_transitions == 1


async def test_of_two_that_find_it_unrenewed_one_takes_it(client: Client):
    clock = FakeClock()
    await Election(client, "test", "gone", FakeClock()).attempt()
    elections = [Election(client, "test", name, clock) for name in ("a", "b", "c")]
    assert not any([await election.attempt() for election in elections])
    clock.advance(15.0)
    async with asyncio.TaskGroup() as group:
        attempts = [group.create_task(election.attempt()) for election in elections]
    assert sum(attempt.result() for attempt in attempts) == 1


class Duties:
    """What a leader does: tells when it begins and ends."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        self.ended.clear()
        self.begun.set()
        try:
            yield
        finally:
            self.begun.clear()
            self.ended.set()


class Unhurried(Duties):
    """Duties that go on ending until they are told to stop once more."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = asyncio.Event()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        async with super().__call__():
            try:
                yield
            finally:
                self.ending.set()
                await asyncio.Event().wait()


class Misreading(Client):
    """A client that takes a cancellation of its first words for a failure of the API."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self.asked = asyncio.Event()

    async def find(self, *_: Any, **__: Any) -> Any:
        if self.asked.is_set():
            return None
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise ServiceUnavailable("the connection was cut") from error


QUICK = ElectionSettings(lease_seconds=3600.0, renew_seconds=3599.0, retry_seconds=0.01)


async def test_duties_end_when_the_lease_is_anothers_and_a_lease_given_back_is_taken_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(election, "RELEASE_SECONDS_MAX", SECONDS_MAX)
    first, second = Duties(), Duties()
    clock = SystemClock()
    async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
        leading = group.create_task(Election(client, "test", "first", clock, QUICK).run(first))
        await first.begun.wait()
        waiting = group.create_task(Election(client, "test", "second", clock, QUICK).run(second))
        leading.cancel()
        await second.begun.wait()  # long before the lease is over
        assert first.ended.is_set()
        assert (await lease_of(client)).spec.holder_identity == "second"
        waiting.cancel()
    assert (await lease_of(client)).spec.holder_identity is None


async def test_who_cannot_renew_ends_its_duties_before_another_may_lead(client: Client):
    duties = Duties()
    settings = ElectionSettings(lease_seconds=60.0, renew_seconds=0.2, retry_seconds=0.01)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        leading = group.create_task(Election(client, "test", "robbed", SystemClock(), settings).run(duties))
        await duties.begun.wait()

        def rob(lease: Lease) -> None:
            lease.spec.holder_identity = "robber"

        await client.change(await lease_of(client), rob)
        await duties.ended.wait()
        leading.cancel()
    assert (await lease_of(client)).spec.holder_identity == "robber"


async def test_who_is_told_to_stop_as_the_lease_is_lost_stops(client: Client):
    duties = Unhurried()
    settings = ElectionSettings(lease_seconds=60.0, renew_seconds=0.2, retry_seconds=0.01)
    leading = asyncio.ensure_future(Election(client, "test", "robbed", SystemClock(), settings).run(duties))
    await duties.begun.wait()

    def rob(lease: Lease) -> None:
        lease.spec.holder_identity = "robber"

    await client.change(await lease_of(client), rob)
    await duties.ending.wait()
    leading.cancel()
    done, _ = await asyncio.wait([leading], timeout=ENDS_SECONDS_MAX)
    assert done


async def test_who_is_told_to_stop_stops_whatever_its_client_makes_of_that(client: Client):
    misreading = Misreading(client.transport)
    waiting = asyncio.ensure_future(Election(misreading, "test", "stopped", SystemClock(), QUICK).run(Duties()))
    await misreading.asked.wait()
    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=ENDS_SECONDS_MAX)
    assert done


@pytest.mark.parametrize("times", [(15, 15, 2), (15, 10, 10), (15, 10, 0)])
def test_times_that_would_let_two_lead_are_refused(times: tuple[float, float, float]):
    with pytest.raises(ConfigurationError, match="retry_seconds < renew_seconds < lease_seconds"):
        ElectionSettings(*times)
