"""Applications that wait for a time (`cronStatus: 1`) begin when it comes, on every node that their selector matches.

Owns the step from `cronStatus` 1 to 2. Does not own that who waits is bound to no node (`fleet.applications`).

Invariant: what is begun follows from the spec and the time alone, so a start, a restart and a change of leader come to
the same; a time that passed while nobody looked is made up for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.baetyl_application_rules import CRON_BEGUN, start_of
from skerry.api.baetyl_applications import Application
from skerry.api.errors import NotFound
from skerry.client.client import Client
from skerry.client.informer import Key
from skerry.client.informers import Informers
from skerry.fleet.readiness import Deadlines
from skerry.kit.clock import Clock
from skerry.kit.tasks import KeyedWorkers, Wakeup, background

#: Applications begun at once.
CONCURRENCY = 4
#: A time is looked at no more often than this, so that many of them cost one look; and this often in any case, as the
#: clock of a machine may be set.
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.2, 60.0


class ApplicationStarts:
    """Begins applications; `running()` is its life.

    Args:
        client: writes them.
        informers: where the cache of applications comes from.
        clock: tells whose time has come.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._applications = informers.of(Application)
        self._clock = clock
        self._due = Deadlines[Key]()
        self._wakeup = Wakeup()
        self._workers = KeyedWorkers[Key]("baetyl-starts", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Begin applications for the length of the block."""
        self._applications.on_change(self._look)
        async with background(("baetyl-starts", self._watch)):
            try:
                yield
            finally:
                await self._workers.stop()

    def _look(self, key: Key) -> None:
        application = self._applications.get(key[1], key[0])
        start = start_of(application.spec) if application else None
        if start is None:
            self._due.remove(key)
        else:
            self._due.set(key, start.timestamp())
            self._wakeup.set()

    async def _watch(self) -> None:
        while True:
            now = self._clock.now().timestamp()
            for key in self._due.take(now):
                self._workers.add(key)
            following = self._due.next_due()
            seconds = LOOK_SECONDS_MAX if following is None else following - now
            await self._wakeup.wait(min(max(LOOK_SECONDS_MIN, seconds), LOOK_SECONDS_MAX))

    async def reconcile(self, key: Key) -> None:
        """Begin one application, where its time has come."""
        application = self._applications.get(key[1], key[0])
        start = start_of(application.spec) if application else None
        if application is None or start is None:
            return
        if start > self._clock.now():
            self._look(key)  # the clock was set back
            return

        def begin(found: Application) -> None:
            start = start_of(found.spec)
            if start is not None and start <= self._clock.now():
                found.spec.cron_status = CRON_BEGUN

        try:
            await self._client.change(application, begin)
        except NotFound:
            return  # deleted meanwhile
