"""Rollouts as plans: which nodes each group has, and how far it is. Ours; rollouts are made with kubectl.

A rollout that is made with `paused: true` lets nobody in, so that its plan is a trial run.
"""

from collections.abc import Mapping

from skerry.api.baetyl_rollouts import ROLLOUT, Rollout
from skerry.api.model import Document, to_document
from skerry.fleet.rollouts import shift_of, target_of
from skerry.fleet.shifts import ARRIVAL_PLACES
from skerry.server.baetyl.door import Asked, Described, Operation
from skerry.server.baetyl.fleet import Fleet
from skerry.server.http import Response
from skerry.server.operations import json

#: Nodes that are named of one group; all are counted.
NAMED_MAX = 1000


class Rollouts:
    """The handler of plans.

    Args:
        fleet: knows the nodes of applications.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        path = "/v1/fleet/rollouts/{name}"
        return [Operation("GET", path, "get", ROLLOUT, self.plan, Described("RolloutPlan"))]

    async def plan(self, asked: Asked) -> Response:
        """Get which nodes each group of a rollout has, and how far it is."""
        rollout = await asked.objects.get(Rollout, asked.name)
        nodes = self._fleet.index.carriers_of((asked.namespace, rollout.spec.application))
        spec, status = rollout.spec, rollout.status
        return json(
            {
                "name": rollout.name,
                "application": spec.application,
                "target": target_of(rollout),
                "phase": status.phase or "",
                "admittedGroups": status.admitted_groups,
                "counts": to_document(status.counts),
                "groups": _groups(rollout, nodes),
            }
        )


def _groups(rollout: Rollout, nodes: Mapping[str, Mapping[str, str]]) -> list[Document]:
    """Write the groups in their order, each with the nodes that come with it; the last one is everyone else."""
    written, left = [], dict(nodes)
    names = [group.name for group in rollout.spec.groups or ()]
    planned = rollout.model_copy(deep=True)
    for index, name in enumerate([*names, "everyone"]):
        planned.status.admitted_groups, planned.status.arrived = index + 1, ARRIVAL_PLACES
        shift = shift_of(planned)
        found = sorted(node for node, labels in left.items() if shift.admits(node, labels))
        for node in found:
            del left[node]
        written.append({"name": name or f"group {index + 1}", "total": len(found), "nodes": found[:NAMED_MAX]})
    return written
