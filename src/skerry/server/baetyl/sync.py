"""The sync protocol of nodes: reports, answered with what is to change.

Owns what becomes of a report, for both generations of agents alike; the protocol is described in
docs/reference/baetyl-sync.md. Does not own who a node is (`node_certificates`), what it is to run (`fleet.index`), nor
what a report means (`fleet.reports`).

Invariant: a report is in the log before it is answered.
"""

from skerry.api.baetyl_v1alpha1 import NODE, NODE_REPORT, Node, NodeReport, report_owner
from skerry.api.errors import AlreadyExists, Conflict, NotFound
from skerry.api.model import Document, ObjectMeta, OwnerReference, from_document
from skerry.fleet.desire import told
from skerry.fleet.reports import APPS, SOURCE_INIT, SYSTEM_APPS, delta, merged_report, reported_versions
from skerry.fleet.sightings import identity_of, seen
from skerry.kit.clock import Clock
from skerry.server.baetyl import errors
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.fleet import Fleet
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: Two reports of one node at once are rare: of its two agents, or of two machines that are one node.
RACES_MAX = 5


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

    async def report(self, place: Place, report: Document, *, source: str, credential: str) -> Document | None:
        """Keep a report, and return what its node has to change; None for a node that decides for itself.

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
        kept = await self._keep(node, report, source, credential)
        if node.spec.mode == "local":
            return None
        apps, system_apps = reported_versions(kept, APPS), reported_versions(kept, SYSTEM_APPS)
        await self._fleet.caught_up(place, apps, system_apps)
        desire = self._fleet.index.desire(place)
        if not desire.sysapps:
            raise errors.BaetylError("ErrNodeNotReady", f"The node ({node.name}) is not ready, please retry later.")
        properties = {name: each.value for name, each in (node.spec.properties or {}).items()}
        return delta(kept, told(desire.apps, apps), told(desire.sysapps, system_apps), properties)

    async def _node(self, place: Place) -> Node:
        try:
            return from_document(Node, (await self._verbs.get(Target(NODE, *place))).document)
        except NotFound as error:
            raise errors.not_found("node", place[1], place[0]) from error

    async def _keep(self, node: Node, report: Document, source: str, credential: str) -> Document:
        """Write a report, and return what is kept of it; another report of the node may come between."""
        target = Target(NODE_REPORT, node.namespace, node.name)
        for _ in range(RACES_MAX):
            before = await self._before(target)
            kept = self._merged(node, before, report, source, credential)
            try:
                return (await self._verbs.record(target, kept)).report
            except (AlreadyExists, Conflict, NotFound) as error:
                last = error
        raise last

    async def _before(self, target: Target) -> NodeReport | None:
        try:
            return from_document(NodeReport, (await self._verbs.get(target)).document)
        except NotFound:
            return None

    def _merged(
        self, node: Node, before: NodeReport | None, report: Document, source: str, credential: str
    ) -> NodeReport:
        now = self._clock.now()
        of_node = before if before is not None and report_owner(before) == node.uid else None
        kept = merged_report(of_node.report if of_node else {}, report, source=source, now=now)
        reporters, conflict = (of_node.reporters or [], of_node.conflict_time) if of_node else ([], None)
        if source != SOURCE_INIT and report.get("node"):  # the others do not tell which machine they are on
            reporters, back = seen(reporters, identity_of(credential, report), kept["time"])
            conflict = kept["time"] if back else conflict
        return NodeReport(
            api_version=NODE_REPORT.api_version,
            kind=NODE_REPORT.kind,
            metadata=_metadata(node, before),
            time=kept["time"],
            report=kept,
            reporters=reporters or None,
            conflict_time=conflict,
        )


def _metadata(node: Node, before: NodeReport | None) -> ObjectMeta:
    """Return the metadata of a node's report, which goes when its node does."""
    owner = OwnerReference(api_version=NODE.api_version, kind=NODE.kind, name=node.name, uid=node.uid)
    if before is None:
        return ObjectMeta(name=node.name, namespace=node.namespace, owner_references=[owner])
    return before.metadata.model_copy(update={"owner_references": [owner]})
