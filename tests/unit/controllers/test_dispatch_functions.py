"""Deployments of functions, and which of them are nobody's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from skerry.api.dispatch_images import Image
from skerry.api.dispatch_v1 import READY, Function, FunctionSource, FunctionSpec
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.dispatch_functions import DeployedBy, DispatchFunctionController
from skerry.functions import NoopDriver
from skerry.functions.images import BuiltImages
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.server.local import LocalTransport
from skerry.testing.api_server import open_verbs

SECONDS_MAX = 60.0
#: No source of these functions was uploaded.
NO_KEEP: Any = None


@dataclass
class SlowToTell(NoopDriver):
    """Takes its time to tell what is there.

    Attributes:
        asked: somebody asks.
        answer: lets the answer go.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__()
        self._deployments.add("stray")

    async def deployments(self) -> set[str]:
        self.asked.set()
        await self.answer.wait()
        return await super().deployments()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with open_verbs() as (verbs, _):
        yield Client(LocalTransport(verbs, manager="test"))


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - what is waited for is others' own, and signals nobody
            await asyncio.sleep(0.002)


async def test_what_is_deployed_while_orphans_are_looked_for_is_none(client: Client) -> None:
    driver = SlowToTell()
    functions, images = Informer(client, Function), Informer(client, Image)
    by = DeployedBy(driver, images, BuiltImages(), NO_KEEP)
    controller = DispatchFunctionController(client, functions, by, SystemClock(), RandomIds())
    spec = FunctionSpec(image="r/python3:1", source=FunctionSource(text="def handle(context, payload): ..."))
    async with controller.running(), background(("functions", functions.run), ("images", images.run)):
        await driver.asked.wait()
        await client.create(Function(metadata=ObjectMeta(name="f", namespace="default"), spec=spec))
        await eventually(lambda: any(found.status.state == READY for found in functions))
        deployment = next(iter(functions)).status.faas_id
        driver.answer.set()
        await eventually(lambda: "stray" not in driver._deployments)
        await asyncio.sleep(0)
        assert await driver.deployments() == {deployment}
