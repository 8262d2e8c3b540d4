"""Subscriptions and endpoints tell whether the function is there that they call, whatever was made first."""

from collections.abc import AsyncIterator

import pytest

from skerry.api.dispatch_endpoints import Endpoint, EndpointSpec
from skerry.api.dispatch_events import Subscription, SubscriptionSpec
from skerry.api.dispatch_v1 import Function, FunctionSource, FunctionSpec
from skerry.api.model import Condition, ObjectMeta, condition_of
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.informers import Informers
from skerry.controllers.dispatch_callers import CallerController
from skerry.testing.clock import FakeClock
from skerry.testing.informed import shown

Caller = Subscription | Endpoint


def metadata(name: str, namespace: str = "default") -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace)


def function(name: str, namespace: str = "default") -> Function:
    spec = FunctionSpec(image="python3", source=FunctionSource(text="def handle(context, payload): ..."))
    return Function(metadata=metadata(name, namespace), spec=spec)


def refs(caller: Caller) -> Condition | None:
    return condition_of(caller.status.conditions, "ResolvedRefs")


@pytest.fixture
async def informers(client: Client) -> AsyncIterator[Informers]:
    informers = Informers(client)
    async with CallerController(client, informers, FakeClock()).running(), informers.running():
        yield informers


def let_go(found: Function) -> None:
    found.metadata.finalizers = None  # nothing is deployed here


async def told(callers: Informer[Caller], status: str, generation: int = 1) -> Condition:
    """Wait until the caller tells whether its function is there, and return how."""

    def holds(caller: Caller) -> bool:
        found = refs(caller)
        return found is not None and (found.status, found.observed_generation) == (status, generation)

    found = refs(await shown(callers, "caller", holds))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "caller",
    [
        Subscription(metadata=metadata("caller"), spec=SubscriptionSpec(event_type="made", function="late")),
        Endpoint(metadata=metadata("caller"), spec=EndpointSpec(function="late")),
    ],
    ids=["subscription", "endpoint"],
)
async def test_a_caller_tells_whether_its_function_is_there_as_that_comes_and_goes(
    client: Client, informers: Informers, caller: Caller
) -> None:
    callers = informers.of(type(caller))
    await client.create(function("late", "default"))
    created = await client.create(caller.model_copy(deep=True))
    assert (await told(callers, "True")).reason == "ResolvedRefs"

    def call_another(found: Caller) -> None:
        found.spec.function = "other"

    await client.change(created, call_another)
    missing = await told(callers, "False", 2)
    assert (missing.reason, missing.message) == ("FunctionNotFound", "function other not found")
    await client.create(function("other"))
    await told(callers, "True", 2)
    await client.delete(await client.get(Function, "other", namespace="default"))
    await client.change(await client.get(Function, "other", namespace="default"), let_go)
    await told(callers, "False", 2)
