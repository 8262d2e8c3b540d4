"""Service instances over a broker that behaves as the specification says: crashes, refusals, and their end."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from skerry.api.core_v1 import Secret
from skerry.api.dispatch_services import (
    ServiceBroker,
    ServiceBrokerSpec,
    ServiceClass,
    ServiceClassSpec,
    ServiceInstance,
    ServiceInstanceSpec,
    ServicePlan,
)
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.dispatch_services import ServiceInstanceController
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.faas_engines import serving
from skerry.testing.informed import shown
from skerry.testing.service_broker import PASSWORD, SERVICE, SMALL, USER, FakeServiceBroker


def meta(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="default")


@pytest.fixture
def broker() -> Iterator[FakeServiceBroker]:
    fake = FakeServiceBroker(slow=True)
    with serving(fake):
        yield fake


@pytest.fixture
async def offered(client: Client, broker: FakeServiceBroker) -> FakeServiceBroker:
    """The broker, known to us with its class."""
    await client.create(Secret(metadata=meta("password"), string_data={"username": USER, "password": PASSWORD}))
    spec = ServiceBrokerSpec(url=broker.url, auth_secret="password")
    await client.create(ServiceBroker(metadata=meta("fake"), spec=spec))
    plans = [ServicePlan(name="small", id=SMALL)]
    of_broker = ServiceClassSpec(broker="fake", id=SERVICE, plans=plans)
    await client.create(ServiceClass(metadata=meta("database"), spec=of_broker))
    return broker


@asynccontextmanager
async def reconciling(client: Client, poll_seconds: float = 0.001) -> AsyncIterator[Informer[ServiceInstance]]:
    """Be a process of Skerry for the length of the block; yields what it sees."""
    instances, classes = Informer(client, ServiceInstance), Informer(client, ServiceClass)
    controller = ServiceInstanceController(client, instances, classes, FakeClock(), poll_seconds=poll_seconds)
    async with controller.running(), background(("instances", instances.run), ("classes", classes.run)):
        yield instances


async def create(client: Client) -> ServiceInstance:
    spec = ServiceInstanceSpec(service_class="database", service_plan="small")
    return await client.create(ServiceInstance(metadata=meta("orders"), spec=spec))


async def test_what_a_process_had_begun_when_it_died_another_one_ends(
    client: Client, offered: FakeServiceBroker
) -> None:
    async with reconciling(client) as instances:
        made = await create(client)
        await shown(instances, "orders", lambda found: found.status.operation is not None)
    async with reconciling(client) as instances:
        ready = await shown(instances, "orders", lambda found: found.status.state == "READY")
    assert ready.status.provisioned
    assert list(offered.instances) == [made.uid]
    secret = await client.get(Secret, made.uid, namespace="default")
    assert [owner.uid for owner in secret.metadata.owner_references or ()] == [made.uid]
    assert sorted(secret.data or ()) == ["port", "uri"]


async def test_an_instance_that_changes_while_its_broker_is_at_it_has_one_look_to_come(
    client: Client, offered: FakeServiceBroker
) -> None:
    offered.looks_until_done = 100
    async with reconciling(client, poll_seconds=3600.0):
        made = await create(client)
        for count in range(1, 6):
            async with asyncio.timeout(60):
                while sum(offered.looks.values()) < count:  # noqa: ASYNC110 - a thread's
                    await asyncio.sleep(0.002)
            await client.change(made, partial(label, number=count))
        assert len(timers_of_an_hour()) == 1


def label(instance: ServiceInstance, number: int) -> None:
    instance.metadata.labels = {"number": str(number)}


def timers_of_an_hour() -> list[asyncio.TimerHandle]:
    """Return what the event loop is to do in about an hour."""
    gc.collect()
    later = asyncio.get_running_loop().time() + 3000
    timers = (each for each in gc.get_objects() if isinstance(each, asyncio.TimerHandle))
    return [each for each in timers if not each.cancelled() and later < each.when() < later + 600]


async def test_a_deleted_instance_leaves_nothing_with_its_broker_even_where_its_class_is_gone(
    client: Client, offered: FakeServiceBroker
) -> None:
    async with reconciling(client) as instances:
        await create(client)
        ready = await shown(instances, "orders", lambda found: found.status.state == "READY")
        await client.delete(await client.get(ServiceClass, "database", namespace="default"))
        gone = asyncio.Event()
        instances.on_change(lambda key: gone.set() if instances.get(key[1], key[0]) is None else None)
        await client.delete(ready)
        async with asyncio.timeout(60):
            await gone.wait()
    assert (offered.instances, offered.bindings) == ({}, {})
