"""The node's loop: read the log, stage code, translate, hand over, wait until it is in force, report.

Owns the order of these steps, and the processes: Envoy, its xDS server, the engine workers. Does not own what the
steps mean (`gateway`, `engine`, `functions`, `report`).

Invariant: one turn does it all, from the present state, whatever woke it; so the first turn after a start is the same
as every other, and many changes at once are one turn.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY, Histogram

from skerry.agent.code_files import CodeFiles
from skerry.agent.egress import EgressStage
from skerry.agent.filters import FilterStage
from skerry.agent.function_logs import FunctionLogFiles
from skerry.agent.functions import ArtifactSource, FunctionStage
from skerry.agent.metrics import FunctionMetrics
from skerry.agent.plugins import PluginStage
from skerry.agent.report import Reporter
from skerry.agent.schedules import Scheduler, worker_runner
from skerry.agent.slice import NodeSlice
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.function_limits import MOST, FunctionLimits
from skerry.client.client import Client
from skerry.engine.workers import Workers, WorkerSettings, run_workers
from skerry.gateway.envoy import Envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import SnapshotBuilder
from skerry.gateway.filter_trial import FilterTrial
from skerry.gateway.ir import Ir, Plugin, Wasm
from skerry.gateway.proven import Proven, ProvenPlugins
from skerry.gateway.resources import NodeFacts
from skerry.gateway.translate import Translator
from skerry.gateway.trial import Trial, trial_settings
from skerry.gateway.xds import XdsServer, serve_xds
from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.errors import StartError
from skerry.kit.ids import Ids
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.logs import get_logger
from skerry.kit.memo import Memo
from skerry.kit.tasks import Wakeup, background, keep_running, run_blocking

log = get_logger(__name__)
TURN_SECONDS = Histogram("skerry_agent_turn_seconds", "Time from a wake-up until the change is in force.")

#: Envoy takes a change within milliseconds; one that is away is back within seconds, and the turn is tried again.
APPLY_SECONDS_MAX = 10.0
#: How long a turn waits for the trial of a new plugin: most take milliseconds, and others shall not wait for the rest.
TRIAL_SECONDS = 0.25
#: At start nothing serves yet that a trial could hold up, and what is not tried would have to be stood in for.
FIRST_TRIALS_SECONDS = 20.0
#: Everything is looked at again this often; also how soon manifests that are no longer needed are removed.
RESYNC_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How a node runs.

    Attributes:
        functions_dir: for the manifests of the engine workers.
        plugins_dir: for the modules of plugins.
        filters_dir: for the code of functions that Envoy runs itself.
        egress_file: for the egress policies of functions; the workers read it.
        workers: how the engine workers run.
        envoy: how Envoy runs.
        default_address: the IP address of Gateways that name none.
        labels: of this node.
        root_namespace: plugins of this namespace apply to Gateways of every namespace.
        native_plugins: whether Envoy may load shared objects, which nothing holds once they run.
        endpoints_socket: path of the Unix socket of whoever calls functions for endpoints; "" for nobody.
        start_seconds_max: how long the first configuration may take.
        function_limits_max: the most that a function gets here.
        joined: whether this is a node of a fleet: it runs the Gateways that it is told of, and no schedules, which are
            the control plane's own node's.
    """

    functions_dir: Path
    plugins_dir: Path
    filters_dir: Path
    egress_file: Path
    workers: WorkerSettings
    envoy: EnvoySettings
    default_address: str = "127.0.0.1"
    labels: Mapping[str, str] = field(default_factory=dict)
    root_namespace: str = "istio-system"
    native_plugins: bool = False
    endpoints_socket: str = ""
    start_seconds_max: float = 60.0
    function_limits_max: FunctionLimits = MOST
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """The processes of a node, what feeds them, and what they leave behind."""

    xds: XdsServer
    workers: Workers
    envoy: Envoy
    trial: Trial
    function_logs: FunctionLogFiles


@dataclass(frozen=True, slots=True)
class Stages:
    """What brings code to a node: for the engine workers, and for Envoy."""

    functions: FunctionStage
    filters: FilterStage
    plugins: PluginStage
    egress: EgressStage


