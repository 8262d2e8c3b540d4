"""Runs event drivers: programs that post events, and clocks.

Owns the drivers' processes and `EventDriver.status`. Does not own what becomes of an event (`dispatch_events`), nor the
address that programs post to: whoever has it gives each driver one of its own.

Invariant: of all processes of Skerry, the one that holds a driver's claim runs its program. Each looks every few
seconds, renews what it holds, and lets the program go where it lost the claim, or where another state is wanted. While
the log can't be read, a program goes on for as long as its claim holds.
"""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from skerry.api import dispatch_v1 as api
from skerry.api.claims import Claim, claimed, is_taken
from skerry.api.dispatch_calls import run_name
from skerry.api.dispatch_drivers import CRON, CRON_EVENT_TYPE, EventDriver, EventDriverType, schedules_of
from skerry.api.dispatch_events import Event, own_event
from skerry.api.errors import ApiError, Conflict, NotFound, ServiceUnavailable
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_bindings import read_secret
from skerry.controllers.schedules import Schedules
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.deadlines import within
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.kit.processes import Command, Supervised, bound_output, plain_environment, supervise
from skerry.kit.tasks import Loops, Wakeup, keep_running, run_blocking

log = get_logger(__name__)

#: How often a driver is looked at: how soon a changed Secret is noticed, and a claim renewed.
LOOK_SECONDS = 5.0
#: How long a claim holds: so long a driver of a dead process is without its program. It is renewed when half of it is
#: left, so a program goes on for a third of it at least while the log can't be read.
LEASE_SECONDS = 30.0
#: What is kept of a program's output; the same again is kept of what was before.
LOG_BYTES_MAX = 1 << 20
#: The variable that has the address for events, as Knative names it.
SINK_VARIABLE = "K_SINK"


