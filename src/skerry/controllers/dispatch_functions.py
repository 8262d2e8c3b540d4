"""Deploys the functions of dispatch.skerry.dev, each state of a spec as a deployment of its own.

Owns `Function.status` and the deployments of the driver. Does not own how one is made (`functions`), nor runs.

Invariant: `status.faasId` names a deployment that is there. The one before goes once the new one is written down, so
an update is without a gap, and one that fails leaves the old deployment serving.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import FINALIZER, Function, FunctionSource
from skerry.api.errors import NotFound
from skerry.api.model import Condition, with_condition
from skerry.artifacts.digest import Digest
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
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
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, Wakeup, background, keep_running

log = get_logger(__name__)

#: Deployments that are made at once.
CONCURRENCY = 4
#: Every function is looked at again this often, whatever happened, and deployments of none are removed.
RESYNC_SECONDS = 300.0


class Driver(FaaSDriver, Protocol):
    """A driver that tells what it has."""

    def deployments(self) -> set[str]:
        """Return the `faas_id` of every deployment that is there."""
        ...


class DispatchFunctionController:
    """Reconciles functions; `running()` is its life.

    Args:
        client: reads and writes.
        functions: the cache of functions.
        driver: where they run.
        keep: where uploaded sources lie.
        clock: stamps conditions.
        ids: names deployments.
    """

    def __init__(
        self, client: Client, functions: Informer[Function], driver: Driver, keep: ArtifactKeep, clock: Clock, ids: Ids
    ) -> None:
        self._client = client
        self._functions = functions
        self._driver = driver
        self._keep = keep
        self._clock = clock
        self._ids = ids
        self._making: set[str] = set()
        self._turns = KeyedWorkers[Key]("dispatch-functions", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deploy functions for the length of the block."""
        self._functions.on_change(self._turns.add)
        async with background(("dispatch-functions:resync", self._run)):
            try:
                yield
            finally:
                await self._turns.stop()

    async def _run(self) -> None:
        await keep_running("dispatch-functions:resync", self._resync, wakeup=Wakeup(), resync_seconds=RESYNC_SECONDS)

    async def _resync(self) -> None:
        await self._functions.synced()
        for function in self._functions:
            self._turns.add((function.namespace, function.name))
        await self._remove_orphans()

    async def _remove_orphans(self) -> None:
        """Remove the deployments that no function names: a crash came between the two."""
        named = {f.status.faas_id async for f in self._client.list(Function)} | self._making
        for faas_id in self._driver.deployments() - named:
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
            elif not self._is_done(function):
                await self._deploy(function)
        except NotFound:
            log.info("object was deleted while it was worked on", function=name)

    def _is_done(self, function: Function) -> bool:
        status = function.status
        if status.observed_generation != function.metadata.generation or status.state not in {api.READY, api.ERROR}:
            return False
        return status.faas_id is None or status.faas_id in self._driver.deployments()

    async def _deploy(self, function: Function) -> None:
        old = function.status.faas_id
        state: api.State = api.UPDATING if old else api.CREATING
        function = await self._client.change_status(function, lambda f: setattr(f.status, "state", state))
        faas_id = self._ids.uid()
        self._making.add(faas_id)
        try:
            await self._make(function, faas_id)
            await self._client.change_status(function, lambda f: self._tell(f, function, faas_id, ""))
            if old:
                await self._driver.delete(Deployed(function.name, faas_id=old))
        except (InvocationError, SchemaError) as error:
            message = f"Driver error when creating a FaaS function: {error}"
            log.info("function does not deploy", function=function.name, reason=message)
            await self._client.change_status(function, lambda f: self._tell(f, function, old, message))
            if isinstance(error, SystemError):
                raise  # the system's fault: tried again, with backoff
        finally:
            self._making.discard(faas_id)

    async def _make(self, function: Function, faas_id: str) -> None:
        spec = function.spec
        for schema in (spec.function_schema.in_, spec.function_schema.out) if spec.function_schema else ():
            if schema is not None:
                check_schema(schema)
        exec_ = Exec(await self._source(spec.source), spec.handler, spec.image, function.name)
        await self._driver.create(Deployed(function.name, id=function.uid, faas_id=faas_id, image=spec.image), exec_)

    async def _source(self, source: FunctionSource) -> bytes:
        if source.artifact is None:
            return (source.text or "").encode()
        try:
            return await self._keep.read(Digest.parse(source.artifact))
        except (FileNotFoundError, LookupError, ValueError) as error:
            raise FunctionError(f"source {source.artifact} is not there: upload it again") from error

    def _tell(self, found: Function, done: Function, faas_id: str | None, problem: str) -> None:
        """Write down what serves, and why it is not the spec as it was in `done`, if it is not."""
        status = found.status
        status.faas_id = faas_id
        status.state = api.READY if faas_id else api.ERROR
        status.reason = [problem] if problem else None
        status.observed_generation = done.metadata.generation
        latest = ("False", "Failed", problem) if problem else ("True", "Deployed", "")
        ready = latest if not faas_id else ("True", "Deployed", "")
        for kind, (is_so, reason, message) in (("Ready", ready), ("Latest", latest)):
            status.conditions = with_condition(
                status.conditions,
                Condition(
                    type=kind,
                    status="True" if is_so == "True" else "False",
                    reason=reason,
                    message=message,
                    observed_generation=done.metadata.generation,
                    last_transition_time=rfc3339(self._clock.now()),
                ),
            )

    async def _remove(self, function: Function) -> None:
        if function.status.faas_id:
            await self._driver.delete(Deployed(function.name, faas_id=function.status.faas_id))

        def let_go(found: Function) -> None:
            found.metadata.finalizers = [f for f in found.metadata.finalizers or () if f != FINALIZER] or None

        await self._client.change(function, let_go)
