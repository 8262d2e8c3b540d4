"""Deploys the functions of dispatch.skerry.dev, each state of a spec as a deployment of its own.

Owns `Function.status` and the deployments of the driver. Does not own how one is made (`functions`), nor runs.

Invariant: `status.faasId` names a deployment that is there. The one before goes once the new one is written down, so
an update is without a gap, and one that fails leaves the old deployment serving.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_images import Image
from skerry.api.dispatch_v1 import FINALIZER, Function, FunctionSource
from skerry.api.errors import NotFound
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, BadDigestError
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_conditions import is_settled, served
from skerry.functions import (
    Exec,
    FaaSDriver,
    FunctionError,
    InvocationError,
    SchemaError,
    SystemError,  # noqa: A004 - see functions.errors
    check_schema,
)
from skerry.functions import Function as Deployed
from skerry.functions.errors import BuildError
from skerry.functions.images import ImageStore
from skerry.kit.clock import Clock
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)

#: Deployments that are made at once.
CONCURRENCY = 4
#: Every function is looked at again this often, whatever happened, and deployments of none are removed.
RESYNC_SECONDS = 300.0


@dataclass(frozen=True)
class DeployedBy:
    """How functions are deployed.

    Attributes:
        driver: where they run.
        images: the cache of images.
        store: what knows images that nobody made.
        keep: where uploaded sources lie.
    """

    driver: FaaSDriver
    images: Informer[Image]
    store: ImageStore
    keep: ArtifactKeep


class DispatchFunctionController:
    """Reconciles functions; `running()` is its life.

    Args:
        client: reads and writes.
        functions: the cache of functions.
        by: how they are deployed.
        clock: stamps conditions.
        ids: names deployments.
    """

    def __init__(self, client: Client, functions: Informer[Function], by: DeployedBy, clock: Clock, ids: Ids) -> None:
        self._client = client
        self._functions = functions
        self._driver = by.driver
        self._images = by.images
        self._store = by.store
        self._keep = by.keep
        self._clock = clock
        self._ids = ids
        self._making: set[str] = set()
        self._turns = KeyedWorkers[Key]("dispatch-functions", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deploy functions for the length of the block."""
        self._functions.on_change(self._turns.add)
        self._images.on_change(self._image_changed)
        async with resynced("dispatch-functions", self._resync, self._turns, resync_seconds=RESYNC_SECONDS):
            yield

    def look_at(self, namespace: str, name: str) -> None:
        """Look at a function again: the deployment that it names is not there."""
        self._turns.add((namespace, name))

    def _image_changed(self, key: Key) -> None:
        for function in self._functions:
            if (function.namespace, function.spec.image) == key:
                self._turns.add((function.namespace, function.name))

    async def _resync(self) -> None:
        await self._functions.synced()
        for function in self._functions:
            self._turns.add((function.namespace, function.name))
        await self._remove_orphans()

    async def _remove_orphans(self) -> None:
        """Remove the deployments that no function names: a crash came between the two.

        What is there is asked first, then what is being made, then what is named: one that is made meanwhile is no
        orphan, whichever of these it is when.
        """
        there = await self._driver.deployments()
        making = frozenset(self._making)
        named = {f.status.faas_id async for f in self._client.list(Function)}
        for faas_id in there - making - named:
            log.info("removing a deployment of no function", deployment=faas_id)
            await self._driver.delete(Deployed("", faas_id=faas_id))

    async def reconcile(self, key: Key) -> None:
        """Bring one function's deployment to its spec."""
        namespace, name = key
        function = await self._client.find(Function, name, namespace=namespace)
        if function is None:
            return
        try:
            if function.metadata.deletion_timestamp:
                await self._remove(function)
            else:
                await self._deploy_if_new(function)
        except NotFound:
            log.info("object was deleted while it was worked on", function=name)

    async def _deploy_if_new(self, function: Function) -> None:
        named = function.status.faas_id
        old = named if named and named in await self._driver.deployments() else None
        try:
            image = await self._image(function)
        except FunctionError as error:
            if not self._is_done(function, "", old) or function.status.reason != [str(error)]:
                outcome = _Outcome(old, function.status.image if old else None, "", error)
                await self._client.change_status(function, lambda found: self._tell(found, function, outcome))
            return
        if image and not self._is_done(function, image, old):
            await self._deploy(function, image, old)

    async def _image(self, function: Function) -> str:
        """Return what a function is made from, as the driver names it; "" where it is being made.

        Raises:
            FunctionError: there is none, or it can't be made.
        """
        name = function.spec.image
        image = await self._client.find(Image, name, namespace=function.namespace)
        if image is None:
            built_in = self._store.built_in(name)
            if built_in is None:
                raise FunctionError(f"Error when fetching image for function {function.name}: image {name} not found")
            return built_in
        if image.status.docker_url:
            return image.status.docker_url
        if image.status.state == api.ERROR:
            raise FunctionError(
                f"image in error status for function '{function.uid}', image name: '{name}', "
                f"reason: [{'; '.join(image.status.reason or ())}]"
            )
        return ""

    @staticmethod
    def _is_done(function: Function, image: str, old: str | None) -> bool:
        """Tell whether nothing is to be done for an image; `old` is the deployment that is there."""
        status = function.status
        told = (status.observed_generation, status.observed_image, status.faas_id)
        settled = status.state in {api.READY, api.ERROR} and is_settled(status.conditions)
        return settled and told == (function.metadata.generation, image, old)

    async def _deploy(self, function: Function, image: str, old: str | None) -> None:
        state: api.State = api.UPDATING if old else api.CREATING
        function = await self._client.change_status(function, lambda f: setattr(f.status, "state", state))
        faas_id = self._ids.uid()
        self._making.add(faas_id)
        try:
            await self._make(function, faas_id, image)
            done = _Outcome(faas_id, image, image)
            await self._client.change_status(function, lambda f: self._tell(f, function, done))
        except (InvocationError, SchemaError) as error:
            failed = _Outcome(old, function.status.image if old else None, image, _told(function, error))
            log.info("function does not deploy", function=function.name, reason=str(failed.problem))
            await self._client.change_status(function, lambda f: self._tell(f, function, failed))
            if isinstance(error, SystemError):
                raise  # the system's fault: tried again, with backoff
        else:
            if old:  # one that can't be removed now is removed with those of no function
                await self._driver.delete(Deployed(function.name, faas_id=old))
        finally:
            self._making.discard(faas_id)

    async def _make(self, function: Function, faas_id: str, image: str) -> None:
        spec = function.spec
        for schema in (spec.function_schema.in_, spec.function_schema.out) if spec.function_schema else ():
            if schema is not None:
                check_schema(schema)
        exec_ = Exec(await self._source(spec.source), spec.handler, image, function.name, spec.concurrency)
        await self._driver.create(Deployed(function.name, id=function.uid, faas_id=faas_id, image=image), exec_)

    async def _source(self, source: FunctionSource) -> bytes:
        if source.artifact is None:
            return (source.text or "").encode()
        try:
            return await self._keep.read(Digest.parse(source.artifact))
        except (ArtifactMissingError, ArtifactCorruptError, BadDigestError) as error:
            raise FunctionError(f"source {source.artifact} is not there: upload it again") from error

    def _tell(self, found: Function, done: Function, outcome: "_Outcome") -> None:
        """Write down what serves, and why it is not the spec as it was in `done`, if it is not."""
        status, generation = found.status, done.metadata.generation
        status.faas_id, status.image, status.observed_image = outcome.faas_id, outcome.image, outcome.observed_image
        status.state = api.READY if outcome.faas_id else api.ERROR
        status.reason = [str(outcome.problem)] if outcome.problem else None
        status.observed_generation = generation
        status.conditions = served(
            status.conditions,
            serves=outcome.faas_id is not None,
            problem=outcome.problem,
            generation=generation,
            clock=self._clock,
        )

    async def _remove(self, function: Function) -> None:
        if function.status.faas_id:
            await self._driver.delete(Deployed(function.name, faas_id=function.status.faas_id))

        def let_go(found: Function) -> None:
            found.metadata.finalizers = [f for f in found.metadata.finalizers or () if f != FINALIZER] or None

        await self._client.change(function, let_go)


@dataclass(frozen=True)
class _Outcome:
    """What came of a deployment.

    Attributes:
        faas_id: what serves now.
        image: what that was made from.
        observed_image: what the newest was made from, or would have been; "" where there was nothing.
        problem: why the newest does not serve.
    """

    faas_id: str | None
    image: str | None
    observed_image: str
    problem: Exception | None = None


def _told(function: Function, error: InvocationError | SchemaError) -> Exception:
    """Put an error as Dispatch does."""
    if isinstance(error, BuildError):
        return FunctionError(f"Error building image for function '{function.uid}': {error}")
    kind = SystemError if isinstance(error, SystemError) else FunctionError
    return kind(f"Driver error when creating a FaaS function: {error}")