class Events(Protocol):
    """Delivers events."""

    async def deliver(self, namespace: str, event: Event) -> list[str]:
        """Begin, on disk, the run of each subscription; return their names. Raises TooManyRequests."""
        ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a driver wants to be run here, and the claim under which that may be."""

    command: Command
    claim: Claim


class DriverError(Exception):
    """A driver's program can't be started; the sentence says why."""


def cron_drivers(
    client: Client, drivers: Informer[EventDriver], events: Events, clock: Clock
) -> Schedules[EventDriver]:
    """Return what emits the events of cron drivers."""

    async def fire(driver: EventDriver, _: object, due: dt.datetime) -> None:
        time = rfc3339(due)
        event = own_event(
            driver.spec.setting("event-type") or CRON_EVENT_TYPE,
            source=f"/namespaces/{driver.namespace}/eventdrivers/{driver.name}",
            event_id=run_name("cron", driver.uid, time),
            time=time,
            data={"time": time},
        )
        await events.deliver(driver.namespace, event)

    return Schedules(client, drivers, schedules_of, fire, clock)


class EventDriverController:
    """Runs the programs of drivers; `running()` is its life.

    Args:
        client: reads types and Secrets, writes statuses.
        drivers: the cache of drivers.
        sink_of: gives a driver (namespace, name) the address that its program posts to.
        log_dir: takes what programs print, a file each.
        clock: for claims.
        ids: names this process.
        executor: for files.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its whole surroundings
        self,
        client: Client,
        drivers: Informer[EventDriver],
        sink_of: Callable[[Key], str],
        log_dir: Path,
        clock: Clock,
        ids: Ids,
        executor: Executor,
    ) -> None:
        self._client = client
        self._drivers = drivers
        self._sink_of = sink_of
        self._log_dir = log_dir
        self._clock = clock
        self._holder = ids.uid()
        self._executor = executor
        self._loops = Loops()
        self._wakeups: dict[Key, Wakeup] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run programs for the length of the block."""
        await run_blocking(self._executor, partial(self._log_dir.mkdir, parents=True, exist_ok=True))
        async with self._loops.running():
            self._drivers.on_change(self._look_at)
            yield

    def _look_at(self, key: Key) -> None:
        driver = self._drivers.get(key[1], key[0])
        name = "/".join(key)
        if driver is None or driver.spec.type == CRON:
            if self._wakeups.pop(key, None) is not None:
                self._loops.stop(name)
        elif key in self._wakeups:
            self._wakeups[key].set()
        else:
            changed = self._wakeups[key] = Wakeup()
            life = partial(self._live, key, changed)
            self._loops.start(
                name, partial(keep_running, "event-driver", life, wakeup=changed, resync_seconds=LOOK_SECONDS)
            )

    async def _live(self, key: Key, changed: Wakeup) -> None:
        """Run a driver's program as it is wanted now, until something else is."""
        held = await self._wanted(key)
        if held is None:
            return  # looked at again, soon
        command = held.command
        async with supervise(command) as process:
            while True:
                latest = await self._look_again(key, held, process)
                if latest is None or latest.command != command:
                    return
                held = latest
                await changed.wait(LOOK_SECONDS)
                if command.output is not None:
                    await run_blocking(self._executor, partial(bound_output, command.output, LOG_BYTES_MAX))

    async def _look_again(self, key: Key, held: _Wanted, process: Supervised) -> _Wanted | None:
        """Tell how a program is, and return what is wanted by now; what was, where that can't be read for a while.

        Raises:
            ApiError: it can't, and the claim is over: another process may have the program by now.
        """
        left_seconds = held.claim.seconds_left(self._clock.now())
        try:
            with within(max(left_seconds, LOOK_SECONDS)):
                wanted = await self._wanted(key)
                if wanted is not None and wanted.command == held.command:
                    await self._tell_running(key, process)
                return wanted
        except (ApiError, TimeoutError) as error:
            reason = error.public if isinstance(error, ApiError) else "no answer in time"
            if left_seconds <= LOOK_SECONDS:
                raise ServiceUnavailable(f"a driver can't be looked at, and its claim is over: {reason}") from error
            log.warning("a driver can't be looked at, its program goes on", driver="/".join(key), reason=reason)
            return held

    async def _wanted(self, key: Key) -> _Wanted | None:
        """Return what is to be run here; None where nothing is: it can't be, or another process of Skerry does it."""
        driver = await self._client.find(EventDriver, key[1], namespace=key[0])
        if driver is None or driver.metadata.deletion_timestamp:
            return None
        claim = await self._claim(driver)
        if claim is None:
            return None
        try:
            return _Wanted(await self._command(driver), claim)
        except DriverError as error:
            await self._tell(driver, api.ERROR, [str(error)])
            return None

    async def _claim(self, driver: EventDriver) -> Claim | None:
        """Take or renew a driver's claim, by compare-and-swap; return it where it is this process'."""
        claim, now = driver.status.claim, self._clock.now()
        if is_taken(claim, self._holder, now):
            return None
        if claim and claim.holder == self._holder and claim.seconds_left(now) > LEASE_SECONDS / 2:
            return claim
        taken = claimed(self._holder, now, lease_seconds=LEASE_SECONDS)

        def take(found: EventDriver) -> None:
            if found.status.claim != claim:
                raise Conflict("another process took the driver")
            found.status.claim = taken

        try:
            await self._client.change_status(driver, take)
        except (Conflict, NotFound) as error:
            log.info("a driver's claim was not taken", driver=driver.name, reason=error.public)
            return None
        return taken

    async def _command(self, driver: EventDriver) -> Command:
        spec, namespace = driver.spec, driver.namespace
        kind = await self._client.find(EventDriverType, spec.type, namespace=namespace)
        if kind is None:
            raise DriverError(f"event driver type {spec.type} not found")
        settings = {each.key: each.value for each in (*(kind.spec.config or ()), *(spec.config or ()))}
        environment = {SINK_VARIABLE: self._sink_of((namespace, driver.name))}
        for name in spec.secrets or ():
            try:
                environment |= await read_secret(self._client, namespace, name)
            except KeyError as error:
                raise DriverError(f"secret {name} not found") from error
        if wrong := [key for key, value in environment.items() if "=" in key or "\0" in key + value]:
            raise DriverError(f"the value of {wrong[0]} can't be in an environment")
        return Command(
            name=f"event-driver:{namespace}/{driver.name}",
            arguments=(*kind.spec.command, *(f"--{key}={value}" for key, value in settings.items())),
            output=self._log_dir / f"{namespace}.{driver.name}.log",
            environment=tuple((plain_environment() | environment).items()),
            inherits=False,
        )

    async def _tell_running(self, key: Key, process: Supervised) -> None:
        """Tell that a program runs; one that ended is not well until it has stayed for a while."""
        driver = await self._client.find(EventDriver, key[1], namespace=key[0])
        if driver is None:
            return
        restarts = process.restarts
        ended = [f"its program ended, and was started again {restarts} times: its log tells more"] if restarts else None
        await self._tell(driver, api.READY if process.is_healthy else api.ERROR, ended, restarts)

    async def _tell(self, driver: EventDriver, state: api.State, reason: list[str] | None, restarts: int = 0) -> None:
        def tell(found: EventDriver) -> None:
            found.status.state, found.status.reason, found.status.restarts = state, reason, restarts

        await self._client.change_status(driver, tell)
