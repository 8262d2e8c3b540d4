"""The wiring of event drivers: their programs, their clocks, and the address that programs post events to."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from skerry.api.dispatch_drivers import EventDriver
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.dispatch_events import EventDeliveries
from skerry.controllers.event_drivers import EventDriverController, cron_drivers
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.dispatch.sink_app import SinkApp
from skerry.server.serve import serve_loopback


@asynccontextmanager
async def event_drivers(client: Client, events: EventDeliveries, logs: Path, drain_seconds: int) -> AsyncIterator[None]:
    """Run event drivers on this machine for the length of the block.

    Args:
        client: of the controllers.
        events: deliver what drivers emit.
        logs: the folder below which what programs print is kept.
        drain_seconds: how long an event that is being taken may go on when this stops.
    """
    informers, clock = Informers(client), SystemClock()
    drivers = informers.of(EventDriver)
    app = SinkApp(events)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="event-driver-logs"))
        url = await stack.enter_async_context(serve_loopback(app, drain_seconds=drain_seconds))
        programs = EventDriverController(
            client,
            drivers,
            lambda driver: url + app.path_of(driver),
            logs / "event-drivers",
            clock,
            RandomIds(),
            executor,
        )
        for part in (programs.running(), cron_drivers(client, drivers, events, clock).running(), informers.running()):
            await stack.enter_async_context(part)
        yield
