"""Which revisions this node can serve: their artifacts at hand, their manifests written.

Owns the manifests of the engine workers. Does not own the workers, nor which revision is live.

Invariants: a function is only ever routed to a revision whose manifest is written; a revision that can't be staged
leaves the one before it in place.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from skerry.agent.idle import Idle
from skerry.agent.manifests import function_manifest
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.function_limits import MOST, FunctionLimits
from skerry.api.function_traffic import WHOLE_PERCENT, TrafficTarget, live_of
from skerry.client.informer import Informer
from skerry.engine.manifest import list_manifests, remove_manifest, write_manifest
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)


class ArtifactSource(Protocol):
    """Where a node gets code from."""

    async def fetch(self, digest: str) -> Path:
        """Return the path of an artifact on this node, complete and checked; raises SkerryError."""
        ...


class EnvoyFilters(Protocol):
    """What stages the revisions that Envoy runs itself."""

    def is_in_force(self, revision: EdgeFunctionRevision, function: EdgeFunction, /) -> bool:
        """Tell whether a revision of a function is what its filter is."""
        ...


class NoFilters:
    """For a node whose Envoy runs no function."""

    def is_in_force(self, _revision: EdgeFunctionRevision, _function: EdgeFunction, /) -> bool:
        """No revision is."""
        return False


NO_FILTERS = NoFilters()


class _Served(NamedTuple):
    """What staging a function came to.

    Attributes:
        asked: the function as it is stored.
        revisions: of its targets, as they were; None for one that was not there.
        function: as this node serves it.
        shares: of its requests, as this node serves them.
        is_complete: whether that is all that was decided.
    """

    asked: EdgeFunction
    revisions: tuple[EdgeFunctionRevision | None, ...]
    function: EdgeFunction
    shares: list[TrafficTarget]
    is_complete: bool


class FunctionStage:
    """Stages revisions for the engine workers of this node.

    Args:
        functions_dir: where the workers look for manifests.
        revisions: the cache of revisions.
        artifacts: where code comes from.
        clock: measures the grace of manifests that are not needed any more.
        executor: for file work.
        limits_max: the most that this node gives to a function, whatever it asks for.
    """

    def __init__(
        self,
        functions_dir: Path,
        revisions: Informer[EdgeFunctionRevision],
        artifacts: ArtifactSource,
        clock: Clock,
        executor: Executor,
        *,
        limits_max: FunctionLimits = MOST,
    ) -> None:
        self._limits_max = limits_max
        self._functions_dir = functions_dir
        self._revisions = revisions
        self._artifacts = artifacts
        self._executor = executor
        self._staged: dict[str, EdgeFunctionRevision] = {}
        self._idle = Idle(clock)
        self._served: dict[str, _Served] = {}
        self._filters: EnvoyFilters = NO_FILTERS

    async def stage(self, functions: Iterable[EdgeFunction], filters: EnvoyFilters = NO_FILTERS) -> list[EdgeFunction]:
        """Stage the revisions that requests go to; return the functions as this node serves them.

        Each has `status.traffic` as it can be put into force here, `status.liveRevision` and the template of that
        revision. Where the shares that were decided can't be staged, it is those that were served last; functions of
        which there is nothing have no live revision.

        Args:
            functions: as they are stored.
            filters: what Envoy runs of them itself.
        """
        self._filters = filters
        before, self._served = self._served, {}
        for function in functions:
            found = before.get(function.uid)
            if found is None or not self._still_holds(found, function):
                shares = found.shares if found else []
                found = await self._as_served(function, shares)
            self._served[function.uid] = found
        return [found.function for found in self._served.values()]

    def _still_holds(self, found: "_Served", function: EdgeFunction) -> bool:
        """Tell whether staging would find the same again: most functions are as they were, in most turns."""
        if found.asked is not function or not found.is_complete:
            return False
        revisions = (self._revisions.get(target.revision) for target in function.status.targets)
        return all(now is then and not _is_of_envoy(now) for now, then in zip(revisions, found.revisions, strict=True))

    async def _as_served(self, function: EdgeFunction, shares_of_before: list[TrafficTarget]) -> "_Served":
        decided = function.status.targets
        staged = {t.revision for t in decided if await self._staged_revision(function, t.revision)}
        shares = [target for target in decided if target.percent]
        tags = [target for target in decided if target.tag and target.revision in staged]
        is_complete = all(target.revision in staged for target in decided)
        if not all(target.revision in staged for target in shares):
            shares = await self._fallback(function, shares_of_before)
            tags = [tag.model_copy(update={"percent": None}) for tag in tags]
        live = live_of(shares)
        revision = await self._staged_revision(function, live) if live else None
        # Shallow copies: a turn makes one of every function, and nothing below is changed.
        in_force = [*shares, *(tag for tag in tags if tag not in shares)]
        status = function.status.model_copy(update={"live_revision": live, "traffic": in_force})
        spec = function.spec.model_copy(update={"template": revision.spec}) if revision else function.spec
        return _Served(
            asked=function,
            revisions=tuple(self._revisions.get(target.revision) for target in decided),
            function=function.model_copy(update={"spec": spec, "status": status}),
            shares=shares,
            is_complete=is_complete,
        )

    async def _fallback(self, function: EdgeFunction, before: list[TrafficTarget]) -> list[TrafficTarget]:
        """Return the shares that this node served last, as far as it knows, or the revision that it told of."""
        told = function.status.serving_revision
        for shares in (before, [TrafficTarget(revision=told, percent=WHOLE_PERCENT)] if told else []):
            if shares and all([await self._staged_revision(function, share.revision) for share in shares]):
                return shares
        return []

    async def _staged_revision(self, function: EdgeFunction, name: str) -> EdgeFunctionRevision | None:
        revision = self._revisions.get(name)
        if revision is None or revision.status.artifact is None:
            return None
        if _is_of_envoy(revision):
            return revision if self._filters.is_in_force(revision, function) else None
        if all(owner.uid != function.uid for owner in revision.metadata.owner_references or ()):
            return None  # a status can be written by hand: it must not make a function serve another's code
        staged = self._staged.get(name)
        if staged is not None and staged.uid == revision.uid:
            return staged
        try:
            artifact = await self._artifacts.fetch(revision.status.artifact.digest)
            manifest = function_manifest(function, name, revision.spec, artifact, limits_max=self._limits_max)
            await run_blocking(self._executor, partial(write_manifest, self._functions_dir, manifest))
        except (SkerryError, OSError, ValueError) as error:
            log.warning("revision can't be staged", revision=name, error=str(error))
            return None
        self._staged[name] = revision
        return revision

    async def remove_idle(self, in_use: Collection[str]) -> None:
        """Remove the manifests of revisions that no route has led to for `idle.GRACE_SECONDS`."""
        known = await run_blocking(self._executor, partial(list_manifests, self._functions_dir))
        for name in self._idle.expired(known, in_use):
            self._staged.pop(name, None)
            await run_blocking(self._executor, partial(remove_manifest, self._functions_dir, name))


def _is_of_envoy(revision: EdgeFunctionRevision | None) -> bool:
    """Tell whether Envoy runs a revision itself: what it has in force changes by itself."""
    artifact = revision.status.artifact if revision else None
    return artifact is not None and artifact.loader is not None