@dataclass(frozen=True, slots=True)
class InUse:
    """What traffic leads to since the last turn."""

    functions: Sequence[EdgeFunction] = ()
    plugins: ImmutableMap[str, Plugin] = field(default_factory=ImmutableMap)

    @property
    def revisions(self) -> set[str]:
        """Names of the revisions that serve."""
        return {target.revision for function in self.functions for target in function.status.targets}

    @property
    def modules(self) -> set[str]:
        """Paths of the plugins' modules."""
        return {plugin.filter.code for plugin in self.plugins.values() if isinstance(plugin.filter, Wasm)}


class Agent:
    """A running node, as `run_agent` yields it: it serves what the log asked for."""

    def __init__(
        self, settings: AgentSettings, node_slice: NodeSlice, stages: Stages, reporter: Reporter, parts: Parts
    ) -> None:
        self._settings = settings
        self._slice = node_slice
        self._stages = stages
        self._reporter = reporter
        self._parts = parts
        self._xds = parts.xds
        sockets = tuple(str(path) for path in parts.workers.socket_paths)
        self._facts = NodeFacts(
            engine_sockets=sockets,
            default_address=settings.default_address,
            labels=settings.labels,
            root_namespace=settings.root_namespace,
            endpoints_socket=settings.endpoints_socket,
        )
        self._placed: Memo[NodeFacts] = Memo()
        self._translator = Translator()
        self._proven = ProvenPlugins()
        self.metrics = FunctionMetrics(parts.workers, node_slice.known_functions)
        self._snapshots = SnapshotBuilder(EdgeSettings(str(settings.envoy.access_log)))
        self._in_use = InUse()
        self._files = asyncio.Lock()
        self.applied = asyncio.Event()

    async def envoy_missing(self) -> str:
        """Return "" where Envoy takes requests, else why it does not."""
        return "" if await self._parts.envoy.is_live() else "Envoy is not live"

    async def workers_missing(self) -> str:
        """Return "" where an engine worker answers, else why none does."""
        return await self._parts.workers.missing()

    async def turn(self) -> None:
        """Bring Envoy and the engine to the present state of the log, and report what is in force."""
        async with self._files:
            await self._turn()
        self.applied.set()

    async def _turn(self) -> None:
        with TURN_SECONDS.time():
            await self._stages.egress.stage()  # before functions are served that the policies are about
            await self._stages.filters.stage(self._slice.functions, wait_seconds=self._trial_seconds)
            functions = await self._stages.functions.stage(self._slice.functions, self._stages.filters)
            plugins = await self._stages.plugins.stage(self._slice.plugins.objects)
            filters = self._stages.filters.rule_filters(functions)
            elsewhere = self._slice.elsewhere
            facts = self._placed.get((elsewhere,), lambda: replace(self._facts, elsewhere=elsewhere))
            resources = replace(self._slice.resources(functions, plugins, facts), filters=filters)
            translation = self._translator.translate(resources)
            proven = await self._prove(translation.ir)
            self._in_use = InUse(functions, proven.model.plugins)
            generation = self._xds.set_snapshot(self._snapshots.build(proven.model))
            rejections = await self._xds.wait_until_applied(generation, timeout_seconds=APPLY_SECONDS_MAX)
        await self._reporter.report(
            functions, self._stages.filters.reports, translation, (*proven.rejections, *rejections)
        )

    async def remove_idle(self) -> None:
        """Remove what nothing leads to any more; code between two turns, since a turn may need it again."""
        await self.applied.wait()
        async with self._files:
            await self._stages.functions.remove_idle(self._in_use.revisions)
            await self._stages.filters.remove_idle()
            await self._stages.plugins.remove_idle(self._in_use.modules)
        await self._parts.function_logs.remove_idle(self._slice.functions)

    @property
    def _trial_seconds(self) -> float:
        return TRIAL_SECONDS if self.applied.is_set() else FIRST_TRIALS_SECONDS

    async def _prove(self, model: Ir) -> Proven:
        """Try what is new among the plugins, and keep back what did not pass."""
        wait_seconds = self._trial_seconds
        await self._parts.trial.judge(self._proven.untried(model), wait_seconds=wait_seconds)
        return self._proven.settle(model, self._parts.trial.verdict)


