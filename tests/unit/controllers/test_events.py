"""Events: one a reason, counted; written beside the work; gone when they are old."""

from skerry.api.core_v1 import EVENT, Event, ObjectReference
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginSpec
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.events import MESSAGE_CHARACTERS_MAX, EventRecorder
from skerry.client.informer import ReadInformer
from skerry.controllers.events import EVENT_SECONDS_MAX, EventExpirer, dated_event
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock


async def plugin(client: Client, name: str = "a") -> WasmPlugin:
    metadata = ObjectMeta(name=name, namespace="default")
    return await client.create(WasmPlugin(metadata=metadata, spec=WasmPluginSpec(url="h.example/a")))


async def stored(client: Client) -> list[Event]:
    return [event async for event in client.list(Event, namespace="default")]


async def test_what_happens_again_is_counted_in_one_event(client: Client) -> None:
    clock, about = FakeClock(), await plugin(client)
    recorder = EventRecorder(client, "tester", clock)
    await recorder.record(about, "Warning", "NotFound", "first")
    clock.advance(60)
    await recorder.record(about, "Warning", "NotFound", "second")
    await recorder.record(about, "Normal", "Fetched", "there")
    again, other = sorted(await stored(client), key=lambda event: event.count or 0, reverse=True)
    assert (again.count, again.message, again.type) == (2, "second", "Warning")
    assert (again.first_timestamp, again.last_timestamp) == ("2030-01-01T00:00:00Z", "2030-01-01T00:01:00Z")
    assert again.involved_object.uid == about.uid
    assert (other.count, other.reason) == (1, "Fetched")


async def test_an_event_of_the_longest_name_and_message_is_written(client: Client) -> None:
    about = await plugin(client, "n" * 253)
    await EventRecorder(client, "tester", FakeClock()).record(about, "Normal", "Fetched", "m" * 5000)
    (event,) = await stored(client)
    assert len(event.message or "") == MESSAGE_CHARACTERS_MAX


async def test_an_event_that_can_not_be_written_holds_up_nobody(client: Client) -> None:
    about = await plugin(client)
    about.metadata.namespace = "none"
    await EventRecorder(client, "tester", FakeClock()).record(about, "Normal", "Fetched", "there")
    assert await stored(client) == []


async def test_events_go_when_they_are_old_and_what_happens_again_stays(client: Client) -> None:
    clock, about = FakeClock(), await plugin(client)
    recorder = EventRecorder(client, "tester", clock)
    await recorder.record(about, "Warning", "Old", "once")
    await recorder.record(about, "Warning", "Again", "once")
    clock.advance(EVENT_SECONDS_MAX)
    await recorder.record(about, "Warning", "Again", "twice")
    clock.advance(1)
    informer = ReadInformer(client, EVENT, dated_event)
    async with background(("events", informer.run)):
        await informer.synced()
        await EventExpirer(client, informer, clock).expire()
    assert [event.reason for event in await stored(client)] == ["Again"]


async def test_an_event_of_a_user_without_times_counts_from_its_creation(client: Client) -> None:
    clock = FakeClock()  # far ahead of the clock that stamps what is created
    await client.create(
        Event(
            metadata=ObjectMeta(name="own", namespace="default"),
            involved_object=ObjectReference(namespace="default", name="x", kind="Y"),
            event_time="2029-12-31T23:59:59.123456Z",
        )
    )
    informer = ReadInformer(client, EVENT, dated_event)
    async with background(("events", informer.run)):
        await informer.synced()
        expirer = EventExpirer(client, informer, clock)
        await expirer.expire()
        assert len(await stored(client)) == 1
        clock.advance(EVENT_SECONDS_MAX)
        await expirer.expire()
    assert await stored(client) == []
