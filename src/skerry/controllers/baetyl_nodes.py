"""Whether nodes are ready: a node that falls silent becomes not ready within its window, without anybody asking.

Owns the conditions of Nodes, and the Events of their changes. Does not own reports (`server.baetyl.sync` writes them)
nor what a window is (`api.baetyl_v1alpha1.ready_seconds`).

Invariant: a condition follows from the report and the time alone, so that a start, a restart and a change of leader
come to the same. A condition is written when it changes, not with every report.
"""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from prometheus_client import Gauge

from skerry.api.baetyl_v1alpha1 import NODE_REPORT, Node, ready_seconds
from skerry.api.errors import NotFound
from skerry.api.model import Condition, condition_of, is_true, with_condition
from skerry.client.client import Client
from skerry.client.events import EventRecorder, EventType
from skerry.client.informer import Key
from skerry.client.informers import Informers
from skerry.fleet.readiness import Deadlines
from skerry.fleet.report_digests import ReportDigest, report_digest
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.tasks import KeyedWorkers, Wakeup, background

NODES = Gauge("skerry_baetyl_nodes", "Nodes of fleets, by whether they report in time.", ["state"])

CONFLICTS = Gauge("skerry_baetyl_identity_conflicts", "Nodes as which more than one agent reports.")

State = Literal["ready", "silent", "never"]
Status = Literal["True", "False", "Unknown"]

READY, CONFLICT = "Ready", "IdentityConflict"
#: Nodes whose conditions are written at once.
CONCURRENCY = 8
#: How long a second agent of a node is told of, after it was last noticed.
CONFLICT_SECONDS = 600.0
#: A deadline is looked at no more often than this, so that many of them cost one look.
LOOK_SECONDS = 0.2


class NodeReadinessController:
    """Writes the conditions of nodes; `running()` is its life.

    Args:
        client: reads and writes.
        informers: where the caches of nodes and reports come from.
        clock: tells who is silent.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._nodes = informers.of(Node)
        self._reports = informers.read_of(NODE_REPORT, report_digest)
        self._clock = clock
        self._events = EventRecorder(client, "node-readiness", clock)
        self._deadlines = Deadlines[Key]()
        self._turns = KeyedWorkers[Key]("baetyl-nodes", self.reconcile, concurrency=CONCURRENCY)
        self._wakeup = Wakeup()
        self._states: dict[Key, State] = {}
        self._conflicts: set[Key] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after nodes for the length of the block."""
        self._nodes.on_change(self._turns.add)
        self._reports.on_change(self._reported)
        async with background(("baetyl-nodes", self._watch_deadlines)):
            try:
                yield
            finally:
                await self._turns.stop()

    def _reported(self, key: Key) -> None:
        """Move a node's deadline; a turn is needed only where a condition is another by now."""
        node, report = self._find(key)
        if node is None or report is None:
            self._turns.add(key)
            return
        now = self._clock.now()
        told = tuple(is_true(node.status.conditions, each) for each in (READY, CONFLICT))
        if told == (True, _in_conflict(report, now)):
            self._set_deadline(key, node, report, now)
        else:
            self._turns.add(key)

    def _find(self, key: Key) -> tuple[Node | None, ReportDigest | None]:
        """Return a node and its report; not one of a node that had its name before."""
        namespace, name = key
        node, report = self._nodes.get(name, namespace), self._reports.get(name, namespace)
        is_its_own = node is not None and report is not None and report.node_uid == node.uid
        return node, report if is_its_own else None

    def _set_deadline(self, key: Key, node: Node, report: ReportDigest, now: dt.datetime) -> None:
        due = _silent_from(node, report)
        if _in_conflict(report, now):
            due = min(due, _conflict_ends(report))
        before = self._deadlines.next_due()
        self._deadlines.set(key, due.timestamp())
        if self._deadlines.next_due() != before:
            self._wakeup.set()

    async def _watch_deadlines(self) -> None:
        await self._synced()
        while True:
            now = self._clock.now().timestamp()
            for key in self._deadlines.take(now):
                self._turns.add(key)
            following = self._deadlines.next_due()
            await self._wakeup.wait(None if following is None else max(LOOK_SECONDS, following - now))

    async def _synced(self) -> None:
        await self._nodes.synced()
        await self._reports.synced()

    async def reconcile(self, key: Key) -> None:
        """Bring the conditions of one node to what its report and the time say."""
        await self._synced()
        node, report = self._find(key)
        if node is None:
            self._deadlines.remove(key)
            self._count(key, None, in_conflict=False)
            return
        now = self._clock.now()
        state, conditions = _judged(node, report, now)
        if report is not None and state == "ready":
            self._set_deadline(key, node, report, now)
        self._count(key, state, in_conflict=report is not None and _in_conflict(report, now))
        await self._tell(node, conditions)

    async def _tell(self, node: Node, conditions: list[Condition]) -> None:
        """Write conditions, and an Event for each that changed."""
        changed = [each for each in conditions if _status_of(node, each.type) != each.status]
        if not changed:
            return

        def tell(found: Node) -> None:
            for each in changed:
                found.status.conditions = with_condition(found.status.conditions, each)

        try:
            await self._client.change_status(node, tell)
        except NotFound:
            return  # deleted meanwhile
        for each in changed:
            kind: EventType = "Warning" if (each.type == READY) == (each.status == "False") else "Normal"
            await self._events.record(node, kind, each.reason, each.message)

    def _count(self, key: Key, state: State | None, *, in_conflict: bool) -> None:
        (self._conflicts.add if in_conflict else self._conflicts.discard)(key)
        CONFLICTS.set(len(self._conflicts))
        before = self._states.pop(key, None)
        if state is not None:
            self._states[key] = state
        if before != state:
            for each, by in ((before, -1), (state, 1)):
                if each is not None:
                    NODES.labels(each).inc(by)


def _judged(node: Node, report: ReportDigest | None, now: dt.datetime) -> tuple[State, list[Condition]]:
    """Return how a node is, and the conditions that say so."""
    if report is None:
        return "never", [_condition(READY, "Unknown", ("NeverReported", "it has not reported yet"), now)]
    if now < _silent_from(node, report):
        state: State = "ready"
        ready = _condition(READY, "True", ("Reporting", "it reports in time"), now)
    else:
        state, window = "silent", ready_seconds(node.spec.core)
        ready = _condition(READY, "False", ("Silent", f"no report for {window} s; the last came at {report.time}"), now)
    if _in_conflict(report, now):
        message = "two agents report as this node: revoke its certificates, and install the right one again"
        return state, [ready, _condition(CONFLICT, "True", ("TwoAgents", message), now)]
    if condition_of(node.status.conditions, CONFLICT) is not None:
        return state, [ready, _condition(CONFLICT, "False", ("OneAgent", "one agent reports as this node"), now)]
    return state, [ready]


def _condition(kind: str, status: Status, why: tuple[str, str], now: dt.datetime) -> Condition:
    reason, message = why
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=rfc3339(now))


def _status_of(node: Node, kind: str) -> str:
    found = condition_of(node.status.conditions, kind)
    return found.status if found else ""


def _silent_from(node: Node, report: ReportDigest) -> dt.datetime:
    return from_rfc3339(report.time) + dt.timedelta(seconds=ready_seconds(node.spec.core))


def _conflict_ends(report: ReportDigest) -> dt.datetime:
    return from_rfc3339(report.conflict_time or report.time) + dt.timedelta(seconds=CONFLICT_SECONDS)


def _in_conflict(report: ReportDigest, now: dt.datetime) -> bool:
    return report.conflict_time is not None and now < _conflict_ends(report)