@asynccontextmanager
async def run_agent(
    settings: AgentSettings, client: Client, artifacts: ArtifactSource, clock: Clock, ids: Ids
) -> AsyncIterator[Agent]:
    """Run a node for the length of the block; it begins when the node serves what the log asks for.

    Raises:
        StartError: a worker or Envoy did not start in time.
    """
    wakeup = Wakeup()
    node_slice = NodeSlice(client, joined=settings.joined)
    node_slice.on_change(wakeup.set)
    egress_wakeup = Wakeup()
    for informer in (node_slice.egress_policies, node_slice.functions):
        informer.on_change(lambda _: egress_wakeup.set())
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="agent-files"))
        for directory in (settings.functions_dir, settings.filters_dir, settings.plugins_dir):
            await run_blocking(executor, partial(directory.mkdir, parents=True, exist_ok=True))
        await stack.enter_async_context(background(*node_slice.loops))
        xds = await stack.enter_async_context(serve_xds(settings.envoy.xds_socket, on_refusals=wakeup.set))
        trial = Trial(trial_settings(settings.envoy), wakeup.set)
        filter_trial = FilterTrial(wakeup.set)
        filters = FilterStage(
            CodeFiles(settings.filters_dir, artifacts, clock, executor),
            node_slice.revisions,
            filter_trial,
            natives=settings.native_plugins,
        )
        stages = Stages(
            FunctionStage(
                *(settings.functions_dir, node_slice.revisions, artifacts, clock, executor),
                limits_max=settings.function_limits_max,
            ),
            filters,
            PluginStage(CodeFiles(settings.plugins_dir, artifacts, clock, executor)),
            EgressStage(settings.egress_file, node_slice.egress_policies, node_slice.functions, executor),
        )
        # Stopped in the opposite order: Envoy lets its requests end while the workers still answer them.
        workers = await stack.enter_async_context(run_workers(settings.workers))
        envoy = await stack.enter_async_context(run_envoy(settings.envoy))
        for name, court in (("plugin-trial", trial.run), ("filter-trial", filter_trial.run)):
            loop = partial(keep_running, name, court, wakeup=Wakeup(), resync_seconds=RESYNC_SECONDS)
            await stack.enter_async_context(background((name, loop)))
        await node_slice.synced()
        reporter = Reporter(client, node_slice, clock, settings.envoy.node_id)
        function_logs = FunctionLogFiles(settings.workers.logs_dir, clock, executor)
        agent = Agent(settings, node_slice, stages, reporter, Parts(xds, workers, envoy, trial, function_logs))
        REGISTRY.register(agent.metrics)
        stack.callback(REGISTRY.unregister, agent.metrics)
        # On its own too: a turn may wait for Envoy, and a policy must not.
        egress = partial(
            keep_running, "egress", stages.egress.stage, wakeup=egress_wakeup, resync_seconds=RESYNC_SECONDS
        )
        turns = partial(keep_running, "agent", agent.turn, wakeup=wakeup, resync_seconds=RESYNC_SECONDS)
        removals = partial(
            keep_running, "agent-idle", agent.remove_idle, wakeup=Wakeup(), resync_seconds=RESYNC_SECONDS
        )
        await stack.enter_async_context(background(("agent", turns), ("agent-idle", removals), ("egress", egress)))
        await _until_applied(agent, envoy, settings.start_seconds_max)
        if not settings.joined:
            runner = await stack.enter_async_context(worker_runner(workers.socket_paths))
            holder, known = f"{settings.envoy.node_id}_{ids.uid()}", (node_slice.functions, node_slice.revisions)
            await stack.enter_async_context(Scheduler(client, *known, runner, clock=clock, holder=holder).running())
        yield agent


async def _until_applied(agent: Agent, envoy: Envoy, seconds_max: float) -> None:
    await envoy.ready(timeout_seconds=seconds_max)
    try:
        with within(seconds_max):
            await agent.applied.wait()
    except TimeoutError as error:
        raise StartError(f"the gateway was not configured within {seconds_max:g} s; see its log") from error
