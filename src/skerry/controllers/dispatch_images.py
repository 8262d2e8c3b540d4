"""Makes the images and base images of dispatch.skerry.dev/v1.

Owns the status of both, and what the store keeps for them. Does not own how an image is made (`functions.images`).

Invariant: `status.dockerUrl` names an image that is there, of the newest state of the spec that could be made; an image
goes once neither an Image nor a deployment of a function names it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api import dispatch_v1 as states
from skerry.api.dispatch_images import BaseImage, Image, ImageStatus
from skerry.api.dispatch_v1 import Function
from skerry.api.errors import NotFound
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_conditions import is_settled, served
from skerry.functions import FunctionError, InvocationError, SystemError  # noqa: A004 - see functions.errors
from skerry.functions.images import ImageStore, Recipe
from skerry.kit.clock import Clock
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, Wakeup, resynced

log = get_logger(__name__)

#: Images that are made at once.
CONCURRENCY = 2
#: Every image is looked for this often, and those of none are removed.
RESYNC_SECONDS = 300.0

_MAKING = frozenset({states.CREATING, states.UPDATING})


class DispatchImageController:
    """Reconciles images and base images; `running()` is its life.

    Args:
        client: reads and writes.
        images: the cache of images.
        bases: the cache of base images.
        store: makes them.
        clock: stamps conditions.
    """

    def __init__(
        self, client: Client, images: Informer[Image], bases: Informer[BaseImage], store: ImageStore, clock: Clock
    ) -> None:
        self._client = client
        self._images = images
        self._bases = bases
        self._store = store
        self._clock = clock
        self._image_turns = KeyedWorkers[Key]("dispatch-images", self._reconcile_image, concurrency=CONCURRENCY)
        self._base_turns = KeyedWorkers[Key]("dispatch-base-images", self._reconcile_base, concurrency=CONCURRENCY)
        self._deleted = Wakeup()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make images for the length of the block."""
        self._bases.on_change(self._base_changed)
        self._images.on_change(self._image_changed)
        turns = (self._image_turns, self._base_turns)
        async with resynced(
            "dispatch-images", self._resync, *turns, resync_seconds=RESYNC_SECONDS, wakeup=self._deleted
        ):
            yield

    def _base_changed(self, key: Key) -> None:
        self._base_turns.add(key)
        for image in self._images:
            if (image.namespace, image.spec.base_image_name) == key:
                self._image_turns.add((image.namespace, image.name))

    def _image_changed(self, key: Key) -> None:
        if self._images.get(key[1], key[0]):
            self._image_turns.add(key)
        else:
            self._deleted.set()

    async def _resync(self) -> None:
        await self._images.synced()
        await self._bases.synced()
        for base in self._bases:
            self._base_turns.add((base.namespace, base.name))
        for image in self._images:
            self._image_turns.add((image.namespace, image.name))
        await self._remove_unused()

    async def _remove_unused(self) -> None:
        """Remove images that nothing names; none while anything is being made, which may be about to name one."""
        built = await self._store.built()
        if not built:
            return
        images = [image async for image in self._client.list(Image)]
        functions = [function async for function in self._client.list(Function)]
        if _MAKING & {image.status.state for image in images} or _MAKING & {each.status.state for each in functions}:
            return
        used = {image.status.docker_url for image in images} | {function.status.image for function in functions}
        for image in sorted(built - used):
            log.info("removing an image of no function", image=image)
            await self._store.remove(image)

    async def _reconcile_base(self, key: Key) -> None:
        base = await self._client.find(BaseImage, key[1], namespace=key[0])
        if base is None or base.metadata.deletion_timestamp:
            return
        if base.status.observed_generation == base.metadata.generation and await self._is_there(base.status):
            return
        try:
            url = await self._store.base(base.spec.docker_url, base.spec.language)
        except InvocationError as error:
            await self._tell(base, base.status.docker_url, error=error)
            return
        await self._tell(base, url, base=url, language=base.spec.language)

    async def _reconcile_image(self, key: Key) -> None:
        image = await self._client.find(Image, key[1], namespace=key[0])
        if image is None or image.metadata.deletion_timestamp:
            return
        base = await self._client.find(BaseImage, image.spec.base_image_name, namespace=key[0])
        problem = _problem_of(base, image.spec.base_image_name)
        if problem:
            await self._tell(image, image.status.docker_url, error=FunctionError(problem))
        elif base and base.status.docker_url and not await self._is_done(image, base):
            await self._make(image, base)

    async def _is_done(self, image: Image, base: BaseImage) -> bool:
        status = image.status
        if (status.observed_generation, status.base_url) != (image.metadata.generation, base.status.docker_url):
            return False
        return await self._is_there(status)

    async def _is_there(self, status: ImageStatus) -> bool:
        """Tell whether an image is there, or will not be until something changes."""
        if not is_settled(status.conditions):
            return False
        return bool(status.reason) or bool(status.docker_url and await self._store.has(status.docker_url))

    async def _make(self, image: Image, base: BaseImage) -> None:
        state: states.State = states.UPDATING if image.status.docker_url else states.CREATING
        try:
            image = await self._client.change_status(image, lambda found: setattr(found.status, "state", state))
        except NotFound:
            return
        packages, language = image.spec.system_dependencies, base.spec.language
        recipe = Recipe(
            base=base.status.docker_url or "",
            language=language,
            manifest=image.spec.runtime_dependencies.manifest if image.spec.runtime_dependencies else "",
            system_packages=tuple((p.name, p.version) for p in (packages.packages if packages else None) or ()),
        )
        try:
            url = await self._store.build(recipe)
        except InvocationError as error:
            await self._tell(image, image.status.docker_url, base=recipe.base, language=language, error=error)
        else:
            await self._tell(image, url, base=recipe.base, language=language)

    async def _tell(
        self,
        done: Image | BaseImage,
        url: str | None,
        *,
        base: str | None = None,
        language: str | None = None,
        error: InvocationError | None = None,
    ) -> None:
        """Write down what there is, and why it is not the spec as it was in `done`, if it is not."""
        told, reason = done.status, [str(error)] if error else None
        generation = done.metadata.generation

        def mutate(found: Image | BaseImage) -> None:
            status = found.status
            status.docker_url, status.base_url, status.language = url, base, language or status.language
            status.state = states.READY if url else states.ERROR
            status.reason = reason
            status.observed_generation = generation
            status.conditions = served(
                status.conditions, serves=url is not None, problem=error, generation=generation, clock=self._clock
            )

        if not error or (told.observed_generation, told.reason, told.base_url) != (generation, reason, base):
            try:
                await self._client.change_status(done, mutate)
            except NotFound:
                log.info("an image was deleted while it was worked on", image=done.name)
        if isinstance(error, SystemError):
            raise error  # tried again, with backoff


def _problem_of(base: BaseImage | None, name: str) -> str:
    """Tell why nothing can be made from a base image; "" where something can, or will be."""
    if base is None:
        return f"Error fetching base image {name}"
    if base.status.state == states.ERROR:
        return f"base image {name} is in error status: {'; '.join(base.status.reason or ())}"
    return ""
