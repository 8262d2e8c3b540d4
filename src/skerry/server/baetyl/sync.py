"""The sync protocol of nodes: reports, answered with what is to change.

Owns what becomes of a report, for both generations of agents alike; the protocol is described in
docs/reference/baetyl-sync.md. Does not own who a node is (`node_certificates`), what it is to run (`fleet.index`), nor
what a report means (`fleet.reports`).

Invariant: a report is in the log before it is answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.api.baetyl_v1alpha1 import NODE, NODE_REPORT, Node, NodeReport, report_owner
from skerry.api.errors import NotFound
from skerry.api.model import Document, ObjectMeta, OwnerReference, from_document
from skerry.fleet.desire import Desire, told
from skerry.fleet.reports import (
    APPS,
    GATEWAYS,
    PROPERTIES,
    SOURCE_INIT,
    SYSTEM_APPS,
    delta,
    merged_report,
    reported_versions,
)
from skerry.fleet.sightings import identity_of, seen
from skerry.kit.clock import Clock
from skerry.server.baetyl import errors
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.kept_reports import KeptReports
from skerry.server.node_certificates import NODES_REMEMBERED
from skerry.server.readings import Readings
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs


@dataclass(frozen=True, slots=True)
class _Node:
    """What of a node its reports are answered by."""

    place: Place
    uid: str
    decides_itself: bool
    properties: Mapping[str, str]
    report_seconds: int

    @classmethod
    def read(cls, document: Document) -> "_Node":
        node = from_document(Node, document)
        properties = {name: each.value for name, each in (node.spec.properties or {}).items()}
        decides_itself, seconds = node.spec.mode == "local", node.spec.core.frequency
        return cls((node.namespace, node.name), node.uid, decides_itself, properties, seconds)

    def basis(self, desire: Desire) -> "Basis":
        """Return what the node is told follows from, with what it is to run."""
        return Basis(desire, self.properties, self.report_seconds)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a node is told follows from this; it is made of what others hold, so that keeping it costs nothing."""

    desire: Desire
    properties: Mapping[str, str]
    report_seconds: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a node is told.

    Attributes:
        changes: what it has to change; None where it decides for itself.
        report_seconds: how often it is to report.
        basis: what that follows from, besides what the node has; None where nothing is wanted of it. A node that was
            told of an equal one knows all that there is to know.
    """

    changes: Document | None
    report_seconds: int
    basis: Basis | None = None


class Sync:
    """Takes reports.

    Args:
        verbs: reads and writes.
        fleet: knows what nodes are to run.
        clock: stamps reports.
    """

    def __init__(self, verbs: Verbs, fleet: Fleet, clock: Clock) -> None:
        self._verbs = verbs
        self._fleet = fleet
        self._clock = clock
        self._nodes = Readings[_Node](NODES_REMEMBERED)
        self._reports = KeptReports(verbs)

    async def report(self, place: Place, report: Document, *, source: str, credential: str) -> Told:
        """Keep a report, and return what its node is told.

        Args:
            place: whose report it is.
            report: what it says.
            source: which of the node's agents it is from, as the header says; "" for its only one.
            credential: what its sender showed.

        Raises:
            NotFound: there is no such node.
            BaetylError: nothing is known of what the node is to run (ErrNodeNotReady); the report is kept.
        """
        node = await self._node(place)
        kept = await self._reports.put(
            place,
            lambda before: self._merged(node, before, report, source, credential),
            needs_whole=source == SOURCE_INIT,
        )
        if node.decides_itself:
            return Told(None, node.report_seconds)
        apps, system_apps = reported_versions(kept.report, APPS), reported_versions(kept.report, SYSTEM_APPS)
        await self._fleet.caught_up(place, apps, system_apps)
        desire = self._fleet.index.desire(place)
        if not desire.sysapps:
            raise errors.BaetylError("ErrNodeNotReady", f"The node ({place[1]}) is not ready, please retry later.")
        wanted, system = told(desire.apps, apps), told(desire.sysapps, system_apps)
        changes = delta(kept.report, wanted, system, node.properties, desire.gateways)
        return Told(changes, node.report_seconds, node.basis(desire))

    async def wanted(self, place: Place) -> Told:
        """Return all that is wanted of a node, whatever it has: to be told without being asked.

        Told whole, it is true wherever the node is with what it was told before; nothing, where it decides for itself,
        or nothing is known of what it is to run.

        Raises:
            NotFound: there is no such node.
        """
        node, before = await self._node(place), await self._reports.read(place)
        desire = self._fleet.index.desire(place)
        if node.decides_itself or before is None or not desire.sysapps:
            return Told({}, node.report_seconds)
        changes: Document = {
            member: [{"name": name, "version": version} for name, version in told(part, reported)]
            for member, part, reported in (
                (APPS, desire.apps, reported_versions(before.report, APPS)),
                (SYSTEM_APPS, desire.sysapps, reported_versions(before.report, SYSTEM_APPS)),
            )
        }
        if GATEWAYS in before.report:
            changes[GATEWAYS] = list(desire.gateways)
        if node.properties:
            changes[PROPERTIES] = dict(node.properties)
        return Told(changes, node.report_seconds, node.basis(desire))

    async def _node(self, place: Place) -> _Node:
        target = Target(NODE, *place)
        try:
            return self._nodes.of(target, await self._verbs.get(target), _Node.read)
        except NotFound as error:
            raise errors.not_found("node", place[1], place[0]) from error

    def _merged(
        self, node: _Node, before: NodeReport | None, report: Document, source: str, credential: str
    ) -> NodeReport:
        of_node = before if before is not None and report_owner(before) == node.uid else None
        kept = merged_report(of_node.report if of_node else {}, report, source=source, now=self._clock.now())
        reporters, conflict = (of_node.reporters or [], of_node.conflict_time) if of_node else ([], None)
        if source != SOURCE_INIT and report.get("node"):  # the others do not tell which machine they are on
            reporters, back = seen(reporters, identity_of(credential, report), kept["time"])
            conflict = kept["time"] if back else conflict
        told = {"time": kept["time"], "report": kept, "reporters": reporters or None, "conflict_time": conflict}
        if of_node:
            return of_node.model_copy(update={**told, "metadata": of_node.metadata.model_copy()})
        metadata = _metadata(node, before)
        return NodeReport(api_version=NODE_REPORT.api_version, kind=NODE_REPORT.kind, metadata=metadata, **told)


def _metadata(node: _Node, before: NodeReport | None) -> ObjectMeta:
    """Return the metadata of a node's first report, which goes when its node does.

    Args:
        node: whose it is.
        before: that of a node which had its name before; None for none.
    """
    owner = OwnerReference(api_version=NODE.api_version, kind=NODE.kind, name=node.place[1], uid=node.uid)
    if before is None:
        return ObjectMeta(name=node.place[1], namespace=node.place[0], owner_references=[owner])
    return before.metadata.model_copy(update={"owner_references": [owner]})
