"""Lets nodes into rollouts, group by group, and takes them back, by what they report.

Owns the status of Rollouts, from which every replica works out who is in (`fleet.shifts`), and the applications that
rollouts of configurations make. Does not own what is next (`fleet.rollouts` decides).

Invariant: the status follows from the spec, the status before, the reports and the time, so a start, a restart and a
change of leader come to the same.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_rollouts import Rollout, RolloutStatus
from skerry.api.baetyl_v1alpha1 import NODE_REPORT
from skerry.api.errors import AlreadyExists, NotFound
from skerry.client.client import Client
from skerry.client.events import EventRecorder, EventType
from skerry.client.informer import Key
from skerry.client.informers import Informers
from skerry.fleet.report_digests import ReportDigest, report_digest
from skerry.fleet.rollout_targets import is_made_by, made_target
from skerry.fleet.rollouts import ENDED, counted, is_late, next_status, shift_of, target_of
from skerry.kit.clock import Clock
from skerry.kit.tasks import KeyedWorkers, background

#: Rollouts worked on at once.
CONCURRENCY = 2
#: Rollouts that have not ended are looked at this often: reports come all the time, and deadlines without anybody.
LOOK_SECONDS = 1.0


class Carriers(Protocol):
    """Who runs what: the binding index."""

    def carriers_of(self, key: Key) -> dict[str, Mapping[str, str]]:
        """Return the nodes, with their labels, that run an application, or what rollouts bring them to from there."""
        ...

    def version_of(self, key: Key) -> int:
        """Return the version of an application; 0 where it is not known."""
        ...


class RolloutController:
    """Reconciles Rollouts; `running()` is its life.

    Args:
        client: writes the status.
        informers: where the caches of rollouts and reports come from.
        carriers: knows the nodes of an application.
        clock: for deadlines.
    """

    def __init__(self, client: Client, informers: Informers, carriers: Carriers, clock: Clock) -> None:
        self._client = client
        self._rollouts = informers.of(Rollout)
        self._reports = informers.read_of(NODE_REPORT, report_digest)
        self._applications = informers.of(Application)
        self._carriers = carriers
        self._clock = clock
        self._events = EventRecorder(client, "rollouts", clock)
        self._workers = KeyedWorkers[Key]("baetyl-rollouts", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after rollouts for the length of the block."""
        self._rollouts.on_change(self._workers.add)
        self._applications.on_change(self._look_at_application)
        async with background(("baetyl-rollouts", self._look)):
            try:
                yield
            finally:
                await self._workers.stop()

    async def _look(self) -> None:
        while True:
            for rollout in self._rollouts:
                if rollout.status.phase not in ENDED:
                    self._workers.add((rollout.namespace, rollout.name))
            await asyncio.sleep(LOOK_SECONDS)

    def _look_at_application(self, key: Key) -> None:
        """Have what a rollout made of an application follow it, also when the rollout has ended."""
        for rollout in self._rollouts:
            if rollout.spec.replaces and key in {(rollout.namespace, rollout.spec.application), _made_key(rollout)}:
                self._workers.add((rollout.namespace, rollout.name))

    async def reconcile(self, key: Key) -> None:
        """Bring one rollout as far as its nodes let it come."""
        await self._rollouts.synced()
        await self._reports.synced()
        await self._applications.synced()
        rollout = self._rollouts.get(key[1], key[0])
        if rollout is None or rollout.metadata.deletion_timestamp:
            return
        await self._make_target(rollout)
        seen = rollout.metadata.generation, rollout.status

        def tell(found: Rollout) -> None:
            if (found.metadata.generation, found.status) == seen:  # else there is another turn
                found.status = self._next(found)

        try:
            stored = await self._client.change_status(rollout, tell)
        except NotFound:
            return  # deleted meanwhile
        if stored.status.phase != rollout.status.phase and stored.status.history:
            kind: EventType = "Warning" if stored.status.phase == "RolledBack" else "Normal"
            await self._events.record(stored, kind, str(stored.status.phase), stored.status.history[-1].message)

    async def _make_target(self, rollout: Rollout) -> None:
        """Make the application of a rollout of configurations, or bring it to what its source is by now."""
        source = self._applications.get(rollout.spec.application, rollout.namespace)
        if not rollout.spec.replaces or source is None:
            return
        wanted = made_target(rollout, source)
        held = self._applications.get(wanted.name, wanted.namespace)
        try:
            if held is None:
                await self._client.create(wanted)
            elif is_made_by(rollout, held) and held.spec != wanted.spec:
                await self._client.change(held, lambda found: setattr(found, "spec", wanted.spec))
        except (AlreadyExists, NotFound):
            return  # somebody was quicker, which is told of by a change

    def _next(self, rollout: Rollout) -> RolloutStatus:
        spec, shift, now = rollout.spec, shift_of(rollout), self._clock.now()
        target = target_of(rollout)
        version = self._carriers.version_of((rollout.namespace, target))
        nodes = self._carriers.carriers_of((rollout.namespace, spec.application))
        admitted = [name for name, labels in nodes.items() if shift.admits(name, labels)]
        states = [self._state(rollout.namespace, name, target, version) for name in admitted]
        arriving = sum(shift.arrives(name, labels) for name, labels in nodes.items())
        counts = counted(len(nodes), states, arriving=arriving, late=is_late(rollout, now))
        return next_status(rollout, counts, now)

    def _state(self, namespace: str, node: str, target: str, version: int) -> str:
        found: ReportDigest | None = self._reports.get(node, namespace)
        return found.state_of(target, version) if found else ""


def _made_key(rollout: Rollout) -> Key:
    return rollout.namespace, target_of(rollout)
