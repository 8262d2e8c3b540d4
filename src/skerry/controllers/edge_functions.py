"""From an EdgeFunction to its revisions: build, switch, trim.

Owns: EdgeFunctionRevision objects, the artifact of each, `status.liveRevision`, and the conditions of both kinds.
Does not own: how code is built (`artifacts`), or where it is served (the agent, which writes `status.servingRevision`).

Invariant: `liveRevision` only ever names a revision whose code is stored and checked. A revision that fails leaves
the one before it alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, Protocol

from prometheus_client import Histogram

from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    FUNCTION_LABEL,
    Artifact,
    EdgeFunction,
    EdgeFunctionRevision,
    EdgeFunctionRevisionSpec,
    revision_name,
)
from skerry.api.model import Condition, ObjectMeta, OwnerReference, condition_of, is_true, with_condition
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, background

log = get_logger(__name__)
BUILD_SECONDS = Histogram("skerry_function_build_seconds", "Time from source to stored artifact.", ["outcome"])

#: Functions worked on at once. High, because a turn is cheap but for its build, which has a bound of its own: a
#: function whose code is built must not wait behind others that are still to be.
CONCURRENCY = 1024
CONDITION_MESSAGE_CHARACTERS_MAX = 4096
#: Every function is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0


class SourceError(SkerryError):
    """A revision's source is at fault: the same source would fail again, so it is not tried again."""


class CodeBuilder(Protocol):
    """What the controller needs of `artifacts`: source in, stored artifact out."""

    async def build(self, spec: EdgeFunctionRevisionSpec) -> Artifact:
        """Bring, build, check and store a revision's code.

        Raises:
            SourceError: the source is at fault.
            SkerryError: anything else; the build is tried again, with backoff.
        """
        ...

    async def is_stored(self, artifact: Artifact) -> bool:
        """Tell whether an artifact is at hand and whole: a disk can lose what a status still names."""
        ...


