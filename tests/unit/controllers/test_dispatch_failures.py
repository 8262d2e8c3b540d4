"""Who is told of failed runs: once, and never of a failure to tell."""

from collections.abc import AsyncIterator

import pytest

from skerry.api.dispatch_failures import DeadLetter, FailureTarget
from skerry.api.dispatch_traces import TraceContext
from skerry.api.dispatch_v1 import (
    ERROR,
    PAYLOAD_BYTES_MAX,
    Function,
    FunctionSource,
    FunctionSpec,
    Run,
    RunSpec,
    RunStatus,
)
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.dispatch_failures import DeadLetterController
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.informed import shown

SPAN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def runs(client: Client) -> AsyncIterator[Informer[Run]]:
    """The cache of runs, with dead letters begun behind it."""
    informer = Informer(client, Run)
    controller = DeadLetterController(client, informer, client.create, FakeClock())
    async with background(("runs", informer.run)), controller.running():
        yield informer


async def function(client: Client, name: str) -> None:
    spec = FunctionSpec(image="python3", source=FunctionSource(text=""))
    await client.create(Function(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))


async def failed(client: Client, traceparent: str | None = None, **spec: object) -> Run:
    wanted = RunSpec.model_validate({"function_name": "f", **spec})
    run = await client.create(Run(metadata=ObjectMeta(name=RandomIds().uid(), namespace="default"), spec=wanted))
    ended = RunStatus(state=ERROR, traceparent=traceparent)
    return await client.change_status(run, lambda found: setattr(found, "status", ended))


async def letter_of(runs: Informer[Run], run: Run) -> DeadLetter:
    found = await shown(runs, run.name, lambda found: found.status.dead_letter is not None)
    assert found.status.dead_letter
    return found.status.dead_letter


async def test_a_dead_letter_names_what_failed_and_has_none_of_its_own(client: Client, runs: Informer[Run]) -> None:
    await function(client, "g")
    run = await failed(client, input={"n": 1}, on_failure=FailureTarget(function="g"), traceparent=SPAN)
    letter = await client.get(Run, (await letter_of(runs, run)).run or "", namespace="default")
    assert (letter.spec.function_name, letter.spec.dead_letter_of, letter.spec.on_failure) == ("g", run.name, None)
    assert letter.spec.input["input"] == {"n": 1}
    assert letter.spec.event
    assert letter.spec.event["id"] == run.name
    assert letter.spec.trace == TraceContext(traceparent=SPAN)


async def test_an_input_of_the_largest_size_does_not_keep_the_failure_from_being_told(
    client: Client, runs: Informer[Run]
) -> None:
    await function(client, "g")
    run = await failed(client, input="x" * (PAYLOAD_BYTES_MAX - 2), on_failure=FailureTarget(function="g"))
    letter = await client.get(Run, (await letter_of(runs, run)).run or "", namespace="default")
    assert letter.spec.input["input"] is None


async def test_a_dead_letter_that_was_begun_before_a_crash_is_not_begun_again(
    client: Client, runs: Informer[Run]
) -> None:
    await function(client, "g")
    run = await failed(client, on_failure=FailureTarget(function="g"))
    first = await letter_of(runs, run)
    told = await client.get(Run, run.name, namespace="default")
    forgot = await client.change_status(told, lambda found: setattr(found.status, "dead_letter", None))
    before = int(forgot.metadata.resource_version or 0)
    await shown(runs, run.name, lambda found: int(found.metadata.resource_version or 0) > before)
    assert await letter_of(runs, run) == first
    assert len([each async for each in client.list(Run)]) == 2


async def test_a_function_that_is_not_there_is_told_of_in_the_run(client: Client, runs: Informer[Run]) -> None:
    run = await failed(client, on_failure=FailureTarget(function="nobody"))
    assert (await letter_of(runs, run)).reason == "function nobody not found"
