"""The wiring of functions with typed input and output: their front door, and the controllers behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from skerry.api.dispatch_v1 import Function, Run
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.dispatch_functions import DispatchFunctionController
from skerry.controllers.dispatch_runs import DispatchRunController
from skerry.functions.local.driver import LocalDriver
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.main.adapters import LateRuns, RecordedRuns
from skerry.main.data_dir import DataDir
from skerry.server.access import Access
from skerry.server.dispatch.door import DispatchDoor, Runs, Sources
from skerry.server.dispatch.functions import Functions
from skerry.server.dispatch.runs import FunctionRuns
from skerry.server.dispatch.secrets import Secrets
from skerry.server.verbs.verbs import Verbs


def dispatch_door(verbs: Verbs, access: Access, sources: Sources, runs: Runs) -> DispatchDoor:
    """Return the front door of functions, runs and secrets."""
    handlers = (Functions(sources), FunctionRuns(runs), Secrets())
    return DispatchDoor(verbs, access, [operation for each in handlers for operation in each.operations()])


@asynccontextmanager
async def dispatch_controllers(
    data_dir: DataDir, client: Client, keep: ArtifactKeep, verbs: Verbs, runs: LateRuns
) -> AsyncIterator[None]:
    """Deploy functions and execute their runs on this machine; `runs` is at hand once they do."""
    clock, ids, informers = SystemClock(), RandomIds(), Informers(client)
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(LocalDriver(data_dir.deployments))
        functions = informers.of(Function)
        deploying = DispatchFunctionController(client, functions, driver, keep, clock, ids)
        executing = DispatchRunController(client, informers.of(Run), functions, driver, RecordedRuns(verbs), clock, ids)
        for part in (deploying.running(), executing.running(), informers.running()):
            await stack.enter_async_context(part)
        runs.controller = executing
        yield
