"""Where one room's Protocol meets another room's thing: each adapter is a few lines, and decides nothing."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skerry.api.core_v1 import SECRET, Secret
from skerry.api.dispatch_v1 import RUN, Function, Run
from skerry.api.errors import NotFound
from skerry.api.model import from_document, set_fields
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import BundleRefusedError
from skerry.artifacts.keep import ArtifactKeep
from skerry.controllers.dispatch_bindings import values_of
from skerry.controllers.dispatch_queue import RunQueue
from skerry.engine.check import BundleChecker
from skerry.engine.errors import LoadError
from skerry.engine.function_logs import FunctionLogs, LineFilter, time_of
from skerry.engine.manifest import log_name
from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.server.health import ReadinessCheck
from skerry.server.kube.logs import LogLine, LogQuery
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs
from skerry.store.errors import StoreError
from skerry.store.log import RevisionLog

if TYPE_CHECKING:
    from skerry.agent.agent import Agent
    from skerry.controllers.dispatch_runs import DispatchRunController

#: How long a database may take to answer one question, where a replica is said to be ready.
READY_SECONDS_MAX = 2.0
#: Further back than any log is kept; a bound, because dates have one.
SINCE_SECONDS_MAX = 10 * 365 * 86400


class EngineBundleCheck:
    """`artifacts.javascript.BundleCheck`, by the engine."""

    def __init__(self, checker: BundleChecker) -> None:
        self._checker = checker

    async def check(self, wasm: bytes, *, is_filter: bool = False) -> None:
        """Load a bundle once; raises BundleRefusedError where the engine refuses it."""
        try:
            await self._checker.check(wasm, is_filter=is_filter)
        except LoadError as error:
            raise BundleRefusedError(error.message, line=error.line or 0, column=error.column or 0) from error


#: Secrets whose values are at hand, read anew when they change.
SECRETS_REMEMBERED = 256


class SecretValues:
    """`controllers.dispatch_attempts.ReadSecret`, by the verbs."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._known: OrderedDict[tuple[str, str], tuple[int, Mapping[str, str]]] = OrderedDict()

    async def __call__(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the values of a secret as it is now; raises KeyError where there is none."""
        try:
            stored = await self._verbs.get(Target(SECRET, namespace, name))
        except NotFound:
            raise KeyError(name) from None
        revision, values = self._known.pop((namespace, name), (0, {}))
        if revision != stored.revision:
            values = values_of(from_document(Secret, stored.document))
        self._known[namespace, name] = stored.revision, values
        if len(self._known) > SECRETS_REMEMBERED:
            self._known.popitem(last=False)
        return values


_RUN_TYPE = {"api_version": RUN.api_version, "kind": RUN.kind}


class RecordedRuns:
    """`controllers.dispatch_runs.RecordRun`, by the verbs."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    async def __call__(self, run: Run) -> Run:
        """Store a run with its status."""
        set_fields(run, _RUN_TYPE)
        return await self._verbs.record(Target(RUN, run.namespace, run.name), run)


class LedRuns:
    """`server.dispatch.door.Runs`: runs are executed here while this process leads, else by the one that does.

    Args:
        queue: of the runs of all processes.

    Attributes:
        controller: executes runs here; None while another process does, or none yet.
    """

    def __init__(self, queue: RunQueue) -> None:
        self._queue = queue
        self.controller: DispatchRunController | None = None

    def run_now(self, function: Function, run: Run) -> Coroutine[Any, Any, Run]:
        """Execute a run whose caller waits."""
        if self.controller is not None:
            return self.controller.run_now(function, run)
        return self._queue.execute(run)

    def submit(self, run: Run) -> Coroutine[Any, Any, Run]:
        """Store a run that waits for its turn."""
        return self._queue.submit(run)


class LocalArtifacts:
    """`agent.functions.ArtifactSource`, for a node that shares the control plane's keep."""

    def __init__(self, keep: ArtifactKeep) -> None:
        self._keep = keep

    async def fetch(self, digest: str) -> Path:
        """Return the path of an artifact, verified."""
        return await self._keep.verify(Digest.parse(digest))


class LocalFunctionLogs:
    """`server.kube.logs.LogReader`, for functions that run on this machine."""

    def __init__(self, logs: FunctionLogs, verbs: Verbs, clock: Clock) -> None:
        self._logs = logs
        self._verbs = verbs
        self._clock = clock

    @asynccontextmanager
    async def read(self, target: Target, query: LogQuery) -> AsyncIterator[AsyncIterator[LogLine]]:
        """Open a function's log; raises NotFound where there is no such function."""
        function = (await self._verbs.get(Target(target.kind, name=target.name))).document["metadata"]
        since = query.since_time
        if query.since_seconds is not None:
            since = self._clock.now() - timedelta(seconds=min(query.since_seconds, SINCE_SECONDS_MAX))
        wanted = LineFilter(since, query.level, query.request_id)
        name = log_name(function["name"], function["uid"])
        lines = self._logs.read(name, follow=query.follow, tail_lines=query.tail_lines, wanted=wanted)
        try:
            yield (LogLine(time_of(line), line) async for line in lines)
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()


class LocalNode:
    """The node of this machine, as the server asks it; `agent` is set once it runs."""

    def __init__(self) -> None:
        self.agent: Agent | None = None

    @property
    def checks(self) -> Sequence[ReadinessCheck]:
        """What must be well there for a request to be answered."""
        return (
            NodePart("envoy", self, lambda agent: agent.envoy_missing()),
            NodePart("workers", self, lambda agent: agent.workers_missing()),
        )

    async def refresh(self) -> None:
        """Ask the node what its functions' metrics are now (`server.metrics.Measured`)."""
        if self.agent:
            await self.agent.metrics.refresh()


@dataclass(frozen=True)
class NodePart:
    """A part of the node of this machine (`server.health.ReadinessCheck`)."""

    name: str
    node: LocalNode
    missing: "Callable[[Agent], Awaitable[str]]"

    async def ready(self) -> str:
        """Return "" where it does its work, else what is missing."""
        return await self.missing(self.node.agent) if self.node.agent else "the node is starting"


class DatabaseReadiness:
    """The database as the server sees it (`server.health.ReadinessCheck`)."""

    name = "database"

    def __init__(self, revision_log: RevisionLog) -> None:
        self._log = revision_log

    async def ready(self) -> str:
        """Return "" where a request would be answered, else what is missing."""
        try:
            with within(READY_SECONDS_MAX):
                await self._log.revision()
        except TimeoutError:
            return f"the database does not answer within {READY_SECONDS_MAX:.0f} s"
        except StoreError as error:
            return f"the database does not answer: {error}"
        return ""
