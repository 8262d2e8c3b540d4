"""Images and base images: made in the right order, made again, and a failure that leaves the last good one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from skerry.api.dispatch_images import BaseImage, BaseImageSpec, Image, ImageSpec, RuntimeDependencies
from skerry.api.dispatch_v1 import ERROR, READY, Function, FunctionSource, FunctionSpec
from skerry.api.model import ObjectMeta, Resource
from skerry.artifacts.folder import FolderKeep
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers import dispatch_images
from skerry.controllers.dispatch_functions import DeployedBy, DispatchFunctionController
from skerry.controllers.dispatch_images import DispatchImageController
from skerry.functions import FunctionError, NoopDriver
from skerry.functions.images import Recipe
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds

R = TypeVar("R", bound=Resource)
WAIT_SECONDS_MAX = 60.0


class FakeStore:
    """An ImageStore in memory; a manifest that says `bad` can't be installed."""

    def __init__(self) -> None:
        self.images: set[str] = set()
        self.builds = 0
        self.changed = asyncio.Event()

    async def until(self, *images: str) -> None:
        """Wait until these are what is there."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while self.images != set(images):
                self.changed.clear()
                await self.changed.wait()

    def built_in(self, name: str) -> str | None:
        return name if name == "python3" else None

    async def base(self, docker_url: str, language: str) -> str:
        if language == "cobol":
            raise FunctionError("no cobol here")
        return docker_url

    async def build(self, recipe: Recipe) -> str:
        self.builds += 1
        if recipe.manifest == "bad":
            raise FunctionError("no such package")
        image = f"{recipe.base}+{recipe.manifest}"
        self.images.add(image)
        self.changed.set()
        return image

    async def has(self, image: str) -> bool:
        return image in self.images or "+" not in image

    async def built(self) -> set[str]:
        return set(self.images)

    async def remove(self, image: str) -> None:
        self.images.discard(image)
        self.changed.set()


@pytest.fixture
async def store(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeStore]:
    """Run the controllers of images and functions; yield what makes the images."""
    monkeypatch.setattr(dispatch_images, "RESYNC_SECONDS", 0.05)
    store, clock, informers = FakeStore(), SystemClock(), Informers(client)
    images = informers.of(Image)
    async with AsyncExitStack() as stack:
        keep = await stack.enter_async_context(FolderKeep(tmp_path, clock=clock))
        making = DispatchImageController(client, images, informers.of(BaseImage), store, clock)
        by = DeployedBy(NoopDriver(), images, store, keep)
        deploying = DispatchFunctionController(client, informers.of(Function), by, clock, RandomIds())
        for part in (making.running(), deploying.running(), informers.running()):
            await stack.enter_async_context(part)
        yield store


async def until(client: Client, model: type[R], name: str, holds: Callable[[R], bool]) -> R:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            found = await client.get(model, name, namespace="default")
            if holds(found):
                return found
            await asyncio.sleep(0.01)


async def make_base(client: Client, name: str = "base", url: str = "r/base:1", language: str = "python3") -> None:
    spec = BaseImageSpec(docker_url=url, language=language)
    await client.create(BaseImage(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))


async def make_image(client: Client, manifest: str = "", base: str = "base") -> Image:
    spec = ImageSpec(base_image_name=base, runtime_dependencies=RuntimeDependencies(manifest=manifest))
    return await client.create(Image(metadata=ObjectMeta(name="image", namespace="default"), spec=spec))


async def make_function(client: Client, image: str = "image") -> Function:
    spec = FunctionSpec(image=image, source=FunctionSource(text="x"))
    return await client.create(Function(metadata=ObjectMeta(name="f", namespace="default"), spec=spec))


@pytest.mark.usefixtures("store")
async def test_an_image_waits_for_its_base_and_a_function_for_its_image(client: Client) -> None:
    await make_function(client)
    missing = await until(client, Function, "f", lambda f: f.status.state == ERROR)
    assert missing.status.reason == ["Error when fetching image for function f: image image not found"]
    await make_image(client, "flask")
    without = await until(client, Image, "image", lambda i: i.status.state == ERROR)
    assert without.status.reason == ["Error fetching base image base"]
    failed = await until(client, Function, "f", lambda f: "in error status" in (f.status.reason or [""])[0])
    named = f"function '{failed.uid}', image name: 'image'"
    assert failed.status.reason == [f"image in error status for {named}, reason: [Error fetching base image base]"]
    await make_base(client)
    ready = await until(client, Function, "f", lambda f: f.status.state == READY)
    assert (ready.status.image, ready.status.reason) == ("r/base:1+flask", None)
    image = await client.get(Image, "image", namespace="default")
    assert (image.status.docker_url, image.status.language) == ("r/base:1+flask", "python3")


async def test_an_image_that_changes_is_made_anew_and_its_functions_follow(client: Client, store: FakeStore) -> None:
    await make_base(client)
    image = await make_image(client, "flask")
    await make_function(client)
    first = await until(client, Function, "f", lambda f: f.status.state == READY)

    def ask(found: Image, manifest: str) -> None:
        found.spec.runtime_dependencies = RuntimeDependencies(manifest=manifest)

    await client.change(image, lambda found: ask(found, "django"))
    second = await until(client, Function, "f", lambda f: f.status.image == "r/base:1+django")
    assert second.status.faas_id != first.status.faas_id
    await store.until("r/base:1+django")
    await client.change(image, lambda found: ask(found, "bad"))
    broken = await until(client, Image, "image", lambda i: bool(i.status.reason))
    assert (broken.status.state, broken.status.docker_url) == (READY, "r/base:1+django")
    assert broken.status.reason == ["no such package"]
    assert (await client.get(Function, "f", namespace="default")).status.faas_id == second.status.faas_id


async def test_an_image_that_was_lost_is_made_again(client: Client, store: FakeStore) -> None:
    await make_base(client)
    await make_image(client, "flask")
    await until(client, Image, "image", lambda i: i.status.state == READY)
    store.images.clear()
    await store.until("r/base:1+flask")


async def test_a_deleted_image_stays_as_long_as_a_function_is_made_from_it(client: Client, store: FakeStore) -> None:
    await make_base(client)
    image = await make_image(client, "flask")
    function = await make_function(client)
    await until(client, Function, "f", lambda f: f.status.state == READY)
    await client.delete(image)
    served = await until(client, Function, "f", lambda f: bool(f.status.reason))
    assert (served.status.state, served.status.image) == (READY, "r/base:1+flask")
    assert store.images == {"r/base:1+flask"}
    await client.delete(function)
    await store.until()


async def test_a_base_image_that_cannot_be_had_says_why_and_a_runtime_needs_no_image(
    client: Client, store: FakeStore
) -> None:
    await make_base(client, language="cobol")
    base = await until(client, BaseImage, "base", lambda b: b.status.state == ERROR)
    assert base.status.reason == ["no cobol here"]
    await make_image(client)
    image = await until(client, Image, "image", lambda i: i.status.state == ERROR)
    assert image.status.reason == ["base image base is in error status: no cobol here"]
    assert store.builds == 0
    await make_function(client, "python3")
    assert (await until(client, Function, "f", lambda f: f.status.state == READY)).status.image == "python3"


async def test_a_deployment_that_is_not_there_is_never_said_to_serve(client: Client, store: FakeStore) -> None:
    """As after a change of the driver: what the one before deployed is not there for this one."""
    store.images.add("r/base:1+flask")
    await make_base(client)
    await make_image(client, "flask")
    function = await make_function(client)
    served = await until(client, Function, "f", lambda f: f.status.state == READY)
    await client.change_status(function, lambda found: setattr(found.status, "faas_id", "gone"))
    again = await until(client, Function, "f", lambda f: f.status.faas_id not in {"gone", served.status.faas_id})
    assert again.status.state in {READY, "CREATING"}
