"""Keeps what nodes say of the traffic of their Gateways, one object a node.

Owns that object, which goes when its node does. Does not own what is made of it (`controllers.baetyl_traffic`).
"""

from skerry.api.baetyl_traffic import TRAFFIC_REPORT, TrafficReport
from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.errors import AlreadyExists, Conflict, NotFound
from skerry.api.model import Document, ObjectMeta, OwnerReference, from_document
from skerry.kit.clock import Clock, rfc3339
from skerry.server.baetyl.delivery import Place
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: Two reports of one node at once are rare.
RACES_MAX = 5


class TrafficReports:
    """Writes them.

    Args:
        verbs: read and write.
        clock: stamps them.
    """

    def __init__(self, verbs: Verbs, clock: Clock) -> None:
        self._verbs = verbs
        self._clock = clock

    async def keep(self, place: Place, statuses: Document) -> None:
        """Put what a node says in the place of what it said before; raises NotFound where there is no such node."""
        node = from_document(Node, (await self._verbs.get(Target(NODE, *place))).document)
        target = Target(TRAFFIC_REPORT, *place)
        for _ in range(RACES_MAX):
            try:
                await self._verbs.record(target, await self._report(target, node, statuses))
            except (AlreadyExists, Conflict, NotFound) as error:
                last = error
            else:
                return
        raise last

    async def _report(self, target: Target, node: Node, statuses: Document) -> TrafficReport:
        owner = OwnerReference(api_version=NODE.api_version, kind=NODE.kind, name=node.name, uid=node.uid)
        try:
            before = from_document(TrafficReport, (await self._verbs.get(target)).document)
        except NotFound:
            metadata = ObjectMeta(name=node.name, namespace=node.namespace)
        else:
            metadata = before.metadata
        return TrafficReport(
            api_version=TRAFFIC_REPORT.api_version,
            kind=TRAFFIC_REPORT.kind,
            metadata=metadata.model_copy(update={"owner_references": [owner]}),
            time=rfc3339(self._clock.now()),
            statuses=statuses,
        )
