"""The wiring of functions with typed input and output: their front door, and the controllers behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skerry.api.dispatch_endpoints import Endpoint
from skerry.api.dispatch_images import BaseImage, Image
from skerry.api.dispatch_services import ServiceBroker, ServiceClass, ServiceInstance
from skerry.api.dispatch_v1 import RUN, Function, Run
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.dispatch_attempts import Attempts, Given, read_function
from skerry.controllers.dispatch_bindings import read_binding
from skerry.controllers.dispatch_callers import CallerController
from skerry.controllers.dispatch_calls import FunctionCalls
from skerry.controllers.dispatch_events import EventDeliveries
from skerry.controllers.dispatch_failures import DeadLetterController
from skerry.controllers.dispatch_functions import DeployedBy, DispatchFunctionController
from skerry.controllers.dispatch_images import DispatchImageController
from skerry.controllers.dispatch_queue import UNFINISHED, RunQueue
from skerry.controllers.dispatch_retention import RunRetention
from skerry.controllers.dispatch_run_logs import RunLogFollowing
from skerry.controllers.dispatch_runs import FAILED, DispatchRunController
from skerry.controllers.dispatch_schedules import function_schedules
from skerry.controllers.dispatch_services import ServiceInstanceController
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.service_brokers import ServiceBrokerController
from skerry.functions import FaaSDriver
from skerry.functions.images import ImageStore
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.kit.tasks import background
from skerry.main.adapters import LedRuns, RecordedRuns, SecretValues
from skerry.server.access import Access
from skerry.server.dispatch.docs_page import DOCS_PATH, docs_page
from skerry.server.dispatch.door import DispatchDoor, Operation, Sources
from skerry.server.dispatch.drivers import Drivers
from skerry.server.dispatch.endpoint_app import EndpointApp
from skerry.server.dispatch.endpoints import Endpoints
from skerry.server.dispatch.events import EventEmission, Subscriptions
from skerry.server.dispatch.functions import Functions
from skerry.server.dispatch.images import BaseImages, Images
from skerry.server.dispatch.openapi import OPENAPI_PATH, openapi_document
from skerry.server.dispatch.run_logs import PrintedLines
from skerry.server.dispatch.runs import FunctionRuns
from skerry.server.dispatch.secrets import Secrets
from skerry.server.dispatch.services import Services
from skerry.server.http import Response
from skerry.server.operations import json
from skerry.server.serve import serve_socket
from skerry.server.verbs.verbs import Verbs


@dataclass(frozen=True, slots=True)
class Dispatching:
    """What stands behind the front door in every process that shares a log, whoever executes the runs."""

    queue: RunQueue
    runs: LedRuns
    events: EventDeliveries
    logs: RunLogFollowing


@asynccontextmanager
async def dispatching(client: Client, verbs: Verbs) -> AsyncIterator[Dispatching]:
    """Know the runs that are not over, for the length of the block.

    Args:
        client: of this process.
        verbs: store runs.
    """
    informers = Informers(client)
    unfinished = informers.of(Run, UNFINISHED)
    queue = RunQueue(client, unfinished, RecordedRuns(verbs), SystemClock())
    async with informers.running():
        await queue.synced()
        yield Dispatching(
            queue, LedRuns(queue), EventDeliveries(client, queue.submit), RunLogFollowing(client, unfinished)
        )


def dispatch_operations(sources: Sources, behind: Dispatching) -> list[Operation]:
    """Return what may be asked of functions and all that begins their runs."""
    handlers = (
        Functions(sources),
        FunctionRuns(behind.runs, RandomIds()),
        PrintedLines(behind.logs),
        Secrets(),
        EventEmission(behind.events),
        Subscriptions(),
        Drivers(),
        Endpoints(),
        Images(),
        BaseImages(),
        Services(),
    )
    return [operation for each in handlers for operation in each.operations()]


def dispatch_door(verbs: Verbs, access: Access, sources: Sources, behind: Dispatching) -> DispatchDoor:
    """Return the front door of functions and all that begins their runs."""
    operations = dispatch_operations(sources, behind)

    def openapi() -> Response:
        return json(openapi_document(operations))

    def docs() -> Response:
        return Response(docs_page(openapi_document(operations)), content_type="text/html; charset=utf-8")

    return DispatchDoor(verbs, access, operations, {OPENAPI_PATH: openapi, DOCS_PATH: docs})


@asynccontextmanager
async def dispatch_controllers(  # noqa: PLR0913 - what it wires
    on: tuple[FaaSDriver, ImageStore],
    client: Client,
    keep: ArtifactKeep,
    caches: KindCaches,
    *,
    verbs: Verbs,
    behind: Dispatching,
    alone: bool,
) -> AsyncIterator[None]:
    """Deploy functions with a driver and execute their runs; what is `behind` the door is at hand once they do.

    Args:
        on: the driver, and what makes its images.
        client: of the controllers.
        keep: of uploaded sources.
        caches: of the metadata of every kind.
        verbs: store runs that their callers waited for.
        behind: has the queue, and gets what executes runs of it.
        alone: whether no other process can share the log.
    """
    driver, store = on
    clock, ids, informers = SystemClock(), RandomIds(), Informers(client)
    async with AsyncExitStack() as stack:
        functions, images, queue = informers.of(Function), informers.of(Image), behind.queue
        making = DispatchImageController(client, images, informers.of(BaseImage), store, clock)
        by = DeployedBy(driver, images, store, keep)
        deploying = DispatchFunctionController(client, functions, by, clock, ids)
        given = Given(
            SecretValues(verbs), partial(read_binding, client), partial(read_function, client), deploying.look_at
        )
        executing = DispatchRunController(
            client,
            queue,
            functions,
            Attempts(driver, given, behind.logs, clock),
            record=RecordedRuns(verbs),
            clock=clock,
            holder=ids.uid(),
            alone=alone,
        )
        retention = RunRetention(client, caches.informers.partial_of(RUN), queue, clock)
        failures = DeadLetterController(client, informers.of(Run, FAILED), queue.submit, clock)
        instances, classes = informers.of(ServiceInstance), informers.of(ServiceClass)
        services = ServiceInstanceController(client, instances, classes, clock)
        schedules = function_schedules(client, functions, queue.submit, clock)
        for part in (
            making.running(),
            deploying.running(),
            executing.running(),
            failures.running(),
            schedules.running(),
            ServiceBrokerController(client, informers.of(ServiceBroker)).running(),
            services.running(),
            CallerController(client, informers, clock).running(),
            informers.running(),
            background(("dispatch-runs:trim", retention.run)),
        ):
            await stack.enter_async_context(part)
        behind.runs.controller = executing
        try:
            yield
        finally:
            behind.runs.controller = None


@asynccontextmanager
async def serve_endpoints(client: Client, behind: Dispatching, socket: Path, drain_seconds: int) -> AsyncIterator[None]:
    """Answer what the gateway of this machine takes for endpoints."""
    informers = Informers(client)
    app = EndpointApp(informers.of(Endpoint), FunctionCalls(client, behind.runs, RandomIds()))
    async with informers.running():
        await informers.of(Endpoint).synced()
        async with serve_socket(app, socket, drain_seconds=drain_seconds):
            yield