class EdgeFunctionController:
    """Reconciles EdgeFunctions; `run()` is its life.

    Args:
        client: where objects are written.
        functions: the cache of EdgeFunctions.
        revisions: the cache of their revisions.
        builder: makes a revision's artifact.
        clock: stamps conditions.
    """

    def __init__(
        self,
        client: Client,
        functions: Informer[EdgeFunction],
        revisions: Informer[EdgeFunctionRevision],
        builder: CodeBuilder,
        clock: Clock,
    ) -> None:
        self._client = client
        self._functions = functions
        self._revisions = revisions
        self._builder = builder
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        workers = KeyedWorkers("edge-functions", self.reconcile, concurrency=CONCURRENCY)
        self._functions.on_change(lambda key: workers.add(key[1]))
        self._revisions.on_change(lambda key: workers.add(self._owner_name(key)))
        async with background(("edge-functions:resync", partial(self._resync, workers))):
            try:
                yield
            finally:
                await workers.stop()

    async def _resync(self, workers: KeyedWorkers[str]) -> None:
        while True:
            await self._functions.synced()
            await self._revisions.synced()
            for function in self._functions:
                workers.add(function.name)
            await asyncio.sleep(RESYNC_SECONDS)

    def _owner_name(self, key: Key) -> str:
        revision = self._revisions.get(key[1])
        return _function_of(revision) if revision else key[1].rpartition("-")[0]

    async def reconcile(self, name: str) -> None:
        """Bring one function, its revisions and its status to what its template asks for."""
        try:
            await self._reconcile(name)
        except NotFound:
            log.info("object was deleted while it was worked on", function=name)  # its deletion brings another turn

    async def _reconcile(self, name: str) -> None:
        await self._functions.synced()  # in a cache that is being filled, a revision looks new that is not
        await self._revisions.synced()
        function = self._functions.get(name)
        if function is None or function.metadata.deletion_timestamp:
            return  # its revisions name it as their owner, and are collected (controllers.garbage)
        latest = await self._latest_revision(function)
        if not await self._is_done(latest):
            message = f"revision {latest.name} is being built"
            function = await self._client.change_status(
                function, lambda f: self._tell_building(f, latest, "Building", message)
            )
            latest = await self._ingest_for(function, latest)
        live = await self._live_revision(function, latest)
        function = await self._client.change_status(function, lambda f: self._tell(f, latest, live))
        await self._tell_superseded(function, latest)
        await self._trim(function, latest)

    async def _is_done(self, revision: EdgeFunctionRevision) -> bool:
        """Tell whether there is nothing to build: it failed for good, or it is built and its artifact is there."""
        ready = condition_of(revision.status.conditions, "Ready")
        if ready is None or ready.status == "Unknown":
            return False
        artifact = revision.status.artifact
        return ready.status == "False" or (artifact is not None and await self._builder.is_stored(artifact))

    async def _live_revision(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> EdgeFunctionRevision | None:
        """Return the revision that shall be live: the latest if it is ready, else the one that is, if it still exists.

        The one that is live is built again where its artifact was lost.
        """
        if is_true(latest.status.conditions, "Ready"):
            return latest
        name = function.status.live_revision
        live = await self._client.find(EdgeFunctionRevision, name) if name else None
        if live is None or not _is_owned(live, function):
            return None
        return live if await self._is_done(live) else await self._ingest(live)

    async def _latest_revision(self, function: EdgeFunction) -> EdgeFunctionRevision:
        """Return the revision of the present template, created where it is new (or its owner is)."""
        name = revision_name(function)
        stored = self._revisions.get(name) or await self._client.find(EdgeFunctionRevision, name)
        if stored is not None and _is_owned(stored, function):
            return stored
        if stored is not None:
            await self._client.delete(stored)  # left by a deleted function of the same name
        try:
            return await self._client.create(_new_revision(function, name))
        except AlreadyExists:
            return await self._client.get(EdgeFunctionRevision, name)

    async def _ingest_for(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> EdgeFunctionRevision:
        """Build the latest revision's code; what delays it is told at the function as well."""
        try:
            return await self._ingest(latest)
        except SkerryError as error:
            message = f"revision {latest.name} will be tried again: {error.public}"
            await self._client.change_status(function, lambda f: self._tell_building(f, latest, "Retrying", message))
            raise

    async def _ingest(self, revision: EdgeFunctionRevision) -> EdgeFunctionRevision:
        """Build a revision's code and write down how that went."""
        revision = await self._client.change_status(revision, self._tell_ingesting)
        started = self._clock.monotonic_seconds()
        try:
            artifact = await self._builder.build(revision.spec)
        except SourceError as error:
            BUILD_SECONDS.labels("refused").observe(self._clock.monotonic_seconds() - started)
            message = error.public
            log.info("revision does not build", revision=revision.name, reason=message)
            return await self._client.change_status(revision, lambda r: self._tell_failed(r, message))
        except SkerryError as error:
            message = error.public
            await self._client.change_status(revision, lambda r: self._tell_delayed(r, message))
            raise
        BUILD_SECONDS.labels("built").observe(self._clock.monotonic_seconds() - started)
        log.info("revision is ready", revision=revision.name, digest=artifact.digest)
        return await self._client.change_status(revision, lambda r: self._tell_ready(r, artifact))

    async def _tell_superseded(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> None:
        """Say of revisions whose build a restart cut short that nobody waits for it; a rollback builds them."""
        for revision in self._revisions:
            ready = condition_of(revision.status.conditions, "Ready")
            waits = ready is None or (ready.status == "Unknown" and ready.reason != "Superseded")
            if waits and revision.name != latest.name and _is_owned(revision, function):
                await self._client.change_status(revision, self._set_superseded)

    async def _trim(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> None:
        """Remove the oldest revisions over the history limit, never the live one nor the latest."""
        owned = [r for r in self._revisions if _is_owned(r, function)]
        kept = {function.status.live_revision, function.status.serving_revision, latest.name}
        owned.sort(key=lambda r: (r.metadata.creation_timestamp or "", int(r.metadata.resource_version or 0)))
        surplus = len(owned) - max(function.spec.revision_history_limit, 1)
        for revision in [r for r in owned if r.name not in kept][: max(surplus, 0)]:
            await self._client.delete(revision)

    def _tell_ingesting(self, revision: EdgeFunctionRevision) -> None:
        self._set(revision, "Ingest", "True", "InProgress", "")
        self._set(revision, "Ready", "Unknown", "Building", "")

    def _tell_failed(self, revision: EdgeFunctionRevision, message: str) -> None:
        self._set(revision, "Ingest", "False", "Failed", "")
        self._set(revision, "Ready", "False", "Failed", message)

    def _set_superseded(self, revision: EdgeFunctionRevision) -> None:
        self._set(revision, "Ready", "Unknown", "Superseded", "not built: the function's template has moved on")

    def _tell_delayed(self, revision: EdgeFunctionRevision, message: str) -> None:
        self._set(revision, "Ready", "Unknown", "Retrying", f"the build will be tried again: {message}")

    def _tell_ready(self, revision: EdgeFunctionRevision, artifact: Artifact) -> None:
        revision.status.ref = revision.name
        revision.status.artifact = artifact
        self._set(revision, "Ingest", "False", "Completed", "")
        self._set(revision, "Ready", "True", "Ready", "")

    def _tell_building(self, function: EdgeFunction, latest: EdgeFunctionRevision, reason: str, message: str) -> None:
        if revision_name(function) != latest.name:
            return  # the template has moved on: another turn follows
        self._set(function, "Latest", "False", reason, message)
        ready = condition_of(function.status.conditions, "Ready")
        if ready is None or (ready.reason == "Building" and reason == "Retrying"):
            self._set(function, "Ready", "False", reason, message)

    def _tell(
        self, function: EdgeFunction, latest: EdgeFunctionRevision, live_revision: EdgeFunctionRevision | None
    ) -> None:
        """Write a function's status from its latest and its live revision; `Ready` waits for the gateway."""
        if revision_name(function) != latest.name:
            return  # the template has moved on: another turn follows
        ready = condition_of(latest.status.conditions, "Ready")
        failure = ready.message if ready and ready.status == "False" else ""
        function.status.live_revision = live_revision.name if live_revision else None
        function.status.observed_generation = function.metadata.generation
        live, serving = function.status.live_revision, function.status.serving_revision
        if failure:
            self._set(function, "Latest", "False", "Failed", f"revision {latest.name} failed: {failure}")
        else:
            self._set(function, "Latest", "True", "Live", "")
        if live is None:
            self._set(function, "Ready", "False", "Failed", failure)
        elif serving is None:
            self._set(function, "Ready", "False", "WaitingForGateway", f"revision {live} is not yet routed to")
        elif failure:
            self._set(function, "Ready", "True", "Ready", f"revision {live} serves; {latest.name} failed: {failure}")
        elif serving == live:
            self._set(function, "Ready", "True", "Ready", "")
        # Else an older revision still serves while gateways switch: Ready keeps the generation that it was told of,
        # so that `kubectl wait` waits for the switch.

    def _set(
        self,
        obj: EdgeFunction | EdgeFunctionRevision,
        condition_type: str,
        status: Literal["True", "False", "Unknown"],
        reason: str,
        message: str,
    ) -> None:
        condition = Condition(
            type=condition_type,
            status=status,
            observed_generation=obj.metadata.generation,
            last_transition_time=rfc3339(self._clock.now()),
            reason=reason,
            message=message[:CONDITION_MESSAGE_CHARACTERS_MAX],
        )
        obj.status.conditions = with_condition(obj.status.conditions, condition)


def _function_of(revision: EdgeFunctionRevision) -> str:
    return (revision.metadata.labels or {}).get(FUNCTION_LABEL, "")


def _is_owned(revision: EdgeFunctionRevision, function: EdgeFunction) -> bool:
    return any(owner.uid == function.uid for owner in revision.metadata.owner_references or ())


def _new_revision(function: EdgeFunction, name: str) -> EdgeFunctionRevision:
    owner = OwnerReference(
        api_version=EDGE_FUNCTION.api_version,
        kind=EDGE_FUNCTION.kind,
        name=function.name,
        uid=function.uid,
        controller=True,
        block_owner_deletion=True,
    )
    metadata = ObjectMeta(
        name=name,
        labels={**(function.metadata.labels or {}), FUNCTION_LABEL: function.name},
        annotations={
            key: value
            for key, value in (function.metadata.annotations or {}).items()
            if not key.startswith("kubectl.kubernetes.io/")
        }
        or None,
        owner_references=[owner],
    )
    return EdgeFunctionRevision(metadata=metadata, spec=function.spec.template.model_copy(deep=True))
