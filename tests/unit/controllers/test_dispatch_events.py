"""What runs an event begins, and that it begins them once."""

import pytest

from skerry.api.dispatch_events import Event, EventFilter, Subscription, SubscriptionSpec, is_wanted, own_event
from skerry.api.dispatch_failures import FailureTarget
from skerry.api.dispatch_v1 import Function, FunctionSource, FunctionSpec, Run
from skerry.api.errors import TooManyRequests
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.controllers.dispatch_events import EventDeliveries, Submit


def event(**attributes: str) -> Event:
    made = own_event("t", source="/s", event_id="1", time="2026-01-01T00:00:00Z", data=None)
    return Event({**made.attributes, **attributes}, made.shown, made.data)


async def subscribe(client: Client, name: str, **spec: object) -> Subscription:
    wanted = SubscriptionSpec.model_validate({"event_type": "t", "function": name, **spec})
    return await client.create(Subscription(metadata=ObjectMeta(name=name, namespace="default"), spec=wanted))


def room_for_all_but(client: Client, full: str) -> Submit:
    async def submit(run: Run) -> Run:
        if run.spec.function_name == full:
            raise TooManyRequests("full")
        return await client.create(run)

    return submit


async def test_an_event_that_is_sent_again_begins_no_further_run(client: Client) -> None:
    await subscribe(client, "one")
    await subscribe(client, "two")
    deliveries = EventDeliveries(client, client.create)
    first = await deliveries.deliver("default", event())
    assert len(first) == 2
    assert await deliveries.deliver("default", event()) == first
    assert len([run async for run in client.list(Run)]) == 2
    assert await deliveries.deliver("default", event(id="2")) != first


async def test_a_subscription_without_room_refuses_the_event_after_all_others_have_it(client: Client) -> None:
    for name in ("a", "full", "z"):
        await subscribe(client, name)
    deliveries = EventDeliveries(client, room_for_all_but(client, "full"))
    with pytest.raises(TooManyRequests):
        await deliveries.deliver("default", event())
    assert {run.spec.function_name async for run in client.list(Run)} == {"a", "z"}


async def test_a_run_of_an_event_has_its_function_as_owner_and_its_target_of_failures(client: Client) -> None:
    spec = FunctionSpec(image="python3", source=FunctionSource(text=""), on_failure=FailureTarget(function="g"))
    function = await client.create(Function(metadata=ObjectMeta(name="f", namespace="default"), spec=spec))
    await subscribe(client, "f")
    await EventDeliveries(client, client.create).deliver("default", event())
    (run,) = [run async for run in client.list(Run)]
    assert [owner.uid for owner in run.metadata.owner_references or ()] == [function.uid]
    assert run.spec.on_failure == FailureTarget(function="g")
    assert run.metadata.labels == {"dispatch.skerry.dev/subscription": "f"}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"event_type": "t"}, True),
        ({"event_type": "T"}, False),
        ({"filters": [EventFilter(prefix={"source": "/"}, suffix={"source": "s"})]}, True),
        ({"filters": [EventFilter(prefix={"source": "/"}), EventFilter(exact={"id": "2"})]}, False),
        ({"filters": [EventFilter(exact={"absent": "x"})]}, False),
        ({"event_type": "u", "filters": [EventFilter(exact={"id": "1"})]}, False),
    ],
)
def test_type_and_filters_must_all_hold(spec: dict[str, object], *, wanted: bool) -> None:
    assert is_wanted(SubscriptionSpec.model_validate({"function": "f", **spec}), event()) is wanted
