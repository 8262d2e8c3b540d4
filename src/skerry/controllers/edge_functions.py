"""From an EdgeFunction to its revisions: build, switch, trim.

Owns: EdgeFunctionRevision objects, the artifact of each, and the writing of both kinds' statuses.
Does not own: how code is built (`artifacts`), who gets which requests (`traffic`), what is told
(`function_conditions`), or where it is served (the agent,
which writes `status.servingRevision` and what of `status.traffic` is in force).

Invariant: `status.traffic` only ever comes to name a revision whose code is stored and checked. A revision that fails
leaves the ones before it alone.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from prometheus_client import Histogram

from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    FUNCTION_LABEL,
    EdgeFunction,
    EdgeFunctionRevision,
    revision_name,
)
from skerry.api.model import ObjectMeta, OwnerReference, condition_of, is_true
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.builds import CodeBuilder, SourceError
from skerry.controllers.function_conditions import (
    tell_delayed,
    tell_failed,
    tell_function,
    tell_ingesting,
    tell_ready,
    tell_superseded,
)
from skerry.controllers.traffic import can_stay, decide_traffic, named_revisions
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)
BUILD_SECONDS = Histogram("skerry_function_build_seconds", "Time from source to stored artifact.", ["outcome"])

#: Functions worked on at once. High, because a turn is cheap but for its build, which has a bound of its own: a
#: function whose code is built must not wait behind others that are still to be.
CONCURRENCY = 1024
#: A build that could not be carried out is tried again after this time first: what it needs is mostly another host's.
FIRST_RETRY_SECONDS = 1.0
#: Every function is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0


class EdgeFunctionController:
    """Reconciles EdgeFunctions; `running()` is its life.

    A function's turn decides and tells, and never waits for a build: those run beside it, one a revision, so that a
    rollback takes effect while another revision is built, or fails to be.

    Args:
        client: where objects are written.
        functions: the cache of EdgeFunctions.
        revisions: the cache of their revisions.
        builder: makes a revision's artifact.
        clock: stamps conditions.
        toolchain: names what builds, and what it allows: a source that failed may not fail with another.
    """

    def __init__(
        self,
        client: Client,
        functions: Informer[EdgeFunction],
        revisions: Informer[EdgeFunctionRevision],
        builder: CodeBuilder,
        clock: Clock,
        *,
        toolchain: str,
    ) -> None:
        self._client = client
        self._functions = functions
        self._revisions = revisions
        self._builder = builder
        self._clock = clock
        self._toolchain = toolchain
        self._turns = KeyedWorkers("edge-functions", self.reconcile, concurrency=CONCURRENCY)
        self._builds = KeyedWorkers(
            "edge-function-builds", self._build, concurrency=CONCURRENCY, first_retry_seconds=FIRST_RETRY_SECONDS
        )
        self._building: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        self._functions.on_change(lambda key: self._turns.add(key[1]))
        self._revisions.on_change(lambda key: self._turns.add(self._owner_name(key)))
        async with resynced("edge-functions", self._resync, self._turns, self._builds, resync_seconds=RESYNC_SECONDS):
            yield

    async def _resync(self) -> None:
        await self._functions.synced()
        await self._revisions.synced()
        for function in self._functions:
            self._turns.add(function.name)

    def _owner_name(self, key: Key) -> str:
        revision = self._revisions.get(key[1])
        return _function_of(revision) if revision else key[1].rpartition("-")[0]

    async def reconcile(self, name: str) -> None:
        """Bring one function, its revisions and its status to what its spec asks for."""
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
        owned = {r.name: r for r in self._revisions if _is_owned(r, function)} | {latest.name: latest}
        for needed in named_revisions(function) | {latest.name}:
            if needed in owned and not await self._is_done(owned[needed]):
                self._builds.add(needed)
        ready = _latest_ready(function, latest, owned)
        decision = decide_traffic(function, ready, owned)
        generation = function.metadata.generation

        def tell(found: EdgeFunction) -> None:
            if found.metadata.generation == generation:  # else the spec has moved on: another turn follows
                tell_function(found, latest, ready, decision, self._now())

        function = await self._client.change_status(function, tell)
        await self._tell_superseded(function, latest)
        await self._trim(function, latest)

    def _now(self) -> str:
        return rfc3339(self._clock.now())

    async def _is_done(self, revision: EdgeFunctionRevision) -> bool:
        """Tell whether there is nothing to build: it failed for good, or it is built and its artifact is there."""
        ready = condition_of(revision.status.conditions, "Ready")
        if ready is None or ready.status == "Unknown":
            return False
        if ready.status == "False":
            return revision.status.toolchain == self._toolchain
        artifact = revision.status.artifact
        return artifact is not None and await self._builder.is_stored(artifact)

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

    async def _build(self, name: str) -> None:
        """Build a revision, unless nothing needs it by now; what it comes to is told at the revision."""
        revision = await self._client.find(EdgeFunctionRevision, name)
        function = self._functions.get(_function_of(revision)) if revision else None
        if revision is None or function is None or not _is_owned(revision, function):
            return
        if name not in named_revisions(function) | {revision_name(function)} or await self._is_done(revision):
            return
        self._building.add(name)
        try:
            await self._ingest(revision)
        except NotFound:
            log.info("revision was deleted while it was built", revision=name)
        finally:
            self._building.discard(name)

    async def _ingest(self, revision: EdgeFunctionRevision) -> None:
        """Build a revision's code and write down how that went."""
        revision = await self._client.change_status(revision, lambda r: tell_ingesting(r, self._toolchain, self._now()))
        started = self._clock.monotonic_seconds()
        try:
            built = await self._builder.build(revision)
        except SourceError as error:
            BUILD_SECONDS.labels("refused").observe(self._clock.monotonic_seconds() - started)
            message = error.public
            log.info("revision does not build", revision=revision.name, reason=message)
            await self._client.change_status(revision, lambda r: tell_failed(r, message, self._now()))
            return
        except SkerryError as error:
            message = error.public
            await self._client.change_status(revision, lambda r: tell_delayed(r, message, self._now()))
            raise
        BUILD_SECONDS.labels("built").observe(self._clock.monotonic_seconds() - started)
        log.info("revision is ready", revision=revision.name, digest=built.artifact.digest)
        await self._client.change_status(revision, lambda r: tell_ready(r, built, self._now()))

    async def _tell_superseded(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> None:
        """Say of revisions whose build a restart cut short that nobody waits for it; a rollback builds them."""
        wanted = named_revisions(function) | {latest.name} | self._building
        for revision in self._revisions:
            ready = condition_of(revision.status.conditions, "Ready")
            waits = ready is None or (ready.status == "Unknown" and ready.reason != "Superseded")
            if waits and revision.name not in wanted and _is_owned(revision, function):
                await self._client.change_status(revision, lambda r: tell_superseded(r, self._now()))

    async def _trim(self, function: EdgeFunction, latest: EdgeFunctionRevision) -> None:
        """Remove the oldest revisions over the history limit, never one that requests may go to, nor the latest."""
        owned = [r for r in self._revisions if _is_owned(r, function)]
        surplus = len(owned) - max(function.spec.revision_history_limit, 1)
        if surplus <= 0:
            return
        present = await self._client.get(EdgeFunction, function.name)  # a pin of this very moment counts as well
        kept = named_revisions(present) | {latest.name}
        owned.sort(key=lambda r: (r.metadata.creation_timestamp or "", int(r.metadata.resource_version or 0)))
        for revision in [r for r in owned if r.name not in kept][:surplus]:
            await self._client.delete(revision)


def _latest_ready(
    function: EdgeFunction, latest: EdgeFunctionRevision, owned: Mapping[str, EdgeFunctionRevision]
) -> str | None:
    """Return the newest revision that is ready: the latest if it is, else the one that was, if it still exists."""
    if is_true(latest.status.conditions, "Ready"):
        return latest.name
    before = function.status.latest_ready_revision or function.status.live_revision
    return before if before and can_stay(owned.get(before)) else None


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
